"""Small geometric and contrast variation of a character: the recipe, its fixed draw, and how it is applied.

The drawing is done at four times the final size and reduced by exact averaging, so that the result hardly depends on
how a library hints or interpolates.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

from PIL import Image
from pydantic import field_validator

from ....schema import Strict
from ...splits.keyed import uniform

SIZE = 32
"""Pixels of an embedded task's image, both ways."""

_OVER = 4
_MARGIN = 2
RECIPE_VERSION = 1
"""Part of the images' hashes; raise it when the same recipe gives a different picture."""


@dataclass(frozen=True)
class Variation:
    """How a character lies in its image.

    ``size`` is its height in pixels, ``angle`` in degrees (clockwise), ``shear`` in pixels a pixel, ``dx`` and ``dy``
    the shift in pixels, ``ink`` and ``paper`` the grey levels (0 to 255) of character and background.
    """

    size: float
    angle: float
    shear: float
    dx: float
    dy: float
    ink: int
    paper: int

    def to_row(self) -> dict[str, str]:
        """Return the fields as a split file's cells."""
        return {name: str(value) for name, value in asdict(self).items()}

    @classmethod
    def from_row(cls, row: dict[str, str]) -> Variation:
        """Read :meth:`to_row`'s cells."""
        size, angle, shear, dx, dy = (float(row[name]) for name in ("size", "angle", "shear", "dx", "dy"))
        return cls(size, angle, shear, dx, dy, ink=int(row["ink"]), paper=int(row["paper"]))


FIELDS = tuple(Variation.__dataclass_fields__)


@dataclass(frozen=True)
class Spread:
    """How far variations go: ranges of size, ink and paper, and the largest angle, shear and shift."""

    size: tuple[float, float]
    angle: float
    shear: float
    shift: float
    ink: tuple[int, int] = (255, 255)
    paper: tuple[int, int] = (0, 0)


def draw(key: str, spread: Spread) -> Variation:
    """Return the variation that belongs to the image named ``key``."""

    def pick(name: str, low: float, high: float, digits: int) -> float:
        return round(uniform(f"{key}/{name}", low, high), digits) + 0.0  # no -0.0

    return Variation(
        size=pick("size", *spread.size, 1),
        angle=pick("angle", -spread.angle, spread.angle, 1),
        shear=pick("shear", -spread.shear, spread.shear, 2),
        dx=pick("dx", -spread.shift, spread.shift, 1),
        dy=pick("dy", -spread.shift, spread.shift, 1),
        ink=int(uniform(f"{key}/ink", spread.ink[0], spread.ink[1] + 1)),
        paper=int(uniform(f"{key}/paper", spread.paper[0], spread.paper[1] + 1)),
    )


Range = tuple[float, float]
Level = tuple[int, int]


class FurtherVariation(Strict):
    """Options of a further test set: the ranges that its images vary in, in place of those of the task.

    Units are those of :class:`Variation`. ``angle`` and ``shear`` are to either side: their ranges are of magnitudes.
    """

    size: Range | None = None
    angle: Range | None = None
    shear: Range | None = None
    ink: Level | None = None
    paper: Level | None = None

    @field_validator("size", "angle", "shear", "ink", "paper")
    @classmethod
    def _range(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and not 0 <= value[0] <= value[1] <= 255:
            raise ValueError("a range is two numbers from 0 on, the smaller first")
        return value

    def of(self, row: dict[str, str]) -> dict[str, str]:
        """Return the row of a test image with what varies drawn anew, by the image's id."""
        changed = dict(row)
        for name, digits in (("size", 1), ("angle", 1), ("shear", 2), ("ink", 0), ("paper", 0)):
            if (between := getattr(self, name)) is None:
                continue
            key = f"{row['id']}/further {name}"
            if digits == 0:
                changed[name] = str(int(uniform(key, between[0], between[1] + 1)))
                continue
            side = -1.0 if name in ("angle", "shear") and uniform(f"{key}/side", -1.0, 1.0) < 0 else 1.0
            changed[name] = str(side * round(uniform(key, *between), digits) + 0.0)
        return changed


def apply(character: Image.Image, variation: Variation) -> Image.Image:
    """Return the RGB image of a character.

    Parameters
    ----------
    character : Image
        Mode ``L``, cut to its edges, 255 where there is ink; some 100 pixels high.

    Returns
    -------
    Image
        Mode ``RGB``, 32x32. A wide character is made smaller than ``size``, so that it fits.
    """
    width, height = character.size
    scale = _OVER * min(variation.size / height, (SIZE - 2 * _MARGIN) / width)
    frame = 2 * max(width, height)
    canvas = Image.new("L", (frame, frame), 0)
    canvas.paste(character, ((frame - width) // 2, (frame - height) // 2))
    big = SIZE * _OVER
    coefficients = _inverse_affine(variation, scale, frame / 2, big / 2)
    mask = canvas.transform((big, big), Image.Transform.AFFINE, coefficients, Image.Resampling.BICUBIC).reduce(_OVER)
    grey = Image.new("L", (SIZE, SIZE), variation.paper)
    grey.paste(variation.ink, (0, 0), mask)
    return grey.convert("RGB")


def _inverse_affine(
    variation: Variation, scale: float, centre_in: float, centre_out: float
) -> tuple[float, float, float, float, float, float]:
    """Return Pillow's coefficients: from a pixel of the output to its place in the input."""
    angle = math.radians(variation.angle)
    cos, sin, shear = math.cos(angle), math.sin(angle), variation.shear
    # forward: scale * rotation(angle) @ [[1, shear], [0, 1]]; a shear has determinant 1, so the inverse is plain
    a, b = (cos + shear * sin) / scale, (sin - shear * cos) / scale
    d, e = -sin / scale, cos / scale
    x, y = centre_out + _OVER * variation.dx, centre_out + _OVER * variation.dy
    return a, b, centre_in - a * x - b * y, d, e, centre_in - d * x - e * y
