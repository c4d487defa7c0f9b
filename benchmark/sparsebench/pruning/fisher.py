"""Estimates of the inverse of the damped empirical Fisher, ``(damp I + 1/N sum_n g_n g_n^T)^-1``, in blocks."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor


class Blocks:
    """Cuts a vector over layers into equal blocks of consecutive weights; a layer's last block is filled with zeros.

    Parameters
    ----------
    sizes : list of int
        Weights of each layer.
    block : int
        Weights a block; 0 takes the whole vector as one.
    """

    def __init__(self, sizes: list[int], block: int) -> None:
        self.block = block or sum(sizes)
        layers = sizes if block else [sum(sizes)]
        counts = [-(-size // self.block) for size in layers]
        self.count = sum(counts)
        starts = [self.block * sum(counts[:k]) for k in range(len(layers))]
        self._where = torch.cat([start + torch.arange(size) for start, size in zip(starts, layers, strict=True)])

    def pack(self, vector: Tensor) -> Tensor:
        """Return a vector's blocks, ``(count, block)``."""
        packed = vector.new_zeros(self.count * self.block)
        packed[self._where.to(vector.device)] = vector
        return packed.view(self.count, self.block)

    def unpack(self, blocks: Tensor) -> Tensor:
        """Return the vector of blocks."""
        return blocks.reshape(-1)[self._where.to(blocks.device)]


class InverseFisher(ABC):
    """The inverse of each diagonal block, one gradient after the other.

    Parameters
    ----------
    blocks : Blocks
        How the vector over all weights is cut.
    count : int
        N, how many gradients there will be.
    damp : float
        Added to the Fisher's diagonal.
    like : Tensor
        Of the dtype and on the device to compute with.
    """

    def __init__(self, blocks: Blocks, count: int, damp: float, like: Tensor) -> None:
        self._blocks, self._count, self._damp = blocks, count, damp
        self._start(like)

    def add(self, gradient: Tensor) -> None:
        """Take the next gradient, a vector over all prunable weights, into account."""
        self._add(self._blocks.pack(gradient))

    def diagonal(self) -> Tensor:
        """Return the inverse's diagonal, in the weights' order."""
        return self._blocks.unpack(self._diagonal())

    def product(self, vector: Tensor) -> Tensor:
        """Return the inverse times a vector."""
        return self._blocks.unpack(self._times(self._blocks.pack(vector)))

    @abstractmethod
    def _start(self, like: Tensor) -> None:
        """Become the inverse of the damping alone."""

    @abstractmethod
    def _add(self, g: Tensor) -> None:
        """Take a gradient in blocks into account."""

    @abstractmethod
    def _diagonal(self) -> Tensor:
        """Return the diagonal in blocks."""

    @abstractmethod
    def _times(self, packed: Tensor) -> Tensor:
        """Return the inverse so far times a vector in blocks."""


class BlockInverse(InverseFisher):
    """The blocks themselves, by Woodbury's identity.

    ``F_n^-1 = F_(n-1)^-1 - F_(n-1)^-1 g_n g_n^T F_(n-1)^-1 / (N + g_n^T F_(n-1)^-1 g_n)`` from ``F_0^-1 = I / damp``
    (Singh & Alistarh, 2020, equation 7).
    """

    def _start(self, like: Tensor) -> None:
        identity = torch.eye(self._blocks.block, dtype=like.dtype, device=like.device)
        self._inverse = (identity / self._damp).repeat(self._blocks.count, 1, 1)

    def _add(self, g: Tensor) -> None:
        v = self._times(g)
        v /= (self._count + (g * v).sum(1, keepdim=True)).sqrt()
        self._inverse.baddbmm_(v[:, :, None], v[:, None, :], alpha=-1)

    def _diagonal(self) -> Tensor:
        return self._inverse.diagonal(dim1=1, dim2=2)

    def _times(self, packed: Tensor) -> Tensor:
        return torch.bmm(self._inverse, packed[:, :, None])[:, :, 0]


class MatrixFreeInverse(InverseFisher):
    """N vectors instead of a matrix.

    With ``v_n = F_(n-1)^-1 g_n`` and ``c_n = N + g_n^T v_n``, the inverse times x is
    ``x / damp - sum_n v_n (v_n^T x) / c_n`` (Frantar et al., 2021, section 3.1); ``v_n`` follows from those before.
    """

    def _start(self, like: Tensor) -> None:
        shape = self._blocks.count, self._count
        self._vectors = torch.empty(*shape, self._blocks.block, dtype=like.dtype, device=like.device)
        self._scales = torch.empty(*shape, dtype=like.dtype, device=like.device)
        self._added = 0

    def _add(self, g: Tensor) -> None:
        v = self._times(g)
        self._vectors[:, self._added] = v
        self._scales[:, self._added] = self._count + (g * v).sum(1)
        self._added += 1

    def _diagonal(self) -> Tensor:
        diagonal = torch.full_like(self._vectors[:, 0], 1 / self._damp)
        for n in range(self._added):
            diagonal.addcdiv_(self._vectors[:, n].square(), self._scales[:, n, None], value=-1)
        return diagonal

    def _times(self, packed: Tensor) -> Tensor:
        vectors, scales = self._vectors[:, : self._added], self._scales[:, : self._added]
        share = torch.bmm(vectors, packed[:, :, None])[:, :, 0] / scales
        return packed / self._damp - torch.bmm(share[:, None, :], vectors)[:, 0]
