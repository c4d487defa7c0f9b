"""How the local executor and its workers talk: one JSON document a line, over the worker's standard streams."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from ..runner import Event, RunOptions
from ..schema import Group, RunRecord

_PATHS = ("results", "data_dir", "cache_dir")


def encode_job(group: Group, options: RunOptions) -> str:
    """Return the line that asks a worker to run a group."""
    plain = {k: str(v) if isinstance(v, Path) else v for k, v in dataclasses.asdict(options).items()}
    return json.dumps({"group": group.model_dump(mode="json"), "options": plain})


def decode_job(line: str) -> tuple[Group, RunOptions]:
    """Return the group and options of a worker's input line."""
    document = json.loads(line)
    options = document["options"]
    paths = {name: Path(options[name]) for name in _PATHS if options[name] is not None}
    return Group.model_validate(document["group"]), RunOptions(**options | paths)


def encode_event(event: Event) -> str:
    """Return the line that tells an event."""
    record = None if event.record is None else event.record.model_dump(mode="json")
    return json.dumps(
        {"kind": event.kind, "run_id": event.run_id, "done": event.done, "total": event.total, "record": record}
    )


def decode_event(document: dict[str, Any]) -> Event:
    """Return the event of a worker's output line."""
    record = document["record"]
    return Event(
        document["kind"],
        document["run_id"],
        document["done"],
        document["total"],
        None if record is None else RunRecord.model_validate(record),
    )
