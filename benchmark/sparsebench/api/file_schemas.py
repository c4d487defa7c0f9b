"""JSON schemas of the YAML files that people write, for editors that complete and check them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel

from .. import extensions
from ..runs.executors.cluster import Cluster
from ..schema import Checkpoint, Protocol, Suite, Task

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def file_schema(kind: str) -> dict[str, Any]:
    """Return the JSON schema of a file of a kind in :data:`KINDS`.

    A schema has what a model's fields say of themselves: names, types, ranges, choices. What holds between fields is
    checked when the file is read.
    """
    schema = KINDS[kind]()
    return {"$schema": _DIALECT, **schema, "title": TITLES[kind]}


def _model(model: type[BaseModel], left_out: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the schema of a model without some of its fields, closed against unknown ones."""
    schema = model.model_json_schema()
    schema["properties"] = {name: field for name, field in schema["properties"].items() if name not in left_out}
    schema["required"] = [name for name in schema.get("required", []) if name not in left_out]
    return schema


def _named(schema: dict[str, Any], names: str) -> dict[str, Any]:
    """Return the schema of a mapping of names to entries of a schema."""
    definitions = schema.pop("$defs", {})
    title = schema.pop("title")
    return {
        "type": "object",
        "propertyNames": {"pattern": names},
        "additionalProperties": {"$ref": f"#/$defs/{title}"},
        "$defs": {**definitions, title: schema},
    }


def _checkpoints() -> dict[str, Any]:
    pattern = Checkpoint.model_json_schema()["properties"]["id"]["pattern"]
    return _named(_model(Checkpoint, ("id",)), pattern)


def _task() -> dict[str, Any]:
    schema = _model(Task)
    schema["required"].remove("id")  # the file's name is the default
    return schema


def _protocols() -> dict[str, Any]:
    """Return the schema of protocols, a probe's own settings being fields beside the others."""
    schema = _model(Protocol, ("name", "settings"))
    for name, probe in extensions.known("probes").items():
        own = probe.settings.model_json_schema()
        schema.setdefault("$defs", {}).update(own.get("$defs", {}))
        for field, value in own.get("properties", {}).items():
            before = schema["properties"].get(field, value).get("description", field)
            schema["properties"][field] = {**value, "description": f"{before}; of {name}"}
    return _named(schema, r"^[^+]+$")


def _suites() -> dict[str, Any]:
    return _named(_model(Suite, ("id",)), r".")


KINDS: dict[str, Callable[[], dict[str, Any]]] = {
    "checkpoint": _checkpoints,
    "task": _task,
    "protocol": _protocols,
    "suite": _suites,
    "cluster": lambda: _model(Cluster),
}
"""The kinds of files, and what makes their schemas."""

TITLES = {
    "checkpoint": "sparsebench: a registry file of checkpoints (--registry FILE)",
    "task": "sparsebench: a task file (--task FILE, --tasks-dir DIR)",
    "protocol": "sparsebench: the protocols.yaml of a tasks folder (--tasks-dir DIR)",
    "suite": "sparsebench: the suites.yaml of a tasks folder (--tasks-dir DIR)",
    "cluster": "sparsebench: a profile of a Slurm cluster (--cluster FILE)",
}
