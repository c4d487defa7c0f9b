"""Torch itself."""

from ...extensions import Engine

TORCH = Engine(
    name="torch",
    summary="torch, with batch normalisation folded",
    build="sparsebench.engines.eager:build",
    devices=("cpu", "cuda", "mps"),
    precisions=("fp32", "bf16", "fp16"),
    compiles=True,
    place=1,
)
