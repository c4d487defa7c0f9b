"""Two figures of measured speed: accuracy against throughput with the Pareto front, and speedup over sparsity."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from .. import extensions
from ..common.filenames import safe_name
from ..registry.names import method_title
from ..report.aggregate import Aggregate, aggregate
from ..report.figures.canvas import Canvas, Picture, paper_style
from ..report.figures.labels import place_labels
from ..report.figures.panel import Dot, Panel, handle
from ..report.figures.series import Axis, Series, build_series
from ..report.style import DENSE_COLOUR, panel_title, percent, sentences

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pandas as pd

_WIDTH, _PAGE = 3.5, 7.0  # inches
_FRONT = "#777777"

Ratios = dict[tuple[str, str], tuple[float, float, float]]
"""From engine and checkpoint to the median and quartiles of the ratio to dense torch."""


def bench_figures(engines: pd.DataFrame, results: pd.DataFrame | None) -> list[Picture]:
    """Return the figures that there is something to draw for, a pair a device and architecture.

    Parameters
    ----------
    engines : DataFrame
        What :func:`sparsebench.report.read_bench` gives.
    results : DataFrame or None
        A tidy results table, for the accuracy.
    """
    statistics = None if results is None or results.empty else aggregate(results)
    pictures: list[Picture] = []
    families = list(dict.fromkeys(zip(engines["device"], engines["arch"], strict=True)))
    for device, arch in families:
        own = engines[(engines["device"] == device) & (engines["arch"] == arch)].reset_index(drop=True)
        ending = "".join(
            f"-{safe_name(value)}"
            for value, all_values in ((device, engines["device"]), (arch, engines["arch"]))
            if all_values.nunique() > 1
        )
        made = [speedup_figure(own, f"speedup{ending}")]
        if statistics is not None:
            made.append(throughput_figure(own, statistics, f"accuracy_throughput{ending}"))
        pictures += [picture for picture in made if picture is not None]
    return pictures


def throughput_figure(engines: pd.DataFrame, statistics: Aggregate, name: str) -> Picture | None:
    """Draw mean accuracy over the throughput of each checkpoint's fastest engine, by group; None if of no use.

    The grey steps are the Pareto front: no other checkpoint is both faster and more accurate than one on it.
    """
    speed = best_engine(engines)
    parts = []
    for group, part in statistics.groups():
        lines = [line for line in part.lines if line["checkpoint"] in speed and not math.isnan(line["mean_accuracy"])]
        if len(lines) > 1:
            parts.append((group, lines))
    if not parts:
        return None
    series = _series([line for _, lines in parts for line in lines])
    found = [_accuracy_dots(series, lines, speed) for _, lines in parts]
    caption = sentences(
        "Fastest engine of each checkpoint; numbers are sparsities in percent. Grey: the Pareto front.",
        _machine(engines),
    )
    with paper_style():
        labels = [one.label for one in series]
        canvas = Canvas(len(parts), 1, _WIDTH, 1.9, labels)
        for axes, (group, _), dots in zip(canvas.axes, parts, found, strict=True):
            axes.set_title(panel_title(group, [group for group, _ in parts]))
            panel = Panel.of(dots, _limits([d.x for d in dots]), None)
            panel.draw(axes, canvas.panel_size, percent)
            front = pareto_front([(d.x, d.y) for d in dots])
            axes.plot(*_steps(front), color=_FRONT, linewidth=0.9, zorder=1.8)
            _set_throughput(axes)
            place_labels(axes, canvas.panel_size, panel.dots)
            axes.set_ylabel("Transfer accuracy (%)")
        canvas.axes[-1].set_xlabel("Throughput (images/s)")
        canvas.legend([handle(one) for one in series])
        return Picture(name, canvas, caption)


def speedup_figure(engines: pd.DataFrame, name: str) -> Picture | None:
    """Draw the ratio to torch on the dense network over sparsity, one panel per engine; None without a sparse entry."""
    lines = _lines(engines)
    series = [one for one in _series(list(lines.values())) if one.kind != "twin" and one.label != "Dense"]
    if not series:
        return None
    names = _in_order(engines["engine"])
    axis = Axis.of(line["sparsity"] for one in series for line in one.lines)
    columns = (engines[name].tolist() for name in ("engine", "checkpoint", "ratio", "ratio_low", "ratio_high"))
    ratios: Ratios = {(e, c): (middle, low, high) for e, c, middle, low, high in zip(*columns, strict=True)}
    found = {engine: _ratio_dots(series, engine, axis, ratios) for engine in names}
    every = [end for dots in found.values() for d in dots for end in (d.y, d.low, d.high)]
    caption = sentences(
        "Ratio to torch on the dense network, within a turn: medians, with quartiles as bars.", _machine(engines)
    )
    with paper_style():
        canvas = Canvas(len(names), len(names), _PAGE, 1.9, [one.label for one in series])
        for index, (axes, engine) in enumerate(zip(canvas.axes, names, strict=True)):
            axes.set_title(_title(engine))
            axes.axhline(1.0, color=DENSE_COLOUR, linestyle="--", linewidth=0.9, zorder=1.5)
            panel = Panel.of(found[engine], axis.limits, None, (1.0, min(every), max(every)))
            panel.draw(axes, canvas.panel_size, lambda value, _: f"{value:.3g}")
            _set_sparsities(axes, axis, canvas.panel_size[0])
            axes.set_xlabel("Sparsity (%)")
            if index == 0:
                axes.set_ylabel("Times dense torch")
        canvas.legend([handle(one) for one in series])
        return Picture(name, canvas, caption)


def best_engine(engines: pd.DataFrame) -> dict[str, float]:
    """Return each checkpoint's images per second with its fastest engine."""
    best = engines.groupby("checkpoint")["images_per_second"].max()
    return {str(name): float(value) for name, value in best.items()}


