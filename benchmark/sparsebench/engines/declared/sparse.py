"""Our own engine for backbones with unstructured masks."""

from ...extensions import Engine

SPARSE = Engine(
    name="sparse",
    title="sparse (ours)",
    summary="our own for the CPU: only the nonzero weights are computed",
    build="sparsebench.engines.sparse:build",
    check="sparsebench.engines.sparse:check",
    train="sparsebench.engines.sparse.training:train",
    check_training="sparsebench.engines.sparse.training:check",
    here="sparsebench.engines.sparse.library:missing",
    falls_back=True,
    skips_zeros=True,
    pads=True,
    version=2,
    place=2,
)
