"""M-FAC (Frantar et al., 2021): products with the inverse Fisher from stored gradients, without a matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from ..obs import OBS, OBSSettings
from ..training import Published
from .gmp import PUBLISHED_SCHEDULE, PUBLISHED_TRAINING

if TYPE_CHECKING:
    from torch import Tensor

    from ..fisher import MatrixFreeInverse


class MFACSettings(OBSSettings):
    """M-FAC's settings."""

    gradient_count: int = Field(64, ge=1, description="gradients of an estimate")
    recomputations: int = Field(4, ge=1, description="estimates per pruning")
    block: int = Field(0, ge=0, description="weights per diagonal block; 0: the whole network as one")


class MFAC(OBS):
    """Prune by second-order cost with a matrix-free inverse Fisher.

    The estimate takes ``gradient_count`` floats per weight: 156 MiB for 640,000 weights and 64 gradients, however
    large the blocks are. By default the whole network is one block.
    """

    name = "mfac"
    title = "M-FAC"
    summary = "second-order pruning, matrix-free (Frantar et al., 2021)"
    colour, marker, place = "#44aa99", "<", 8
    published = Published(
        PUBLISHED_TRAINING,
        {**PUBLISHED_SCHEDULE, "gradient_count": 64, "block": 128, "recomputations": 16},
        source="Frantar et al., 2021, and its code",
    )
    settings_model = MFACSettings

    def empty_inverse(self, sizes: list[int], like: Tensor) -> MatrixFreeInverse:
        """Return the inverse of the damping alone."""
        from ..fisher import Blocks, MatrixFreeInverse

        blocks = Blocks(sizes, self.settings.block)
        return MatrixFreeInverse(blocks, self.settings.gradient_count, self.settings.damp, like)

    def memory(self, sizes: list[int]) -> int:
        """Return the bytes of the stored vectors."""
        block = self.settings.block or sum(sizes)
        layers = sizes if self.settings.block else [sum(sizes)]
        return 4 * sum(-(-size // block) for size in layers) * block * self.settings.gradient_count
