"""``sparsebench compare``: whether one checkpoint transfers better than another, and how sure that is."""

from __future__ import annotations

import argparse
import json
import math

from ..analysis import Needed
from ..report.evidence import Evidence, evidence
from ..report.sides import Wanted, read_sides


def main(arguments: argparse.Namespace) -> int:
    """Print the comparison, as text or as JSON."""
    wanted = Wanted(arguments.mode, arguments.probe, arguments.protocol, arguments.tasks or None, arguments.replicate)
    sides = read_sides(arguments.first, arguments.second, arguments.results, wanted)
    found = evidence(*sides, random_tasks=arguments.random_tasks)
    if arguments.json:
        print(json.dumps(found.to_json(), indent=2, allow_nan=False))
    else:
        print("\n".join(lines(found, arguments.first, arguments.second)))
    return 0


def lines(found: Evidence, first: str, second: str) -> list[str]:
    """Return a comparison in words."""
    a, b = _named(first, found.first), _named(second, found.second)
    said = {
        "better": f"{a} is better than {b}",
        "worse": f"{a} is worse than {b}",
        "undecided": f"whether {a} or {b} is better is undecided",
    }
    increase = f"relative error increase {_percent(found.value)} {_range(found.low, found.high)}"
    covers = "as some task has a single run" if math.isnan(found.low) else f"95 % over {found.scope}"
    text = [f"{said[found.verdict]}: {increase}, {covers}"]
    if not math.isnan(found.image_bound):
        text.append(
            "Some runs kept no predictions, or those of one draw of several, so test images are not covered; alone they"
            f" mean ±{100 * found.image_bound:.1f} % at most."
        )
    if found.verdict == "undecided" and found.needed is not None:
        text.append(_needed(found.needed))
    if found.replicates_left_out:
        numbers = ", ".join(map(str, found.replicates_left_out))
        text.append(f"Left out, as not all checkpoints have them: upstream replicates {numbers}.")
    if found.perfect:
        text.append(f"Left out, as {b} makes no error there: {', '.join(found.perfect)}.")
    width = max(len(task.task) for task in found.tasks)
    text += ["", f"{'task':{width}}  accuracy difference      McNemar p  Holm p  verdict"]
    for task in found.tasks:
        interval = f"{_percent(task.difference)} {_range(task.low, task.high)}"
        text.append(
            f"{task.task:{width}}  {interval:23}  {_p(task.mcnemar_p):>9}  {_p(task.holm_p):>6}  {task.verdict}"
        )
    return text


def _named(text: str, entries: tuple[str, ...]) -> str:
    if len(entries) > 1:
        return f"{text} (mean of {len(entries)} checkpoints)"
    return entries[0] if text == entries[0] or "*" in text else text


def _needed(needed: Needed) -> str:
    """Return what it would take to decide."""
    parts = []
    if needed.images is not None:
        parts.append(f"{needed.images:.1f} times the test images")
    if needed.seeds is not None:
        parts.append(f"{needed.seeds} seeds")
    if needed.replicates is not None:
        parts.append(f"{needed.replicates} upstream trainings each")
    if not parts:
        return "More images, seeds or replicates alone would not decide it, if the difference is what it seems."
    return f"To decide with a power of 80 %, if the difference is what it seems: {', or '.join(parts)}."


def _percent(value: float) -> str:
    return f"{100 * value:+.1f} %"


def _range(low: float, high: float) -> str:
    return "[no interval]" if math.isnan(low) else f"[{100 * low:+.1f}, {100 * high:+.1f}]"


def _p(value: float) -> str:
    return "" if math.isnan(value) else "<0.001" if value < 0.001 else f"{value:.3f}"
