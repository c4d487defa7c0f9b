"""``sparsebench inspect``: what a checkpoint is, and what was measured on it."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

from ..files import sha256_file
from .listing import columns


def main(arguments: argparse.Namespace) -> int:
    """Print a checkpoint's description, as text or JSON."""
    from ..loading import Backbone, entry_for_file, load_entry
    from ..registry import load_registry
    from ..schema import UnknownNameError

    registry = load_registry(arguments.registry, arguments.tasks_dir, arguments.data)
    name: str = arguments.checkpoint
    if name in registry.checkpoints:
        entry = registry.checkpoint(name)
    elif Path(name).exists() or re.search(r"[/\\]|\.(pth|pt|ckpt|safetensors)$", name):
        entry = entry_for_file(Path(name).expanduser(), arguments.arch)
    else:
        raise UnknownNameError("checkpoint", name, registry.checkpoints)
    backbone: Backbone = load_entry(entry, head=True)
    document = describe(backbone, load_entry(entry))
    print(json.dumps(document, indent=2) if arguments.json else render(document))
    return 0


def describe(whole: Any, backbone: Any) -> dict[str, Any]:
    """Return everything that ``inspect`` shows, as plain values.

    Sparsities are fractions, FLOPs are multiply-adds an image.

    Parameters
    ----------
    whole : Backbone
        The checkpoint with its upstream head.
    backbone : Backbone
        The same without it.
    """
    from ..flops import count

    info = whole.info
    entry = info.checkpoint
    has_head = info.num_classes is not None
    flops = {
        layer.name: layer for layer in count(whole.module if has_head else backbone.module, whole.preprocess.input_size)
    }
    shown = [layer for layer in info.sparsity.layers if layer.name in flops]
    return {
        "id": entry.id,
        "method": entry.method,
        "variant": entry.variant,
        "arch": info.arch,
        "reference": entry.reference,
        "twin_of": entry.twin_of,
        "file": str(info.path),
        "bytes": info.path.stat().st_size,
        "sha256": sha256_file(info.path),
        "format": info.format,
        "weights_sha256": info.weights_sha256,
        "mask_sha256": info.mask_sha256,
        "mask_source": info.mask_source,
        "upstream": entry.upstream.model_dump(mode="json", exclude_none=True) if entry.upstream else None,
        "training": entry.training.model_dump(mode="json", exclude_none=True) if entry.training else None,
        "licence": entry.licence,
        "source": entry.source,
        "preprocess": whole.preprocess.model_dump(mode="json"),
        "feature_dim": backbone.info.feature_dim,
        "classes": info.num_classes,
        "sparsity": {
            "nominal": entry.sparsity,
            "scope": entry.sparsity_scope,
            "distribution": entry.distribution,
            "measured": {s: info.sparsity.scope(s) for s in ("prunable", "pruned_layers", "all_params")},
        },
        "parameters": info.sparsity.params,
        "zeros": info.sparsity.zeros,
        "flops": {"dense": sum(f.dense for f in flops.values()), "sparse": sum(f.sparse for f in flops.values())},
        "layers": [
            {
                "name": layer.name,
                "shape": list(layer.shape),
                "weights": layer.weights,
                "zeros": layer.zeros,
                "sparsity": layer.sparsity,
                "masked": layer.masked,
                "flops_dense": flops[layer.name].dense,
                "flops_sparse": flops[layer.name].sparse,
            }
            for layer in shown
        ],
    }


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
        ["file", f"{document['file']} ({document['bytes']:,} bytes, format {document['format']})"],
        ["sha256", document["sha256"]],
        ["mask", f"{document['mask_source']}, distribution {sparsity['distribution']}"],
        ["sparsity", f"nominal {sparsity['nominal']:g} ({sparsity['scope']}); measured {measured}"],
        ["parameters", f"{document['parameters']:,}, of which {document['zeros']:,} zero"],
        ["multiply-adds", f"{flops['dense']:,} dense, {flops['sparse']:,} sparse an image"],
        ["input", _preprocess(document["preprocess"])],
    ]
    if document["training"]:
        lines.append(["made by", document["training"]["command"]])
    if document["licence"]:
        lines.append(["licence", document["licence"]])
    table = [["LAYER", "SHAPE", "WEIGHTS", "ZEROS", "SPARSITY", "MASK", "MULTIPLY-ADDS"]]
    for layer in document["layers"]:
        shape = "x".join(map(str, layer["shape"]))
        mask = "yes" if layer["masked"] else "exempt" if document["mask_source"] != "none" else "no"
        numbers = [f"{layer['weights']:,}", f"{layer['zeros']:,}", f"{layer['sparsity']:.2%}"]
        table.append([layer["name"], shape, *numbers, mask, f"{layer['flops_sparse']:,} of {layer['flops_dense']:,}"])
    return columns(lines) + "\n\n" + columns(table)


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
