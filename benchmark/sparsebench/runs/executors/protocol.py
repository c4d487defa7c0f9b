"""How executors and their workers talk: JSON documents, for local workers one line each over their standard streams."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ...schema import Group, RunRecord, RunSpec
from ..jobs import job_document, read_job
from ..options import RunOptions
from ..runner import Event

AFFINITY = "SPARSEBENCH_WORKER_CPUS"
"""Environment variable that names the processors of a worker, by number."""


def encode_job(group: Group, options: RunOptions, wait: bool) -> str:
    """Return the line that asks a worker to run a group, and says whether to ``wait`` for what others hold of it."""
    return json.dumps({**job_document([group], options), "wait": wait})


def decode_job(line: str) -> tuple[Group, RunOptions, bool]:
    """Return what :func:`encode_job` was given."""
    document = json.loads(line)
    (group,), options = read_job(document)
    return group, options, document["wait"]


def encode_idle(left: Sequence[RunSpec]) -> str:
    """Return the line by which a worker says that it has done a group, but for the runs that others hold."""
    return json.dumps({"kind": "idle", "left": [spec.record_key for spec in left]})


def encode_event(event: Event) -> str:
    """Return the line that reports an event."""
    record = None if event.record is None else event.record.model_dump(mode="json")
    return json.dumps(
        {"kind": event.kind, "key": event.key, "done": event.done, "total": event.total, "record": record}
    )


def decode_event(document: dict[str, Any]) -> Event:
    """Return the event of a worker's output line."""
    record = document["record"]
    return Event(
        document["kind"],
        document["key"],
        document["done"],
        document["total"],
        None if record is None else RunRecord.model_validate(record),
    )
