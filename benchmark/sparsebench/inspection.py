"""Everything that is known about a checkpoint and was measured on it, as plain values."""

from __future__ import annotations

from typing import Any

from .files import sha256_file
from .flops import count
from .loading import agreeing_scopes, load_entry
from .masks import pattern
from .schema import Checkpoint


def describe(entry: Checkpoint) -> dict[str, Any]:
    """Return everything that ``inspect`` shows, as plain values.

    Sparsities are fractions, FLOPs are multiply-adds an image.

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
        "weights_taken": info.weights_taken,
        "prefix_removed": info.prefix_removed,
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
            "agrees_under": agreeing_scopes(entry.sparsity, info.sparsity),
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
                "exempt": layer.exempt,
                "flops_dense": flops[layer.name].dense,
                "flops_sparse": flops[layer.name].sparse,
            }
            for layer in shown
        ],
    }
