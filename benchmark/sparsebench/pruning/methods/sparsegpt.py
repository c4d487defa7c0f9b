"""SparseGPT (Frantar & Alistarh, 2023): each layer pruned by the optimal brain surgeon on its own reconstruction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from ...schema import RunError
from ..calibrated import Calibrated, CalibrationSettings
from ..training import Published, Training

if TYPE_CHECKING:
    from torch import Tensor


class SparseGPTSettings(CalibrationSettings):
    """SparseGPT's settings."""

    damp: float = Field(0.01, ge=0, le=1, description="added to the Hessian's diagonal, in parts of its mean")
    block: int = Field(128, ge=1, description="columns whose mask is chosen at once")


class SparseGPT(Calibrated):
    """Prune each layer so that its outputs on the calibration images change least.

    With ``H = X^T X / n`` of a layer's inputs, columns are gone through from left to right. Where weight ``w_j`` of a
    row is pruned, the columns after it move by ``-w_j / [H_F^-1]_jj * [H_F^-1]_j``, ``F`` being the columns from ``j``
    on (Frantar & Alistarh, 2023, algorithm 1); all rows share these inverses, which one Cholesky factor holds. A
    block's mask prunes its smallest ``w_j^2 / [H_F^-1]_jj``, for a pattern N:M the smallest of each M columns.
    Groups of a convolution keep equal shares: a channel's batch norm scales its errors, so that those of depthwise
    filters can't be compared.
    """

    name = "sparsegpt"
    title = "SparseGPT"
    summary = "one-shot: optimal brain surgeon layer by layer (Frantar & Alistarh, 2023)"
    colour, marker, place = "#6699cc", "*", 11
    published = Published(
        Training(epochs=0, dense={"": ("head",), "nm": ("stem", "head")}),
        {"images": 128},
        source="Frantar & Alistarh, 2023, on language models; their convolutional networks are not published",
    )
    settings_model = SparseGPTSettings
    settings: SparseGPTSettings

    def collect(self, inputs: Tensor) -> Tensor:
        """Return ``X^T X`` of each group, ``(groups, columns, columns)``."""
        return inputs.transpose(1, 2) @ inputs

    def pruned(self, weight: Tensor, statistics: Tensor, kept: int) -> tuple[Tensor, Tensor]:
        """Return the weights left, moved to make up for those pruned, and their mask."""
        import torch

        from ..distributions import top_of_each, top_of_rows

        factor, size = self._factor(statistics), self._block_size(weight.shape[2])
        # an input that is never active: its weights go first, and nothing makes up for them
        weight = weight * (statistics.diagonal(dim1=1, dim2=2) > 0)[:, None]
        spread = factor.diagonal(dim1=1, dim2=2).square()[:, None]
        mask = torch.ones_like(weight, dtype=torch.bool)
        for start in range(0, weight.shape[2], size):
            end = min(start + size, weight.shape[2])
            now = weight[:, :, start:end]
            if self.nm is None:
                # cumulative shares, so that all blocks together keep exactly ``kept``
                before, after = (round(kept * edge / weight.shape[2]) for edge in (start, end))
                scores = now.square() / spread[:, :, start:end]
                mask[:, :, start:end] = top_of_rows(scores.flatten(1), after - before).view(now.shape)
            errors = torch.zeros_like(now)
            for column in range(start, end):
                if self.nm is not None and column % self.nm[1] == 0:
                    group = slice(column, column + self.nm[1])
                    mask[:, :, group] = top_of_each(weight[:, :, group].square() / spread[:, :, group], self.nm[0])
                error = weight[:, :, column] * ~mask[:, :, column] / factor[:, None, column, column]
                weight[:, :, column:end] -= error[:, :, None] * factor[:, None, column, column:end]
                errors[:, :, column - start] = error
            weight[:, :, end:] -= errors @ factor[:, start:end, end:]
        return weight * mask, mask

    def _block_size(self, width: int) -> int:
        """Return the columns of a block, whole groups of a pattern."""
        m = 1 if self.nm is None else self.nm[1]
        return max(m, min(self.settings.block, width) // m * m)

    def _factor(self, hessian: Tensor) -> Tensor:
        """Return the upper Cholesky factors of the damped inverse Hessians, ``(groups, columns, columns)``.

        Raises
        ------
        RunError
            If one isn't positive definite.
        """
        import torch

        hessian = hessian.double()
        diagonal = hessian.diagonal(dim1=1, dim2=2)
        diagonal += (diagonal == 0).double()
        diagonal += self.settings.damp * diagonal.mean(1, keepdim=True)
        lower, failed = torch.linalg.cholesky_ex(hessian)
        if not bool(failed.any()):
            upper, failed = torch.linalg.cholesky_ex(torch.cholesky_inverse(lower), upper=True)
        if bool(failed.any()):
            raise RunError(f"{self.name}'s Hessian is not positive definite", "raise damp (--set damp=0.1) or images")
        return upper.float()
