"""Our own engine for backbones with unstructured masks on a CPU; see ``docs/engine.md``."""

from .engine import SparseEngine, build, check_numerics
from .library import available, instruction_sets
from .tracing import check

__all__ = ["SparseEngine", "available", "build", "check", "check_numerics", "instruction_sets"]
