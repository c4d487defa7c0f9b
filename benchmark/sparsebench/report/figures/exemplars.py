"""A contact sheet of pruning-identified exemplars: the images, their class, and what A and B see in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..populations import Populations
from ..style import sentences
from .canvas import Canvas, Picture, paper_style

MOST = 40
"""Images on a sheet."""

_COLUMNS, _WIDTH = 8, 7.0


@dataclass(frozen=True, eq=False)
class Shown:
    """An image on the sheet: its pixels (H, W, 3) uint8, and the names of its class and of what A and B predict."""

    pixels: npt.NDArray[np.uint8]
    label: str
    first: str
    second: str


def contact_sheet(
    task: str, names: tuple[str, str], found: Populations, shown: Sequence[Shown], licence: str = "", scale: float = 1.0
) -> Picture:
    """Draw the images in rows, each below its label, and what A and B predict in the mean over their runs.

    Parameters
    ----------
    task : str
        The task.
    names : tuple of str
        Both checkpoints.
    found : Populations
        What the exemplars are of.
    shown : sequence of Shown
        The images; at most :data:`MOST` are drawn.
    licence : str
        Of the images, for the caption.
    scale : float
        Of the width of 7 inches.
    """
    few = shown[:MOST]
    columns = min(_COLUMNS, len(few))
    with paper_style():
        cell = (scale * _WIDTH - 0.2) / _COLUMNS
        width = max(cell * columns + 0.2, 2.0)
        canvas = Canvas(
            len(few), columns, width, cell * 0.72, [], left=0.1, right=0.1, below=0.1, gap=(0.08, cell * 0.45)
        )
        for axes, one in zip(canvas.axes, few, strict=True):
            axes.imshow(one.pixels, interpolation="nearest")
            axes.set_axis_off()
            text = "\n".join(_short(word) for word in (one.label, f"A {one.first}", f"B {one.second}"))
            axes.set_title(text, fontsize=5, loc="center", pad=2, linespacing=1.05)
        rest = len(found.exemplars) - len(few)
        noise = "" if found.noise is None else f"Between two halves of B's own runs there are {found.noise} of them."
        caption = sentences(
            f"Exemplars of {task} over {found.over}: test images whose most frequent predicted class over the runs of"
            f" {names[0]} (A) isn't most frequent over those of {names[1]} (B). Above each: its class, and both"
            " predictions.",
            f"{len(few)} of {len(found.exemplars)} are shown." if rest > 0 else "",
            noise,
            "They don't say what another training of the backbones would predict." if found.over == "heads" else "",
            f"Images: {licence}." if licence else "",
        )
        return Picture(f"exemplars-{task}", canvas, caption)


def _short(text: str, most: int = 16) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
