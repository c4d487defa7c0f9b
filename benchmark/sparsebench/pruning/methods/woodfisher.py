"""WoodFisher (Singh & Alistarh, 2020): the inverse Fisher by Woodbury's identity, in blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from ..obs import OBS, OBSSettings
from ..training import Published
from .gmp import PUBLISHED_SCHEDULE, PUBLISHED_TRAINING

if TYPE_CHECKING:
    from torch import Tensor

    from ..fisher import BlockInverse


class WoodFisherSettings(OBSSettings):
    """WoodFisher's settings."""

    block: int = Field(64, ge=1, description="weights per diagonal block")


class WoodFisher(OBS):
    """Prune by second-order cost with a block-diagonal inverse Fisher.

    Blocks are ``block`` consecutive weights of a layer. The estimate takes ``block`` floats per weight: 156 MiB
    for 640,000 weights and blocks of 64.
    """

    name = "woodfisher"
    title = "WoodFisher"
    summary = "second-order pruning, block Fisher inverse (Singh & Alistarh, 2020)"
    spellings = ("WF",)
    colour, marker, place = "#882255", "X", 7
    published = Published(
        PUBLISHED_TRAINING,
        {**PUBLISHED_SCHEDULE, "gradient_count": 400, "gradient_batch": 400, "block": 2000},
        source="Singh & Alistarh, 2020; MobileNetV1 has blocks of 10,000 and 400 gradients of 2,400 images",
    )
    settings_model = WoodFisherSettings

    def empty_inverse(self, sizes: list[int], like: Tensor) -> BlockInverse:
        """Return the inverse of the damping alone."""
        from ..fisher import BlockInverse, Blocks

        return BlockInverse(Blocks(sizes, self.settings.block), self.settings.gradient_count, self.settings.damp, like)

    def memory(self, sizes: list[int]) -> int:
        """Return the bytes of the blocks."""
        block = self.settings.block
        return 4 * sum(-(-size // block) for size in sizes) * block**2
