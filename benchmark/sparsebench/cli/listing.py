"""``sparsebench list``: what is registered."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from ..registry import Registry, load_registry
from ..registry.names import method_names, method_title
from ..schema.text import printable


def main(arguments: argparse.Namespace) -> int:
    """Print the registered checkpoints, tasks, methods or suites."""
    registry = load_registry(arguments.registry, arguments.tasks_dir, arguments.data)
    tables = {"checkpoints": _checkpoints, "tasks": _tasks, "methods": _methods, "suites": _suites}
    print(columns(tables[arguments.what](registry)))
    return 0


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as aligned columns; the first row is the header. Control characters are spelled out."""
    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f} %"


def _checkpoints(registry: Registry) -> list[list[str]]:
    rows = [["CHECKPOINT", "METHOD", "ARCH", "SPARSITY", "DISTRIBUTION", "UPSTREAM", "TOP-1", "REFERENCE"]]
    for c in registry.checkpoints.values():
        upstream, top1 = (c.upstream.dataset, c.upstream.top1) if c.upstream else ("", None)
        spread = f"{c.distribution} {c.nm}" if c.nm else c.distribution
        rows.append([c.id, c.method, c.arch, f"{c.sparsity:g}", spread, upstream, _percent(top1), c.reference or ""])
    return rows


def _tasks(registry: Registry) -> list[list[str]]:
    rows = [["TASK", "SUITES", "CLASSES", "TRAIN+VAL", "TEST", "METRIC", "LOADER", "TITLE"]]
    for t in registry.tasks.values():
        sizes: dict[str, int] = {str(part): n for part, n in (t.sizes or {}).items()}
        both = sizes.get("trainval", sizes.get("train", 0) + sizes.get("val", 0))
        counts = [str(n or "") for n in (t.classes, both, sizes.get("test"))]
        suites = ", ".join(s.id for s in registry.suites.values() if t.id in s.tasks)
        rows.append([t.id, suites, *counts, t.metric, t.loader, t.title or ""])
    return rows


def _methods(registry: Registry) -> list[list[str]]:
    rows = [["METHOD", "NAME", "CHECKPOINTS", "WHAT"]]
    for name in registry.methods():
        count = sum(c.method == name for c in registry.checkpoints.values())
        known = method_names().get(name)
        summary = known.summary if known else "from your registry"
        rows.append([name, method_title(name), str(count), summary])
    return rows


def _suites(registry: Registry) -> list[list[str]]:
    rows = [["SUITE", "ARCHS", "MODES (PROTOCOL, SEEDS)", "TASKS", "TITLE"]]
    for s in registry.suites.values():
        modes = ", ".join(f"{m} ({v.protocol}, {len(v.seeds)})" for m, v in s.modes.items())
        rows.append([s.id, ", ".join(s.archs), modes, ", ".join(s.tasks), s.title or ""])
    return rows
