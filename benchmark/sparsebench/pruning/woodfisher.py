"""WoodFisher (Singh & Alistarh, 2020): the inverse Fisher by Woodbury's identity, in blocks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from .obs import OBS, Blocks


class WoodFisher(OBS):
    """Prune by second-order cost with a block-diagonal inverse Fisher.

    Blocks are :attr:`block` consecutive weights of a layer. The estimate takes ``block`` floats a weight: 156 MiB for
    640,000 weights and blocks of 64. The published settings on ImageNet's ResNet-50 are blocks of 2,000 and 400
    gradients of 400 images.
    """

    name = "woodfisher"
    settings = (*OBS.settings, "block")
    bounds: ClassVar[Mapping[str, tuple[float, float]]] = {**OBS.bounds, "block": (1, math.inf)}

    block = 64

    def empty_inverse(self, sizes: list[int], like: Tensor) -> BlockInverse:
        """Return the inverse of the damping alone."""
        return BlockInverse(Blocks(sizes, int(self.block)), int(self.gradient_count), self.damp, like)

    def memory(self, sizes: list[int]) -> int:
        """Return the bytes of the blocks."""
        return 4 * sum(-(-size // int(self.block)) for size in sizes) * int(self.block) ** 2


class BlockInverse:
    """The inverse of each diagonal block of ``damp I + 1/N sum_n g_n g_n^T``, one gradient after the other.

    ``F_n^-1 = F_(n-1)^-1 - F_(n-1)^-1 g_n g_n^T F_(n-1)^-1 / (N + g_n^T F_(n-1)^-1 g_n)`` from ``F_0^-1 = I / damp``
    (Singh & Alistarh, 2020, equation 7).

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
        self._blocks, self._count = blocks, count
        identity = torch.eye(blocks.block, dtype=like.dtype, device=like.device)
        self._inverse = (identity / damp).repeat(blocks.count, 1, 1)

    def add(self, gradient: Tensor) -> None:
        """Take the next gradient into account."""
        g = self._blocks.pack(gradient)
        v = torch.bmm(self._inverse, g[:, :, None])[:, :, 0]
        v /= (self._count + (g * v).sum(1, keepdim=True)).sqrt()
        self._inverse.baddbmm_(v[:, :, None], v[:, None, :], alpha=-1)

    def diagonal(self) -> Tensor:
        """Return the diagonal, in the weights' order."""
        return self._blocks.unpack(self._inverse.diagonal(dim1=1, dim2=2))

    def product(self, vector: Tensor) -> Tensor:
        """Return the inverse times a vector."""
        packed = self._blocks.pack(vector)
        return self._blocks.unpack(torch.bmm(self._inverse, packed[:, :, None])[:, :, 0])