def pareto_front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the points that no other one equals or surpasses in both coordinates, by rising x (and falling y)."""
    front: list[tuple[float, float]] = []
    for x, y in sorted(set(points), reverse=True):
        if not front or y > front[-1][1]:
            front.append((x, y))
    return front[::-1]


def _steps(front: list[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """Return the corners of the front: level to each point, then down to the next."""
    xs, ys = [front[0][0]], [front[0][1]]
    for x, y in front[1:]:
        xs += [xs[-1], x]
        ys += [y, y]
    return xs, ys


def _lines(engines: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Return what series are built from, a line per checkpoint."""
    lines = {}
    for row in engines.fillna(dict.fromkeys(("method", "variant", "nm", "twin_of", "distribution"), "")).to_dict(
        "records"
    ):
        names = ("checkpoint", "method", "variant", "nm", "twin_of", "distribution", "arch", "sparsity")
        lines[str(row["checkpoint"])] = {name: row[name] for name in names} | dict.fromkeys(
            ("suite", "mode", "probe", "protocol"), ""
        )
    return lines


def _series(lines: list[dict[str, Any]]) -> list[Series]:
    """Return the dense entries as one series, and those of the sparse ones."""
    import pandas as pd

    unique = list(
        {(line["checkpoint"], line["mode"], line["probe"], line["protocol"]): line for line in lines}.values()
    )
    dense = tuple(line for line in unique if line["method"] == "dense" and not line["twin_of"])
    first = [Series(method_title("dense"), DENSE_COLOUR, DENSE_COLOUR, "o", "none", "sparse", dense)] if dense else []
    return [*first, *build_series(Aggregate(pd.DataFrame(), pd.DataFrame(unique)))]


def _accuracy_dots(series: list[Series], lines: list[dict[str, Any]], speed: dict[str, float]) -> list[Dot]:
    accuracy = {line["checkpoint"]: float(line["mean_accuracy"]) for line in lines}
    dots = []
    for one in series:
        for name, line in {line["checkpoint"]: line for line in one.lines}.items():
            if name in accuracy:
                label = f"{100 * line['sparsity']:.4g}" if line["sparsity"] else ""
                dots.append(Dot(one, math.log10(speed[name]), accuracy[name], label=label))
    return dots


def _ratio_dots(series: list[Series], engine: str, axis: Axis, ratios: Ratios) -> list[Dot]:
    dots = []
    for one in series:
        for line in one.lines:
            key = (engine, line["checkpoint"])
            if key in ratios:
                dots.append(Dot(one, axis.at(line["sparsity"]), *ratios[key]))
    return dots


def _limits(values: list[float]) -> tuple[float, float]:
    margin = 0.08 * (max(values) - min(values) or 0.1)
    return min(values) - margin, max(values) + margin


def _set_throughput(axes: Any) -> None:
    """Label the horizontal axis, a logarithm of images per second, in images per second."""
    from matplotlib.ticker import FixedLocator, FuncFormatter

    low, high = axes.get_xlim()
    coarse, fine = (1, 1.5, 2, 3, 4, 5, 6, 8), [d / 10 for d in range(10, 100)]
    for digits in (coarse, fine):
        ticks = [math.log10(d * 10.0**e) for e in range(-3, 8) for d in digits]
        shown = [tick for tick in ticks if low <= tick <= high]
        if len(shown) > 2:
            break
    while len(shown) > 6:
        shown = shown[::2]
    axes.xaxis.set_major_locator(FixedLocator(shown))
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{10**value:,.0f}" if value >= 1 else f"{10**value:.3g}")
    )


def _set_sparsities(axes: Any, axis: Axis, width: float) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter

    left, right = axis.limits
    labels = axis.labels(0.2 * (right - left) / width)
    axes.xaxis.set_major_locator(FixedLocator(sorted(labels)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda place, _: labels[min(labels, key=lambda o: abs(o - place))]))


def _machine(engines: pd.DataFrame) -> str:
    first = engines.iloc[0]
    return (
        f"{first['processor']}, {first['threads']} of {first['cores']} cores, torch {first['torch']}, batch"
        f" {first['batch']:.0f}, {first['input_size']:.0f} px."
    )


def _in_order(engines: Iterable[str]) -> list[str]:
    """Return the names of engines, each once, in the order of lists; those that aren't known here come last."""
    known, found = extensions.names("engines"), set(engines)
    return [*(name for name in known if name in found), *sorted(found - set(known))]


def _title(engine: str) -> str:
    """Return an engine's name in print."""
    known = extensions.find("engines", engine)
    return (known.title or known.name) if known else engine
