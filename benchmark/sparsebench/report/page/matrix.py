"""The win-rate matrix: on which share of the tasks the entry of a row does better than that of a column."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from ...analysis.ranks import win_rates
from ..aggregate import Aggregate
from ..win_rates import errors_by_task
from . import texts
from .svg import element, number

_WIN, _LOSS = (34, 102, 172), (204, 85, 34)  # blue and orange, told apart with every common colour blindness
_LABELLED = 36
_CELL, _LABEL = 16.0, 190.0
_SIDE = 520.0


@dataclass(frozen=True, eq=False)
class WinRates:
    """Win rates of the entries that ran every task of their board, best first.

    Parameters
    ----------
    names : list of str
        The entries.
    rows : list of int
        Their rows on the board.
    rates : ndarray, shape (n, n)
        In percent, rounded; 255 on the diagonal.
    """

    names: list[str]
    rows: list[int]
    rates: np.ndarray

    @property
    def packed(self) -> str:
        """The rates as bytes in base64, row by row."""
        return base64.b64encode(self.rates.tobytes()).decode("ascii")


def win_rates_of(part: Aggregate) -> WinRates | None:
    """Return the win rates of a board's complete entries; None for fewer than two."""
    chosen = [(at, line["checkpoint"]) for at, line in enumerate(part.lines) if line["complete"]]
    if len(chosen) < 2:
        return None
    rates = 100.0 * win_rates(errors_by_task(part, [name for _, name in chosen]))
    return WinRates(
        [texts.text(name) for _, name in chosen],
        [at for at, _ in chosen],
        np.where(np.isnan(rates), 255, np.rint(rates)).astype(np.uint8),
    )


def matrix_svg(name: str, found: WinRates) -> Markup:
    """Return the matrix as one image, so that it is as large for 200 entries as for twenty; labels where they fit."""
    n = len(found.names)
    labelled = n <= _LABELLED
    cell = _CELL if labelled else _SIDE / n
    left, side = (_LABEL if labelled else 0.0), cell * n
    parts = [
        element(
            "image", href=f"data:image/png;base64,{base64.b64encode(_png(found.rates)).decode('ascii')}", x=left, y=0.0,
            width=side, height=side, preserveAspectRatio="none", class_="cells",
        )
    ]  # fmt: skip
    if labelled:
        parts += [
            element("text", label, class_="tick end", x=left - 6, y=cell * at + cell / 2 + 4)
            for at, label in enumerate(found.names)
        ]
    parts.append(element("rect", class_="frame", x=left, y=0.0, width=side, height=side))
    return element(
        "svg", *parts, viewBox=f"0 0 {number(left + side)} {number(side)}", role="img", aria_label=name,
        class_="matrix", style=f"max-width:{number(left + side)}px", data_left=number(left), data_cell=f"{cell:.4f}",
    )  # fmt: skip


def _png(rates: np.ndarray) -> bytes:
    """Return a pixel per pair: the further from 50 %, the less transparent, so that it goes on any background."""
    from PIL import Image

    values = rates.astype(np.float64) / 100.0 - 0.5
    pixels = np.zeros((*rates.shape, 4), dtype=np.uint8)
    pixels[values >= 0, :3] = _WIN
    pixels[values < 0, :3] = _LOSS
    pixels[..., 3] = np.rint(255 * np.minimum(1.0, 2.0 * np.abs(values)) * 0.9)
    pixels[rates == 255] = 0
    buffer = io.BytesIO()
    Image.fromarray(pixels, "RGBA").save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def top_entries(found: WinRates, most: int = 5) -> list[tuple[str, float]]:
    """Return the entries with the highest mean win rate, as (name, percent)."""
    own = np.where(found.rates == 255, np.nan, found.rates.astype(np.float64))
    means = np.nanmean(own, axis=1)
    order = np.argsort(-means, kind="stable")[:most]
    return [(found.names[at], float(means[at])) for at in order]
