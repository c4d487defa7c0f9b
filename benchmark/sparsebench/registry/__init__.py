"""The registry: YAML files to checkpoints, tasks, suites and protocols, and the selection among them."""

from .catalogue import Registry
from .filter import CheckpointFilter
from .reading import builtin_protocols, load_registry, load_tasks, read_task

__all__ = ["CheckpointFilter", "Registry", "builtin_protocols", "load_registry", "load_tasks", "read_task"]
