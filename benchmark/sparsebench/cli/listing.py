"""``sparsebench list``: what is registered."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

from .. import extensions
from ..registry import Registry, load_registry
from ..registry.names import method_id, method_names, method_title
from ..registry.patterns import known_only
from ..schema import Checkpoint, InputError, Suite
from ..schema.text import printable

Entries = list[dict[str, Any]]


def main(arguments: argparse.Namespace) -> int:
    """Print what is registered and selected, or the extensions of a kind, as a table or as JSON."""
    if arguments.what not in _LISTINGS:
        entries = _extensions(arguments.what)
    else:
        registry = load_registry(arguments.registry, arguments.tasks_dir, arguments.data)
        entries = _LISTINGS[arguments.what](registry, arguments)
    if arguments.json:
        print(json.dumps(entries, indent=1, ensure_ascii=False))
    else:
        print(columns([_HEADS[arguments.what], *([_text(k, v) for k, v in entry.items()] for entry in entries)]))
    return 0


_HEADS = {
    "checkpoints": ["CHECKPOINT", "METHOD", "ARCH", "SPARSITY", "DISTRIBUTION", "UPSTREAM", "TOP-1", "REFERENCE"],
    "tasks": ["TASK", "SUITES", "CLASSES", "TRAIN+VAL", "TEST", "METRIC", "LOADER", "TITLE"],
    "methods": ["METHOD", "NAME", "CHECKPOINTS", "WHAT"],
    **{plural: ["NAME", "WHAT", "MISSING"] for plural in extensions.KINDS if plural != "methods"},
    "suites": ["SUITE", "ARCHS", "MODES (PROTOCOL, SEEDS)", "TASKS", "TITLE"],
}


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as aligned columns; the first row is the header. Control characters are spelled out."""
    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def _text(key: str, value: Any) -> str:
    """Return a value of an entry as it is in the table."""
    if value is None:
        return ""
    if key == "top1":
        return f"{100 * value:.1f} %"
    if key == "modes":
        return ", ".join(f"{name} ({mode['protocol']}, {len(mode['seeds'])})" for name, mode in value.items())
    if isinstance(value, list):
        return ", ".join(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _suite(registry: Registry, arguments: argparse.Namespace) -> Suite | None:
    return registry.suite(arguments.suite) if arguments.suite else None


def _selected(registry: Registry, arguments: argparse.Namespace) -> list[Checkpoint]:
    """Return the registered checkpoints that the selectors choose, in the registry's order."""
    every = list(registry.checkpoints.values())
    suite = _suite(registry, arguments)
    if suite is not None:
        every = [c for c in every if {c.arch, c.family} & set(suite.archs)]
    ids = known_only("checkpoint", arguments.checkpoint, [c.id for c in every])
    methods = known_only("method", [method_id(name) for name in arguments.method], registry.methods())
    archs = known_only("architecture", arguments.arch, sorted({a for c in every for a in (c.arch, c.family)}))
    variants = known_only("variant", arguments.variant, sorted({c.variant for c in every if c.variant}))
    for sparsity in arguments.sparsity:
        if not any(abs(c.sparsity - sparsity) < 1e-9 for c in every):
            there = ", ".join(f"{s:g}" for s in sorted({c.sparsity for c in every}))
            raise InputError(f"no checkpoint at sparsity {sparsity:g}", f"there are: {there}")
    return [
        c
        for c in every
        if c.id in ids
        and c.method in methods
        and {c.arch, c.family} & archs
        and (not arguments.variant or c.variant in variants)
        and (not arguments.sparsity or any(abs(c.sparsity - s) < 1e-9 for s in arguments.sparsity))
    ]


def _checkpoints(registry: Registry, arguments: argparse.Namespace) -> Entries:
    return [
        {
            "checkpoint": c.id,
            "method": c.method,
            "arch": c.arch,
            "sparsity": c.sparsity,
            "distribution": f"{c.distribution} {c.nm}" if c.nm else c.distribution,
            "upstream": c.upstream.dataset if c.upstream else None,
            "top1": c.upstream.top1 if c.upstream else None,
            "reference": c.reference,
        }
        for c in _selected(registry, arguments)
    ]


def _tasks(registry: Registry, arguments: argparse.Namespace) -> Entries:
    suite = _suite(registry, arguments)
    chosen = known_only("task", arguments.task, list(suite.tasks if suite else registry.tasks))
    entries = []
    for t in registry.tasks.values():
        if t.id not in chosen:
            continue
        sizes: dict[str, int] = {str(part): n for part, n in (t.sizes or {}).items()}
        both = sizes.get("trainval", sizes.get("train", 0) + sizes.get("val", 0))
        entries.append(
            {
                "task": t.id,
                "suites": [s.id for s in registry.suites.values() if t.id in s.tasks],
                "classes": t.classes,
                "trainval": both or None,
                "test": sizes.get("test", t.published_images),
                "metric": t.metric,
                "loader": t.loader,
                "title": t.title,
            }
        )
    return entries


def _methods(registry: Registry, arguments: argparse.Namespace) -> Entries:
    chosen = known_only("method", [method_id(name) for name in arguments.method], registry.methods())
    known = method_names()
    return [
        {
            "method": name,
            "name": method_title(name),
            "checkpoints": sum(c.method == name for c in registry.checkpoints.values()),
            "what": known[name].summary if name in known else "from your registry",
        }
        for name in registry.methods()
        if name in chosen
    ]


def _suites(registry: Registry, arguments: argparse.Namespace) -> Entries:
    chosen = known_only("suite", [arguments.suite] if arguments.suite else [], list(registry.suites))
    return [
        {
            "suite": s.id,
            "archs": list(s.archs),
            "modes": {mode: {"protocol": v.protocol, "seeds": list(v.seeds)} for mode, v in s.modes.items()},
            "tasks": list(s.tasks),
            "title": s.title,
        }
        for s in registry.suites.values()
        if s.id in chosen
    ]


def _extensions(plural: str) -> Entries:
    return [
        {"name": one.name, "what": one.summary, "missing": one.missing()} for one in extensions.known(plural).values()
    ]


_LISTINGS = {"checkpoints": _checkpoints, "tasks": _tasks, "methods": _methods, "suites": _suites}
