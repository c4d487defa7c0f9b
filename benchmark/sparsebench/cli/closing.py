"""The table that a run closes with; kept by the content of the results, as it takes seconds of imports to make."""

from __future__ import annotations

import json
import shutil
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..caching import read_document, write_document
from ..common.version import __version__
from ..runs.request import reference_command
from ..schema import RunRecord, digest

if TYPE_CHECKING:
    from ..api.running import Prepared
    from ..store.classes import Reader

_VERSION = 4
"""Raised when a change can change the table of the same records."""

_KIND = "tables"


def closing_table(prepared: Prepared, records: Sequence[RunRecord], *, as_json: bool = False) -> str:
    """Return the closing table of the plan's runs, with references that have run before, as text or JSON.

    It is kept in the cache, so that a command with nothing to do needn't import what makes tables.
    """
    request = prepared.request
    before = _key(prepared, records, as_json)
    known = read_document(request.cache_dir, _KIND, before)
    if isinstance(known, str):
        return known
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        text = _made(prepared, records, as_json=as_json)
    for one in said:
        warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
    told = any(issubclass(one.category, UserWarning) for one in said)
    if not told and before == _key(prepared, records, as_json):  # nobody has written a record meanwhile
        write_document(request.cache_dir, _KIND, before, text)
    return text


def _made(prepared: Prepared, records: Sequence[RunRecord], *, as_json: bool) -> str:
    import pandas as pd

    from ..report.terminal import closing_rows, render_terminal
    from ..schema import ResultsError
    from ..store import frame, gather
    from ..store.classes import classes_reader

    table = frame(records)
    keys = set(table["record_key"])
    stored = gather(prepared.request.results)
    everything = pd.concat([table, stored[~stored["record_key"].isin(keys)]])
    everything = everything.reset_index(drop=True)
    registry, predictions = prepared.request.registry(), classes_reader(prepared.request.results)

    def shown(kept: Reader | None) -> str:
        if as_json:
            rows = closing_rows(everything, keys=keys, registry=registry, predictions=kept)
            return json.dumps(rows, indent=1, ensure_ascii=False)
        return render_terminal(
            everything,
            keys=keys,
            commands=lambda reference: reference_command(prepared.request, reference),
            colour=sys.stdout.isatty(),
            registry=registry,
            predictions=kept,
        )

    try:
        return shown(predictions)
    except ResultsError as error:  # the runs are done: a damaged file of another doesn't take their table away
        warnings.warn(f"{error.message}; intervals don't cover test images", stacklevel=2)
        return shown(None)


def _key(prepared: Prepared, records: Sequence[RunRecord], as_json: bool) -> dict[str, Any]:
    """Return all that the table depends on: records, how it is asked for, tasks and suites, and what draws it."""
    request = prepared.request
    registry = request.registry()
    suites = [suite.model_dump(mode="json") for suite in registry.suites.values()]
    tasks = [[task.id, task.split_sha256] for task in registry.tasks.values()]
    return {
        "version": [_VERSION, __version__],
        "stored": digest(_states(request.results / "records")),
        "records": digest([record.model_dump(mode="json") for record in records]),
        "asked": digest([reference_command(request, "REFERENCE"), [run.record_key for run in prepared.plan.runs]]),
        "registry": digest([suites, tasks]),
        "shape": [as_json, sys.stdout.isatty(), shutil.get_terminal_size((100, 24)).columns],
    }


def _states(folder: Path) -> list[list[Any]]:
    """Return the name, size and dates of every file of records."""
    found = []
    for path in sorted(folder.rglob("*.json")):
        try:
            state = path.stat()
        except OSError:
            continue
        found.append([path.relative_to(folder).as_posix(), state.st_size, state.st_mtime_ns, state.st_ctime_ns])
    return found
