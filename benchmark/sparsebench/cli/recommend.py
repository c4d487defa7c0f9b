"""``sparsebench recommend``: which checkpoint for some data on this machine, and why."""

from __future__ import annotations

import argparse
import json

from ..schema.text import printable
from .listing import columns


def main(arguments: argparse.Namespace) -> int:
    """Print the candidates and the recommendation; 1 if none keeps to the limits."""
    from ..api.recommending import recommend

    found = recommend(
        arguments.results,
        bench=arguments.bench,
        task=arguments.task,
        mode=arguments.mode,
        probe=arguments.probe,
        max_ms=arguments.max_ms,
        max_mb=arguments.max_mb,
        min_accuracy=arguments.min_accuracy,
        engine=arguments.engine,
        device=arguments.device,
    )
    if arguments.json:
        print(json.dumps(found.to_json(), indent=1, ensure_ascii=False))
        return 0 if found.chosen else 1
    table = [["", "CHECKPOINT", "HOW", "ACCURACY %", "95 % INTERVAL", "MS/IMAGE", "ENGINE", "MB", ""]]
    shown = [one for one in found.candidates if one.tied or one.front or one == found.chosen] or found.candidates
    for one in shown:
        low, high = 100 * one.accuracy.low, 100 * one.accuracy.high
        speed = one.speed
        mark = ("> " if one == found.chosen else "  ") + ("=" if one.tied else " ") + ("*" if one.front else " ")
        table.append(
            [
                mark,
                printable(one.checkpoint),
                printable(one.how),
                f"{100 * one.accuracy.value:.1f}",
                f"{low:.1f} to {high:.1f}" if low == low else "unknown",
                f"{speed.ms:.3g}" if speed else "unknown",
                speed.engine if speed else "",
                "unknown" if one.megabytes is None else f"{one.megabytes:.2f}",
                ", ".join(one.unmet),
            ]
        )
    print(columns(table))
    if len(shown) < len(found.candidates):
        print(
            f"and {len(found.candidates) - len(shown)} more, which are less accurate or miss a limit (--json has them)"
        )
    print("\n> recommended; = can't be told apart from the most accurate; * none is better in accuracy and cost\n")
    print(printable_lines(found.sentences))
    return 0 if found.chosen else 1


def printable_lines(sentences: tuple[str, ...]) -> str:
    """Return sentences, a line each."""
    return "\n".join(map(printable, sentences))
