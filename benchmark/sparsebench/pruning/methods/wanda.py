"""Wanda (Sun et al., 2024): weights times the norms of their inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from ..calibrated import Calibrated, CalibrationSettings
from ..training import Published, Training

if TYPE_CHECKING:
    from torch import Tensor


class WandaSettings(CalibrationSettings):
    """Wanda's settings."""

    compare: Literal["output", "layer"] = Field("output", description="among which weights scores compete")


class Wanda(Calibrated):
    """Prune the weights whose product with the norm of their input is smallest; no weight changes.

    The score of a weight is ``|w_ij| * ||x_j||_2`` (Sun et al., 2024, equation 1), ``x_j`` an input over all
    calibration samples: for a convolution, a channel at a kernel position over all patches. Scores compete within each
    output, as published, or within the layer.
    """

    name = "wanda"
    title = "Wanda"
    summary = "one-shot: weights times the norms of their inputs (Sun et al., 2024)"
    colour, marker, place = "#ddcc77", "p", 10
    published = Published(
        Training(epochs=0, dense={"": ("head",), "nm": ("stem", "head")}),
        {"images": 128},
        source="Sun et al., 2024, on language models; their convolutional networks are not published",
    )
    settings_model = WandaSettings
    settings: WandaSettings

    def collect(self, inputs: Tensor) -> Tensor:
        """Return each column's sum of squares, ``(groups, columns)``."""
        return inputs.square().sum(1)

    def pruned(self, weight: Tensor, statistics: Tensor, kept: int) -> tuple[Tensor, Tensor]:
        """Return the weights of largest score, and their mask."""
        from ..distributions import top, top_of_each, top_of_rows

        scores = weight.abs() * statistics.sqrt()[:, None]
        if self.nm is not None:
            n, m = self.nm
            mask = top_of_each(scores.unflatten(-1, (-1, m)), n).flatten(-2)
        elif self.settings.compare == "layer":
            mask = top(scores.flatten(), kept).view(scores.shape)
        else:
            mask = top_of_rows(scores.flatten(0, 1), kept).view(scores.shape)
        return weight * mask, mask
