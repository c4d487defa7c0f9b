"""``sparsebench analyze``: on which images two checkpoints differ, and how calibrated they are."""

from __future__ import annotations

import argparse
import json
import math
import sys
from typing import TYPE_CHECKING

from ..analysis.intervals import Interval
from ..report.cka import cka_json, cka_lines
from ..report.measures import NO_LOGITS, OF_ONE, TaskMeasures, measures
from ..report.measures_json import to_json
from ..report.sides import Wanted, read_sides

if TYPE_CHECKING:
    from ..api.similarity import Similarity


def main(arguments: argparse.Namespace) -> int:
    """Print what two checkpoints agree on, as text or as JSON, and write figures where they are asked for."""
    wanted = Wanted(arguments.mode, arguments.probe, arguments.protocol, arguments.tasks or None, arguments.replicate)
    first, second = read_sides(arguments.first, arguments.second, arguments.results, wanted)
    found = measures(first, second)
    names = (first.entries[0], second.entries[0])
    alike = _similarity(arguments, names, found) if arguments.cka else []
    if arguments.json:
        document = to_json(names, found) | ({"cka": cka_json(alike)} if arguments.cka else {})
        print(json.dumps(document, indent=2, allow_nan=False))
    else:
        print("\n".join([*lines(names, found), *(cka_lines(names, alike) if arguments.cka else [])]))
    if arguments.figures is not None:
        _write_figures(arguments, names, found, alike)
    return 0


def _similarity(arguments: argparse.Namespace, names: tuple[str, str], found: list[TaskMeasures]) -> list[Similarity]:
    """Compute the CKA of both checkpoints' features; it needs their weights and the tasks' images."""
    from ..api.similarity import similarity

    return similarity(*names, [task.task for task in found], data_dir=arguments.data_dir)


def _write_figures(
    arguments: argparse.Namespace, names: tuple[str, str], found: list[TaskMeasures], alike: list[Similarity]
) -> None:
    """Write the figures and name each file; what can't be shown is said."""
    from ..common.paths import datasets_dir
    from ..registry import load_tasks
    from ..report.figures.beyond import figures, write_picture
    from ..report.figures.similarity import similarity_figure
    from ..store import ensure_writable
    from .exemplars import sheets

    out = sys.stderr if arguments.json else sys.stdout
    ensure_writable(arguments.figures)
    data_dir = arguments.data_dir or datasets_dir()
    more = [similarity_figure(names, alike)] if alike else []
    for picture in [*figures(names, found), *more, *sheets(names, found, load_tasks().tasks, data_dir)]:
        if isinstance(picture, str):
            print(picture, file=sys.stderr)
            continue
        for path in write_picture(arguments.figures, picture):
            print(path, file=out)


def lines(names: tuple[str, str], found: list[TaskMeasures]) -> list[str]:
    """Return the measures in words."""
    text = [f"{names[0]} (A) against {names[1]} (B); in brackets 95 % intervals"]
    for task in found:
        text += ["", *_of_task(task)]
    if not all(task.has_logits for task in found):
        text += ["", f"No KL, Jensen-Shannon, ECE, NLL and Brier score where {NO_LOGITS}."]
    text += ["", "Noise: the same between two runs of one checkpoint. What isn't beyond the noise is no finding."]
    return text


def _of_task(task: TaskMeasures) -> list[str]:
    several = f"{task.pairs} pairs of runs" if task.pairs > 1 else "1 pair of runs"
    rows = [f"{task.task}: {task.n} images, {several}, 95 % over {task.between['agreement'].covers}"]
    shown = (("agreement", "same prediction"), ("forgotten", "only B right"), ("gained", "only A right"))
    for name, words in shown:
        rows.append(_row(words, _percent(task.between[name]), _noise(task, name, 100.0, " %")))
    rows.append(_row("error consistency", _plain(task.between["error_consistency"]), _noise(task, "error_consistency")))
    for name, words in (("kl", "KL(A, B), nats"), ("js", "Jensen-Shannon, nats")):
        if name in task.between:
            rows.append(_row(words, _plain(task.between[name], 4), _noise(task, name, digits=4)))
    for name in OF_ONE if task.has_logits else ():
        a, b, gap = (values[name] for values in (task.first, task.second, task.difference))
        value = f"A {a.value:.3f}  B {b.value:.3f}  A − B {_plain(gap)}"
        rows.append(_row(name.upper() if name != "brier" else "Brier score", value, _noise(task, name)))
    if task.has_logits:
        one, other = task.temperatures
        scaled = f"A {task.first['ece_scaled'].value:.3f}  B {task.second['ece_scaled'].value:.3f}"
        how = f"(T: A {one:.2f}, B {other:.2f}; fitted on {' and '.join(task.fitted_on)})"
        rows.append(_row("ECE at T fitted", f"{scaled}  {how}", ""))
    changed = [f"{row.label} ({100 * row.change:+.1f} %)" for row in task.classes if row.changed]
    rows.append(_row("classes changed", f"{', '.join(changed) or 'none'} (of {len(task.classes)}; recall, Holm)", ""))
    found = task.populations
    if found.over:
        changed = [f"{c.label} ({100 * (c.first - c.second):+.1f} %)" for c in found.impacts if c.changed]
        words = (
            f"{', '.join(changed) or 'none'} (of {len(found.impacts)}; recall minus accuracy, over {found.over}, Holm)"
        )
        rows.append(_row("class impact", words, ""))
        noise = "" if found.noise is None else f"{found.noise}, between halves of B's runs"
        rows.append(_row("exemplars", f"{len(found.exemplars)} images, over {found.over}", noise))
    return rows


def _row(words: str, value: str, noise: str) -> str:
    return f"  {words:21} {value}{f'   noise {noise}' if noise else ''}"


def _noise(task: TaskMeasures, name: str, scale: float = 1.0, unit: str = "", digits: int = 3) -> str:
    """Return the noise levels that there are, in words."""
    digits = 1 if scale > 1 else digits
    parts = []
    for kind in ("heads", "replicates"):
        values = {x: task.noise.get(f"{kind}_{x}", {}).get(name, math.nan) for x in "ab"}
        known = [
            f"{x.upper()} {scale * value:.{digits}f}{unit}" for x, value in values.items() if not math.isnan(value)
        ]
        parts += [f"{kind} {' '.join(known)}"] if known else []
    return ", ".join(parts)


def _percent(value: Interval) -> str:
    ends = "[no interval]" if math.isnan(value.low) else f"[{100 * value.low:.1f}, {100 * value.high:.1f}]"
    return f"{100 * value.value:.1f} % {ends}"


def _plain(value: Interval, digits: int = 3) -> str:
    if math.isnan(value.value):
        return "undefined: neither makes an error, or both make only errors"
    if math.isnan(value.low):
        return f"{value.value:.{digits}f} [no interval]"
    return f"{value.value:.{digits}f} [{value.low:.{digits}f}, {value.high:.{digits}f}]"
