"""``glyphs``: capital letters of the text fonts that matplotlib ships, tested on a font family never seen in training.

Train is DejaVu (sans, mono, serif, each in four styles), val is STIX, test is Computer Modern; symbol, mathematical,
size variant, display and last-resort fonts are left out. Each image has a small fixed variation of size, angle,
slant, place and contrast. An image's hash covers the font file, the letter and the variation rather than pixels:
FreeType versions differ in the last grey level, and that must not read as another data set.
"""

from __future__ import annotations

import hashlib
import os
import re
import string
from collections.abc import Iterator, Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from threading import Lock

from PIL import Image, ImageDraw, ImageFont
from pydantic import field_validator

from ....schema import DatasetError, Task, digest
from ...base import TaskData
from ..options import parse_options
from .index import Row, index_path, read_index, task_data, with_test
from .variation import FIELDS, RECIPE_VERSION, FurtherVariation, Spread, Variation, apply, draw

CLASSES = tuple(string.ascii_uppercase)
COLUMNS = ("font", *FIELDS)
FAMILIES = {
    "train": tuple(
        f"DejaVu{family}{style}"
        for family, slanted in (("Sans", "Oblique"), ("SansMono", "Oblique"), ("Serif", "Italic"))
        for style in ("", "-Bold", f"-{slanted}", f"-Bold{slanted}")
    ),
    "val": ("STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta"),
    "test": ("cmr10", "cmb10", "cmss10", "cmtt10", "cmti10"),
}
COUNTS = {"train": 12, "val": 4, "test": 40}
SPREAD = Spread(size=(18.0, 24.0), angle=8.0, shear=0.12, shift=1.5, ink=(160, 255), paper=(0, 60))
_POINTS = 96
_FONT = re.compile(r"[A-Za-z0-9-]+")
_LOCK = Lock()  # FreeType faces are not made for several threads at once


class GlyphOptions(FurtherVariation):
    """Options of a further test set: also its fonts, of those that matplotlib ships."""

    fonts: tuple[str, ...] = ()

    @field_validator("fonts")
    @classmethod
    def _names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if not _FONT.fullmatch(name):
                raise ValueError(f"{name!r} is no font that matplotlib ships, such as 'cmsy10'")
        return value


def _unlock_in_child() -> None:
    """Let a forked process render: who held the lock doesn't live on there."""
    global _LOCK
    _LOCK = Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlock_in_child)


def font_path(font: str) -> Path:
    """Return the path of a font that matplotlib ships; matplotlib itself isn't imported for it."""
    spec = find_spec("matplotlib")
    package = Path(spec.origin if spec and spec.origin else "matplotlib").parent
    return package / "mpl-data" / "fonts" / "ttf" / f"{font}.ttf"


@lru_cache(maxsize=64)
def _font_sha256(font: str) -> str:
    try:
        return hashlib.sha256(font_path(font).read_bytes()).hexdigest()
    except OSError as error:
        raise DatasetError(
            f"font {font!r} can't be read: {error}",
            hint="the glyphs task needs matplotlib 3.11 or later with its fonts",
        ) from error


@lru_cache(maxsize=1024)
def letter(font: str, character: str) -> Image.Image:
    """Return a letter at 96 points, mode ``L``, 255 where there is ink, cut to its edges.

    Raises
    ------
    DatasetError
        If the font can't be read or draws nothing.
    """
    try:
        face = _face(font)
    except OSError as error:
        raise DatasetError(f"font {font!r} can't be read: {error}", hint="reinstall matplotlib") from error
    image = Image.new("L", (2 * _POINTS, 2 * _POINTS), 0)
    ImageDraw.Draw(image).text((_POINTS // 2, _POINTS // 4), character, font=face, fill=255)
    box = image.getbbox()
    if box is None:
        raise DatasetError(f"font {font!r} draws nothing for {character!r}", hint="reinstall matplotlib")
    return image.crop(box)


@lru_cache(maxsize=64)
def _face(font: str) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(font_path(font)), _POINTS, layout_engine=ImageFont.Layout.BASIC)


def open_glyphs(task: Task, data_dir: Path | None = None, cache_dir: Path | None = None) -> TaskData:
    """Open the task; nothing outside the installed packages is read."""
    options = parse_options(GlyphOptions, task)
    rows = read_index(index_path("glyphs"), COLUMNS)
    if options.fonts:
        rows = [row for row in rows if row["split"] != "test"] + list(_rows("test", options.fonts))
    rows = with_test(rows, options.of)

    def content_hash(row: Row) -> str:
        return digest([RECIPE_VERSION, _font_sha256(row["font"]), row["label"], [row[name] for name in FIELDS]])

    return task_data(task, rows, CLASSES, content_hash, render)


def render(row: Row) -> Image.Image:
    """Draw one letter."""
    with _LOCK:
        drawn = letter(row["font"], row["label"])
    return apply(drawn, Variation.from_row(row))


def make_rows() -> list[Row]:
    """Spread each split's images evenly over its fonts and draw their variations: what the split file holds."""
    return [row for split in COUNTS for row in _rows(split, FAMILIES[split])]


def _rows(split: str, fonts: Sequence[str]) -> Iterator[Row]:
    for number, name in enumerate(CLASSES):
        for i in range(COUNTS[split]):
            font = fonts[(i + number) % len(fonts)]
            key = f"glyphs/{font}/{name}/{i // len(fonts)}"
            yield {"id": key, "split": split, "label": name, "font": font, **draw(key, SPREAD).to_row()}
