"""A figure of panels with one legend, laid out in inches, drawn without touching global state.

No sentence is drawn: a caption is text beside the figure, which a paper sets in its own type.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ..latex import latex_figure

FONT_SIZE = 8.0
_LINE = FONT_SIZE * 1.22 / 72  # inches that a line of the legend or the caption takes
_CHARACTER = FONT_SIZE * 0.56 / 72  # inches a character takes, on average and rounded up
_LEFT, _RIGHT, _TOP, _BELOW, _GAP_X, _GAP_Y = 0.62, 0.10, 0.30, 0.42, 0.52, 0.48

_STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": FONT_SIZE,
    "axes.titlesize": FONT_SIZE,
    "axes.titlelocation": "left",
    "axes.labelsize": FONT_SIZE,
    "xtick.labelsize": FONT_SIZE - 1,
    "ytick.labelsize": FONT_SIZE - 1,
    "legend.fontsize": FONT_SIZE - 1,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "lines.linewidth": 1.2,
    "lines.markersize": 4.5,
    "axes.unicode_minus": True,
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
    "text.usetex": False,
    "savefig.bbox": "standard",
    "path.simplify": False,
    "svg.hashsalt": "sparsebench",
}


@contextmanager
def paper_style() -> Iterator[None]:
    """Draw with the reports' settings, whatever the caller's are; they are back afterwards."""
    import matplotlib as mpl

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        yield


FORMATS: tuple[str, ...] = ("png", "pdf", "svg")
"""What a figure can be written as."""


@dataclass(frozen=True, eq=False)
class Picture:
    """A finished figure.

    Parameters
    ----------
    name : str
        The stem of its file name.
    canvas : Canvas
        The drawing.
    caption : str
        What must be said below it.
    """

    name: str
    canvas: Canvas
    caption: str

    @property
    def png(self) -> bytes:
        """The drawing at 200 dpi."""
        return self.drawn("png")

    @property
    def pdf(self) -> bytes:
        """The drawing with embedded TrueType fonts."""
        return self.drawn("pdf")

    def drawn(self, suffix: str) -> bytes:
        """Return the drawing in one of :data:`FORMATS`."""
        with paper_style():
            return self.canvas.save(suffix)

    def files(self, formats: Sequence[str] = ("png", "pdf")) -> Iterator[tuple[str, bytes]]:
        """Yield its files by name: the drawing in some formats, and the caption as text and as a LaTeX figure."""
        for suffix in formats:
            yield f"{self.name}.{suffix}", self.drawn(suffix)
        yield f"{self.name}.txt", f"{self.caption}\n".encode()
        yield f"{self.name}.tex", latex_figure(self.name, self.caption).encode()


@dataclass(frozen=True)
class Layout:
    """Sizes of a figure in inches."""

    width: float
    rows: int
    columns: int
    panel_height: float
    legend_rows: int
    below: float = _BELOW
    gap: float = _GAP_Y

    @property
    def height(self) -> float:
        """Height of the whole figure."""
        panels = self.rows * self.panel_height + (self.rows - 1) * self.gap
        return _TOP + panels + self.below + self.legend_height + 0.06

    @property
    def legend_height(self) -> float:
        """Height of the legend with the space below it."""
        return self.legend_rows * _LINE + 0.08 if self.legend_rows else 0.0


class Canvas:
    """Panels in rows and columns, and a legend.

    Parameters
    ----------
    panels : int
        Number of panels.
    columns : int
        Panels side by side.
    width, panel_height : float
        Inches.
    labels : list of str
        The legend's entries, to reserve their space.
    left, right, below : float
        Inches left and right of the panels, and below them.
    gap : tuple of float
        Inches between panels, horizontally and vertically.
    """

    def __init__(
        self,
        panels: int,
        columns: int,
        width: float,
        panel_height: float,
        labels: list[str],
        left: float = _LEFT,
        right: float = _RIGHT,
        below: float = _BELOW,
        gap: tuple[float, float] = (_GAP_X, _GAP_Y),
    ) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self._left, self._gap = left, gap
        self.legend_columns = _legend_columns(labels, width)
        rows = math.ceil(panels / columns)
        legend_rows = math.ceil(len(labels) / self.legend_columns) if labels else 0
        self.layout = Layout(width, rows, columns, panel_height, legend_rows, below, gap[1])
        self._panel_width = (width - left - right - (columns - 1) * gap[0]) / columns
        self.figure = Figure(figsize=(width, self.layout.height))
        FigureCanvasAgg(self.figure)
        self.axes = [self._panel(i) for i in range(panels)]
        self.panel_size = (self._panel_width, panel_height)

    def legend(self, handles: list[Any]) -> None:
        """Draw the legend below the panels."""
        if handles:
            bottom = 0.06
            self.figure.legend(
                handles=handles,
                loc="lower center",
                bbox_to_anchor=(0.5, bottom / self.layout.height),
                ncols=self.legend_columns,
                frameon=False,
                borderaxespad=0.0,
                borderpad=0.2,
                labelspacing=0.3,
                columnspacing=1.2,
                handlelength=2.0,
            )

    def save(self, suffix: str) -> bytes:
        """Return the drawing in one of :data:`FORMATS`, without a time stamp."""
        options: dict[str, dict[str, Any]] = {
            "png": {"dpi": 200, "metadata": {"Software": None}},
            "pdf": {"metadata": {"CreationDate": None, "ModDate": None, "Producer": None}},
            "svg": {"metadata": {"Date": None}},
        }
        buffer = io.BytesIO()
        self.figure.savefig(buffer, format=suffix, **options[suffix])
        return buffer.getvalue()

    def _panel(self, index: int) -> Any:
        row, column = divmod(index, self.layout.columns)
        width = self._panel_width
        left = self._left + column * (width + self._gap[0])
        top = _TOP + row * (self.layout.panel_height + self._gap[1])
        bottom = self.layout.height - top - self.layout.panel_height
        x, y = self.layout.width, self.layout.height
        return self.figure.add_axes((left / x, bottom / y, width / x, self.layout.panel_height / y))


def text_width(text: str) -> float:
    """Return how many inches a title takes, about."""
    return len(text) * _CHARACTER


def _legend_columns(labels: list[str], width: float) -> int:
    """Return how many legend entries stand side by side."""
    if not labels:
        return 1
    entry = max(map(len, labels)) * _CHARACTER + 0.48
    return max(1, min(len(labels), int((width - 0.1) / entry)))
