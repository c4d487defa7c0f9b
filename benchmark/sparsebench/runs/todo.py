"""Which runs of a plan are still to do, by the records that there are."""

from __future__ import annotations

from collections.abc import Sequence

from ..common.progress import notify
from ..schema import PlannedSet, RunRecord
from .claiming import lacking, lacks_weights
from .kept import kept_file
from .plan import Plan
from .request import Request

_UNTESTED = "without tests"


def still_to_do(request: Request, plan: Plan, records: Sequence[RunRecord]) -> Plan:
    """Return the part of a plan that has no record, or none that is good enough for the request."""
    tests = {run.record_key: group.tests for group in plan.groups for run in group.runs}
    statuses = {record.record_key: _status(record, request, tests.get(record.record_key, ())) for record in records}
    without = [
        record
        for record in records
        if statuses[record.record_key] == _UNTESTED and kept_file(record, request.results) is None
    ]
    if without:
        notify(
            f"{len(without)} finished run(s) kept no head or weights to score the test sets with, and train again;"
            " --save-weights keeps those of full mode"
        )
    return plan.remaining(statuses, request.overwrite)


def _status(record: RunRecord, request: Request, tests: Sequence[PlannedSet]) -> str:
    """Return a record's status; a finished run that lacks the weights or test sets asked for is still to do."""
    if request.overwrite == "never":
        return record.status
    if request.save_weights and lacks_weights(record, request.results):
        return "without weights"
    return _UNTESTED if lacking(record, tests) else record.status
