"""Everything that is known about a checkpoint and was measured on it, as plain values."""

from __future__ import annotations

from typing import Any

from ..common.files import sha256_file
from ..schema import Checkpoint
from ..schema.text import printable
from .checking import agreeing_scopes
from .flops import count
from .loading import load_entry
from .masks import layer_of, pattern


def describe(entry: Checkpoint) -> dict[str, Any]:
    """Return everything that ``inspect`` shows, as plain values.

    Sparsities are fractions of weights that a mask holds at zero, FLOPs are multiply-adds per image, sizes bytes:
    ``bytes`` of all files that are needed, ``packed_bytes`` by :func:`sparsebench.models.sparsity.packed_bytes`.

    Parameters
    ----------
    entry : Checkpoint
        A registry entry, or the description of a user's file.

    Raises
    ------
    CheckpointError
        If it can't be loaded.
    """
    whole = load_entry(entry, head=True)
    info = whole.info
    flops = {layer.name: layer for layer in count(whole.module, whole.preprocess.input_size)}
    report = info.sparsity
    return {
        "id": entry.id,
        "method": entry.method,
        "variant": entry.variant,
        "arch": info.arch,
        "reference": entry.reference,
        "twin_of": entry.twin_of,
        "file": str(info.path),
        "files": [{"path": str(path), "bytes": path.stat().st_size} for path in info.files],
        "bytes": sum(path.stat().st_size for path in info.files),
        "packed_bytes": info.packed_bytes,
        "sha256": sha256_file(info.path),
        "format": info.format,
        "weights_taken": printable(info.weights_taken or "") or None,
        "prefix_removed": printable(info.prefix_removed or "") or None,
        "weights_sha256": info.weights_sha256,
        "mask_sha256": info.mask_sha256,
        "mask_source": info.mask_source,
        "pattern": pattern(whole.masks),
        "keys": {"used": info.used_keys, "unused": list(info.unused_keys)},
        "upstream": entry.upstream.model_dump(mode="json", exclude_none=True) if entry.upstream else None,
        "training": entry.training.model_dump(mode="json", exclude_none=True) if entry.training else None,
        "licence": entry.licence,
        "source": entry.source,
        "preprocess": whole.preprocess.model_dump(mode="json"),
        "feature_dim": info.feature_dim,
        "classes": info.num_classes,
        "sparsity": {
            "nominal": entry.sparsity,
            "scope": entry.sparsity_scope,
            "distribution": entry.distribution,
            "exempt": [layer_of(layer.name) for layer in report.layers if layer.exempt],
            "agrees_under": agreeing_scopes(entry.sparsity, report),
            "measured": {s: report.scope(s) for s in ("prunable", "pruned_layers", "all_params")},
        },
        "parameters": report.params,
        "zeros": report.zeros,
        "held": report.held,
        "unheld": {"zeros": report.unheld, "fraction": report.unheld_fraction},
        "flops": {"dense": sum(f.dense for f in flops.values()), "sparse": sum(f.sparse for f in flops.values())},
        "layers": [
            {
                "name": layer.name,
                "shape": list(layer.shape),
                "weights": layer.weights,
                "zeros": layer.zeros,
                "held": layer.held,
                "sparsity": layer.sparsity,
                "masked": layer.source is not None,
                "mask_source": layer.source,
                "exempt": layer.exempt,
                "flops_dense": flops[layer.name].dense if layer.name in flops else None,
                "flops_sparse": flops[layer.name].sparse if layer.name in flops else None,
            }
            for layer in report.layers
        ],
    }
