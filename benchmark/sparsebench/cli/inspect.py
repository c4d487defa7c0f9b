"""``sparsebench inspect``: what a checkpoint is, and what was measured on it."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import extensions
from ..schema import InputError
from .listing import columns

if TYPE_CHECKING:
    from ..registry import Registry
    from ..runs.verifying import Verification
    from ..schema import Checkpoint, Task


def main(arguments: argparse.Namespace) -> int:
    """Print a checkpoint's description, as text or JSON; 1 if its published accuracy was tested and doesn't hold."""
    from ..models.entries import find_entry
    from ..registry import load_registry
    from ..runs.prefetch import fetch_missing

    registry = load_registry(arguments.registry, arguments.tasks_dir, arguments.data)
    entry = find_entry(arguments.checkpoint, registry, arguments.arch, extensions.resolve("formats", arguments.format))
    task = _own_task(entry, registry, arguments)
    fetch_missing(entry, offline=arguments.offline)
    from ..models.describe import describe  # it loads torch, which a wrong name doesn't need

    document = describe(entry)
    verification = None if task is None else _verified(entry, task, arguments)
    if verification is not None:
        document["verification"] = verification.to_json()
    print(json.dumps(document, indent=2) if arguments.json else render(document))
    return int(verification is not None and verification.contradicts)


def _own_task(entry: Checkpoint, registry: Registry, arguments: argparse.Namespace) -> Task | None:
    """Return the task that the checkpoint's head is tested on; None where that isn't asked for."""
    if not arguments.verify:
        if arguments.task is not None:
            raise InputError("--task is what --verify tests on", "add --verify")
        return None
    from ..registry.own_tasks import own_task

    return own_task(entry, registry, arguments.task)


def _verified(entry: Checkpoint, task: Task, arguments: argparse.Namespace) -> Verification:
    from ..common.paths import cache_dir, datasets_dir
    from ..runs.verifying import verify
    from ..schema import Numerics
    from .display import Bar

    numerics = Numerics(device=arguments.device, threads=arguments.threads)
    with Bar("testing the head", total=1) as bar:
        return verify(entry, task, arguments.data or datasets_dir(), cache_dir(), numerics, bar.update)


def render(document: dict[str, Any]) -> str:
    """Return the description for people."""
    sparsity, flops = document["sparsity"], document["flops"]
    measured = ", ".join(f"{value:.4%} of {scope}" for scope, value in sparsity["measured"].items())
    upstream = document["upstream"] or {}
    lines = [
        ["checkpoint", document["id"]],
        ["method", " ".join(filter(None, (document["method"], document["variant"])))],
        ["architecture", f"{document['arch']}, {document['feature_dim']} features"],
        [
            "reference",
            document["reference"] or (document["twin_of"] and f"dense twin of {document['twin_of']}") or "none",
        ],
        ["upstream", _upstream(upstream)],
        *([["verified", document["verification"]["verdict"]]] if "verification" in document else []),
        ["file", f"{document['file']} (format {document['format']})"],
        ["sha256", document["sha256"]],
        ["size", _size(document)],
        ["keys", _keys(document["keys"])],
        *_reading(document),
        ["mask", _mask(document)],
        ["sparsity", f"nominal {sparsity['nominal']:g} ({sparsity['scope']}); measured {measured}"],
        *_agreement(sparsity),
        ["exempt", ", ".join(sparsity["exempt"]) or "none"],
        ["parameters", f"{document['parameters']:,}, of which {document['held']:,} masked"],
        *_unheld(document["unheld"]),
        ["multiply-adds", f"{flops['dense']:,} dense, {flops['sparse']:,} sparse per image"],
        ["input", _preprocess(document["preprocess"])],
    ]
    if document["training"]:
        lines.append(["made by", document["training"]["command"]])
    if document["licence"]:
        lines.append(["licence", document["licence"]])
    table = [["LAYER", "SHAPE", "WEIGHTS", "ZEROS", "MASKED", "MASK", "MULTIPLY-ADDS"]]
    for layer in document["layers"]:
        shape = "x".join(map(str, layer["shape"]))
        mask = layer["mask_source"] or ("exempt" if layer["exempt"] else "none")
        numbers = [f"{layer['weights']:,}", f"{layer['zeros']:,}", f"{layer['sparsity']:.2%}"]
        used = layer["flops_dense"] is not None
        costs = f"{layer['flops_sparse']:,} of {layer['flops_dense']:,}" if used else "not counted"
        table.append([layer["name"], shape, *numbers, mask, costs])
    return columns(lines) + "\n\n" + columns(table)


def _reading(document: dict[str, Any]) -> list[list[str]]:
    """Return which of several sets of weights was taken, and what was taken out of the names, where there is either."""
    parts = [document["weights_taken"] or ""]
    if document["prefix_removed"]:
        parts.append(f"without {document['prefix_removed']} in its names")
    shown = ", ".join(filter(None, parts))
    return [["weights", shown]] if shown else []


def _agreement(sparsity: dict[str, Any]) -> list[list[str]]:
    if not sparsity["nominal"]:
        return []
    return [["agrees", ", ".join(sparsity["agrees_under"]) or "under no scope"]]


def _unheld(unheld: dict[str, Any]) -> list[list[str]]:
    if not unheld["zeros"]:
        return []
    text = f"{unheld['zeros']:,} ({unheld['fraction']:.2%} of the weights that no mask holds); full mode trains them"
    return [["free zeros", text]]


def _size(document: dict[str, Any]) -> str:
    names = ", ".join(f"{Path(file['path']).name} {file['bytes']:,}" for file in document["files"])
    parts = f" ({names})" if len(document["files"]) > 1 else ""
    return f"{document['bytes']:,} bytes on disk{parts}; packed {document['packed_bytes']:,}"


_SOURCES = {
    "file": "the file's own",
    "zeros": "where weights are zero",
    "file+zeros": "the file's own where it has one, else where weights are zero",
    "none": "none",
}


def _mask(document: dict[str, Any]) -> str:
    pattern = document["pattern"]
    found = f", {pattern} in every group" if pattern else ""
    return f"{_SOURCES[document['mask_source']]}, distribution {document['sparsity']['distribution']}{found}"


def _keys(keys: dict[str, Any]) -> str:
    unused = keys["unused"]
    some = f": {', '.join(unused[:3])}{', ...' if len(unused) > 3 else ''}" if unused else ""
    return f"{keys['used']} used, {len(unused)} not needed{some}"


def _upstream(upstream: dict[str, Any]) -> str:
    if not upstream:
        return "unknown"
    top1 = f", top-1 {upstream['top1']:.2%}" if "top1" in upstream else ""
    return f"{upstream['dataset']}{top1}"


def _preprocess(preprocess: dict[str, Any]) -> str:
    size, crop = preprocess["input_size"], preprocess["crop_pct"]
    return (
        f"{size} px ({preprocess['interpolation']}, short side {round(size / crop)}),"
        f" mean {preprocess['mean']}, std {preprocess['std']}"
    )
