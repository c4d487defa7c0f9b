"""M-FAC (Frantar et al., 2021): products with the inverse Fisher from stored gradients, without a matrix."""

from __future__ import annotations

import torch
from torch import Tensor

from .obs import OBS, Blocks


class MFAC(OBS):
    """Prune by second-order cost with a matrix-free inverse Fisher.

    The estimate takes ``gradient_count`` floats a weight: 156 MiB for 640,000 weights and 64 gradients, however large
    the blocks are. By default the whole network is one block. The published settings for pruning are 64 gradients,
    blocks of 128 and 16 recomputations a step.
    """

    name = "mfac"
    settings = (*OBS.settings, "block")

    gradient_count = 64
    recomputations = 4
    block = 0

    def empty_inverse(self, sizes: list[int], like: Tensor) -> MatrixFreeInverse:
        """Return the inverse of the damping alone."""
        return MatrixFreeInverse(Blocks(sizes, int(self.block)), int(self.gradient_count), self.damp, like)

    def memory(self, sizes: list[int]) -> int:
        """Return the bytes of the stored vectors."""
        blocks = Blocks(sizes, int(self.block))
        return 4 * blocks.count * blocks.block * int(self.gradient_count)


class MatrixFreeInverse:
    """The inverse of ``damp I + 1/N sum_n g_n g_n^T``, or of its diagonal blocks, kept as N vectors.

    With ``v_n = F_(n-1)^-1 g_n`` and ``c_n = N + g_n^T v_n``, the inverse times x is
    ``x / damp - sum_n v_n (v_n^T x) / c_n`` (Frantar et al., 2021, section 3.1); ``v_n`` follows from those before.

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
        self._vectors = torch.empty(blocks.count, count, blocks.block, dtype=like.dtype, device=like.device)
        self._scales = torch.empty(blocks.count, count, dtype=like.dtype, device=like.device)
        self._added = 0

    def add(self, gradient: Tensor) -> None:
        """Take the next gradient into account."""
        g = self._blocks.pack(gradient)
        v = self._times(g)
        self._vectors[:, self._added] = v
        self._scales[:, self._added] = self._count + (g * v).sum(1)
        self._added += 1

    def diagonal(self) -> Tensor:
        """Return the diagonal, in the weights' order."""
        diagonal = torch.full_like(self._vectors[:, 0], 1 / self._damp)
        for n in range(self._added):
            diagonal.addcdiv_(self._vectors[:, n].square(), self._scales[:, n, None], value=-1)
        return self._blocks.unpack(diagonal)

    def product(self, vector: Tensor) -> Tensor:
        """Return the inverse times a vector."""
        return self._blocks.unpack(self._times(self._blocks.pack(vector)))

    def _times(self, packed: Tensor) -> Tensor:
        """Return the inverse so far times a vector in blocks."""
        vectors, scales = self._vectors[:, : self._added], self._scales[:, : self._added]
        share = torch.bmm(vectors, packed[:, :, None])[:, :, 0] / scales
        return packed / self._damp - torch.bmm(share[:, None, :], vectors)[:, 0]
