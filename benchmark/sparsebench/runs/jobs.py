"""What a worker, a job or the processes of one run need to know, as a JSON document."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import TypeAdapter

from .. import extensions
from ..schema import Group
from .options import RunOptions

_OPTIONS = TypeAdapter(RunOptions)


def job_document(groups: Sequence[Group], options: RunOptions) -> dict[str, Any]:
    """Return what a worker or a job needs, as plain values."""
    return {
        "extensions": extensions.loaded_files(),
        "groups": [group.model_dump(mode="json") for group in groups],
        "options": _OPTIONS.dump_python(options, mode="json"),
    }


def read_job(document: dict[str, Any]) -> tuple[list[Group], RunOptions]:
    """Return the groups and options of a document of :func:`job_document`."""
    extensions.load_files(document.get("extensions", {}))
    groups = [Group.model_validate(group) for group in document["groups"]]
    return groups, _OPTIONS.validate_python(document["options"])
