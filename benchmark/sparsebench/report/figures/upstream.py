"""Transfer against upstream accuracy: whether the better ImageNet model transfers better, on the whole and by task.

Only entries whose upstream top-1 is known are drawn; the points of a series are joined by sparsity.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from ...analysis.metrics import mean, student_t_quantile
from ..aggregate import Aggregate
from ..style import DENSE_COLOUR, metric_sentence, panel_title, percent, sentences
from ..summary import shared_ranks
from .canvas import Canvas, Picture, paper_style, text_width
from .labels import place_labels
from .panel import Dot, Panel, handle
from .series import Line, Series, build_series

_FEWEST = 5
"""Models that a rank correlation is given for."""

_WIDTH, _PAGE = 3.5, 7.0  # inches


def upstream_figure(statistics: Aggregate, name: str = "upstream", scale: float = 1.0) -> Picture | None:
    """Draw mean transfer accuracy over upstream top-1, by group; None if fewer than two entries are known."""
    groups = [group for group, part in statistics.groups() if len(_known(part)) > 1]
    parts = [_only_known(part) for _, part in statistics.groups() if len(_known(part)) > 1]
    if not groups:
        return None
    series = _series(parts)
    dots = [_dots(part, lambda line: float(line["mean_accuracy"])) for part in parts]
    panels = [Panel.of(found, _limits(found), None) for found in dots]
    first = "Mean over tasks and seeds; numbers are sparsities in percent, where there is space for them."
    caption = sentences(first, _rho_sentence(dict(zip((panel_title(g, groups) for g in groups), dots, strict=True))))
    with paper_style():
        canvas = Canvas(len(groups), 1, scale * _WIDTH, 1.9, [s.label for s in series])
        for axes, group, panel in zip(canvas.axes, groups, panels, strict=True):
            axes.set_title(_with_rho(panel_title(group, groups), panel.dots, canvas.panel_size[0]))
            panel.draw(axes, canvas.panel_size, percent)
            _set_upstream(axes)
            place_labels(axes, canvas.panel_size, panel.dots)
            axes.set_ylabel("Transfer accuracy (%)")
        canvas.axes[-1].set_xlabel("Upstream top-1 (%)")
        canvas.legend([handle(s) for s in series])
        return Picture(name, canvas, caption)


def upstream_by_task(statistics: Aggregate, name: str = "upstream_by_task", scale: float = 1.0) -> Picture | None:
    """Draw accuracy over upstream top-1, one panel per task, of one group; None if fewer than two entries are known."""
    if len(_known(statistics)) < 2:
        return None
    statistics = _only_known(statistics)
    series, tasks = _series([statistics]), statistics.tasks
    columns = min(len(tasks), 4 if len(tasks) > 6 else 3)
    found = {task: _dots(statistics, _accuracy_on(statistics, task)) for task in tasks}
    panels = {task: Panel.of(dots, _limits(dots), None) for task, dots in found.items()}
    metric = metric_sentence(statistics.per_class_tasks)
    caption = sentences("Mean over seeds.", metric, _rho_sentence(found))
    with paper_style():
        width = _PAGE if columns > 1 else _WIDTH
        canvas = Canvas(len(tasks), columns, scale * width, 1.3, [s.label for s in series])
        for index, (axes, task) in enumerate(zip(canvas.axes, tasks, strict=True)):
            axes.set_title(_with_rho(task, panels[task].dots, canvas.panel_size[0]))
            panels[task].draw(axes, canvas.panel_size, percent)
            _set_upstream(axes)
            if index % columns == 0:
                axes.set_ylabel("Accuracy (%)")
            if index + columns >= len(tasks):
                axes.set_xlabel("Upstream top-1 (%)")
        canvas.legend([handle(s) for s in series])
        return Picture(name, canvas, caption)


def rank_correlation(x: Sequence[float], y: Sequence[float]) -> float:
    """Return Spearman's rank correlation; NaN where one side doesn't vary."""
    a, b = shared_ranks(list(x)), shared_ranks(list(y))
    centre_a, centre_b = mean(a), mean(b)
    covariance = math.fsum((p - centre_a) * (q - centre_b) for p, q in zip(a, b, strict=True))
    scale = math.sqrt(math.fsum((p - centre_a) ** 2 for p in a) * math.fsum((q - centre_b) ** 2 for q in b))
    return covariance / scale if scale > 0 else math.nan


def _known(part: Aggregate) -> list[Line]:
    return [line for line in part.lines if line["complete"] and not math.isnan(line["upstream_top1"])]


def _only_known(part: Aggregate) -> Aggregate:
    names = [line["checkpoint"] for line in _known(part)]
    kept = part.summary[part.summary["checkpoint"].isin(names)]
    cells = part.cells[part.cells["checkpoint"].isin(names)]
    return Aggregate(cells.reset_index(drop=True), kept.reset_index(drop=True))


def _series(parts: list[Aggregate]) -> list[Series]:
    """Return the series of all parts in one order, the dense references first."""
    import pandas as pd

    cells, summary = (pd.concat([getattr(part, name) for part in parts]) for name in ("cells", "summary"))
    return _with_dense(Aggregate(cells, summary))


def _with_dense(statistics: Aggregate) -> list[Series]:
    dense = tuple(line for line in statistics.lines if line["method"] == "dense" and not line["twin_of"])
    first = [Series("Dense", DENSE_COLOUR, DENSE_COLOUR, "o", "none", "sparse", dense)] if dense else []
    return [*first, *build_series(statistics)]


def _dots(part: Aggregate, value: Callable[[Line], float]) -> list[Dot]:
    """Return a group's points, those of a series from dense to sparse."""
    return [
        Dot(one, line["upstream_top1"], value(line), label=_label(line))
        for one in _with_dense(part)
        for line in one.lines
    ]


