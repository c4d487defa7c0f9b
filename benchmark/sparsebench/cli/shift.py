"""What a run closes with where further test sets were asked for: a table, or values in its JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..report.shift import lines_json, shift_cells, shift_lines, shift_tables
from ..report.terminal import render_tables
from ..report.ways import WAY
from ..schema import RunRecord
from ..store import Store, frame
from ..store.further import further_frame, further_reader

if TYPE_CHECKING:
    from ..api.running import Prepared


def with_shift(shown: str, prepared: Prepared, records: Sequence[RunRecord], *, as_json: bool) -> str:
    """Return the closing table with one of further test sets after it, or with a ``shift`` in each of its rows.

    References that were scored on them before are compared with, too.
    """
    request = prepared.request
    asked = {test.name for group in prepared.plan.groups for test in group.tests}
    names = {record.spec.checkpoint for record in records}
    references = {record.spec.reference for record in records} - {None}
    stored = [record for record in Store(request.results).read() if record.spec.checkpoint in references - names]
    everything = [*records, *stored]
    table = further_frame(everything)
    cells = shift_cells(frame(everything), table[table["test"].isin(asked)])

    found = [
        line
        for line in shift_lines(cells, further_reader(everything, request.results), request.registry())
        if line.checkpoint in names or line.checkpoint in references
    ]
    if not as_json:
        return f"{shown}\n{render_tables(shift_tables(found), colour=sys.stdout.isatty())}"
    rows = json.loads(shown)
    by_line = {(*(row[name] for name in WAY), row["checkpoint"]): row for row in lines_json(found)}
    for row in rows:
        own = by_line.get((*(row[name] for name in WAY), row["checkpoint"]))
        row["shift"] = None if own is None else {k: v for k, v in own.items() if k not in (*WAY, "checkpoint")}
    return json.dumps(rows, indent=1, ensure_ascii=False)
