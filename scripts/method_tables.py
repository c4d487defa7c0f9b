"""Write the tables of docs/explanation/pruning.md that follow from the methods' declarations, or check that they do."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from common import run_script, shown
from sparsebench.common.files import write_text
from sparsebench.pruning.methods import methods
from sparsebench.pruning.schedules import drops_text
from sparsebench.pruning.settings import shown as value_text
from sparsebench.pruning.training import Training

PAGE = Path(__file__).resolve().parent.parent / "docs" / "explanation" / "pruning.md"

WORDS = {
    "lr": "rate",
    "batch_size": "batches of",
    "weight_decay": "weight decay",
    "decay_on": "decay on",
    "label_smoothing": "label smoothing",
    "drops": "schedule",
    "nesterov": "Nesterov",
    "dense": "dense layers",
}


def overview() -> list[tuple[str, ...]]:
    """Return one row per method: what it starts from, what it is, and what one training leaves."""
    rows: list[tuple[str, ...]] = [("method", "starts from", "what it is", "sparsities per training", "dense network")]
    for name, method in methods().items():
        summary = (method.__doc__ or method.summary).partition("\n")[0].rstrip(".")
        several = "–" if name == "dense" else method.serves
        rows.append((f"`{name}`", method.start, summary, several, method.dense_network or "–"))
    return rows


def settings() -> list[tuple[str, ...]]:
    """Return one row per setting of a method: its default and what it is."""
    rows: list[tuple[str, ...]] = [("method", "setting", "default", "what it is")]
    for name, method in methods().items():
        for key, field in method.settings_model.model_fields.items():
            rows.append((f"`{name}`", f"`{key}`", value_text(field.default), field.description or ""))
    return rows


def deviations() -> list[tuple[str, ...]]:
    """Return one row per method: what differs between the default recipe and the published one."""
    rows: list[tuple[str, ...]] = [("method", "default here", "`--recipe published`", "source")]
    for name, method in methods().items():
        if method.published is None:
            continue
        ours, theirs = [], []
        for field in fields(Training):
            here, there = getattr(method.training, field.name), getattr(method.published.training, field.name)
            if here != there and (method.trains() or field.name == "dense"):
                ours.append(_training(field.name, here))
                theirs.append(_training(field.name, there))
        for key, there in method.published.settings.items():
            here = method.settings_model.model_fields[key].default
            if here != there:
                ours.append(f"`{key}` {value_text(here)}")
                theirs.append(f"`{key}` {value_text(there)}")
        rows.append((f"`{name}`", "; ".join(ours), "; ".join(theirs), method.published.source))
    return rows


def _training(name: str, value: Any) -> str:
    """Return a field of a training in words."""
    word = WORDS.get(name, name)
    if name == "dense":
        parts = [f"{' and '.join(ends) or 'none'}{f' ({key})' if key else ''}" for key, ends in value.items()]
        return f"{word}: {', '.join(parts)}"
    if name == "drops":
        text = drops_text(value)
        return f"{word} {text if text in ('cosine', 'constant') else f'steps, from {value[0][0]:g} of the training on'}"
    if isinstance(value, bool):
        return f"{word} {'yes' if value else 'no'}"
    return f"{word} {value_text(value)}"


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as a Markdown table; the first row is the header."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def written(text: str) -> str:
    """Return a page with its tables made anew, each between its two comments."""
    for name, rows in (("methods", overview()), ("settings", settings()), ("deviations", deviations())):
        marks = f"<!-- {name}: scripts/method_tables.py -->", "<!-- end -->"
        pattern = re.escape(marks[0]) + ".*?" + re.escape(marks[1])
        text = re.sub(pattern, "\n".join((marks[0], table(rows), marks[1])).replace("\\", r"\\"), text, flags=re.DOTALL)
    return text


def main(argv: Sequence[str] | None = None) -> int:
    """Write the page, or check it."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if the page differs")
    arguments = parser.parse_args(argv)
    before = PAGE.read_text(encoding="utf-8")
    after = written(before)
    if not arguments.check:
        write_text(PAGE, after)
    print(f"{shown(PAGE)}: {'as the methods say' if before == after else 'differs' if arguments.check else 'written'}")
    return int(arguments.check and before != after)


if __name__ == "__main__":
    sys.exit(run_script(main))
