"""The records and registry entries of a bundle, as the schema has them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from ..schema import SCHEMA_VERSION, Checkpoint, RunRecord
from .archive import Bundle
from .documents import difference
from .members import ENTRIES
from .problems import BundleError


def read_record(bundle: Bundle, name: str) -> RunRecord:
    """Return the record in a member, whose ids are those that its contents give.

    Raises
    ------
    BundleError
        If it is damaged, of another schema, has an unknown field, a value of the wrong kind, or an id that its contents
        don't give.
    """
    data = bundle.json(name)
    version = data.get("schema_version")
    if version != SCHEMA_VERSION or isinstance(version, bool):
        hint = "upgrade sparsebench" if isinstance(version, int) and version > SCHEMA_VERSION else None
        raise BundleError("record", name, f"has schema version {version!r}, not {SCHEMA_VERSION}", hint)
    try:
        record = RunRecord.model_validate(data)
        known = record.model_dump(mode="json")
    except (ValidationError, ValueError, TypeError, RecursionError) as error:
        raise BundleError("record", name, f"is no record: {_first(error)}") from error
    if (found := difference(data, known)) is not None:
        check = "id" if "run_id" in found or "record_key" in found else "record"
        raise BundleError(check, name, found)
    if record.record_key not in name:
        raise BundleError("id", name, f"holds the record {record.record_key}")
    return record


def read_entries(bundle: Bundle) -> dict[str, Checkpoint]:
    """Return the registry entries of a bundle by id.

    Raises
    ------
    BundleError
        If they can't be read as entries, or an id is there twice.
    """
    listed = bundle.json(ENTRIES).get("checkpoints")
    if not isinstance(listed, list):
        raise BundleError("entry", ENTRIES, "lists no checkpoints")
    found: dict[str, Checkpoint] = {}
    for number, fields in enumerate(listed):
        entry = _entry(fields, number)
        if entry.id in found:
            raise BundleError("duplicate", ENTRIES, f"has {entry.id} twice")
        found[entry.id] = entry
        if (text := next(_unprintable(fields), None)) is not None:
            raise BundleError("entry", ENTRIES, f"entry {number + 1} has a text that can't be shown: {text[:40]!r}")
    return found


def _unprintable(value: Any) -> Iterator[str]:
    """Yield the texts in nested lists and mappings that can't be shown; they may have several lines."""
    if isinstance(value, dict | list):
        for item in (*value, *value.values()) if isinstance(value, dict) else value:
            yield from _unprintable(item)
    elif isinstance(value, str) and not value.replace("\n", "").replace("\t", "").isprintable():
        yield value


def _entry(fields: Any, number: int) -> Checkpoint:
    try:
        return Checkpoint.model_validate(fields)
    except (ValidationError, ValueError, TypeError, RecursionError) as error:
        raise BundleError("entry", ENTRIES, f"entry {number + 1} can't be read: {_first(error)}") from error


def _first(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return str(error) or type(error).__name__