def _label(line: Line) -> str:
    """Return a sparse entry's sparsity in percent."""
    return f"{100 * line['sparsity']:.4g}" if line["sparsity"] else ""


def _accuracy_on(statistics: Aggregate, task: str) -> Callable[[Line], float]:
    def value(line: Line) -> float:
        cell = statistics.cell(line["checkpoint"], task)
        return math.nan if cell is None else cell.mean

    return value


def _limits(dots: list[Dot]) -> tuple[float, float]:
    low, high = min(d.x for d in dots), max(d.x for d in dots)
    margin = 0.08 * (high - low or 0.02)
    return low - margin, high + margin


def _with_rho(title: str, dots: Sequence[Dot], width: float) -> str:
    """Return a title with the rank correlation and its interval, where there are enough models and they fit."""
    value = rank_correlation([d.x for d in dots], [d.y for d in dots]) if len(dots) >= _FEWEST else math.nan
    if math.isnan(value):
        return title
    whole = f"{title}, ρ = {_with_interval(value, len(dots))}"
    return whole if text_width(whole) <= width else title


def _with_interval(value: float, n: int) -> str:
    low, high = correlation_interval(value, n)
    ends = "" if math.isnan(low) else f" [{low:.2f}, {high:.2f}]"
    return f"{value:.2f}{ends}".replace("-", "−")


def _rho_sentence(found: dict[str, list[Dot]]) -> str:
    """Return what the rank correlations of panels are, with their intervals."""
    parts = []
    for title, dots in found.items():
        value = rank_correlation([d.x for d in dots], [d.y for d in dots]) if len(dots) >= _FEWEST else math.nan
        if not math.isnan(value):
            parts.append(f"{title} {_with_interval(value, len(dots))} ({len(dots)} models)")
    if not parts:
        return ""
    first = "ρ: Spearman's rank correlation, with the 95 % interval that as many independent models would give"
    return f"{first}: {'; '.join(parts)}."


def correlation_interval(value: float, n: int, confidence: float = 0.95) -> tuple[float, float]:
    r"""Return the interval of Spearman's rank correlation of n pairs (Bonett and Wright 2000).

    :math:`\tanh(\mathrm{artanh}\,r \pm z \sqrt{(1 + r^2/2)/(n - 3)})`; NaN of fewer than four pairs, and
    where all are in perfect order, of which the formula would say that it is certain.
    """
    if n < 4 or abs(value) >= 1.0:
        return math.nan, math.nan
    half = student_t_quantile(0.5 + confidence / 2.0, 1e9) * math.sqrt((1.0 + value**2 / 2.0) / (n - 3))
    centre = math.atanh(value)
    return math.tanh(centre - half), math.tanh(centre + half)


def _set_upstream(axes: Any) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    low, high = axes.get_xlim()
    digits = 0 if high - low > 0.03 else 1
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: percent(value, digits)))
