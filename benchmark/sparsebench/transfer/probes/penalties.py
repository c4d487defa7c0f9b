"""L2 penalties to choose from: the setting of the probes that have one."""

from __future__ import annotations

from pydantic import Field, model_validator

from ...extensions import Settings


class Strengths(Settings):
    """L2 penalties to choose from, logarithmically spaced; one value (``low`` = ``high``) leaves nothing to choose.

    A penalty multiplies half the squared norm of the weights where the losses of all images are summed.
    """

    low: float = Field(strict=True, default=1e-6, gt=0, allow_inf_nan=False, description="smallest penalty")
    high: float = Field(strict=True, default=1e5, gt=0, allow_inf_nan=False, description="largest penalty")
    count: int = Field(strict=True, default=45, ge=1, le=1000, description="how many, both ends included")

    @model_validator(mode="after")
    def _is_a_range(self) -> Strengths:
        if (self.low < self.high) != (self.count > 1) or self.low > self.high:
            raise ValueError("several penalties run from 'low' to a larger 'high', a single one has both equal")
        return self

    def values(self) -> tuple[float, ...]:
        """Return the penalties, largest first."""
        if self.count == 1:
            return (self.high,)
        ratio = (self.low / self.high) ** (1 / (self.count - 1))
        return tuple(self.high * ratio**k for k in range(self.count))


class Penalised(Settings):
    """The settings of a probe with an L2 penalty."""

    l2: Strengths = Field(default=Strengths(), description="L2 penalties to choose from on val")

    @property
    def chooses(self) -> bool:
        """Whether the penalty is chosen on val."""
        return self.l2.count > 1
