"""A plan as ``run --dry-run`` shows it: its cells, what of it is missing, and where that can be had."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from .listing import columns

if TYPE_CHECKING:
    from ..api import Prepared
    from ..runs.plan import Cell
    from ..runs.prefetch import Missing


def render_plan(prepared: Prepared, at_once: int) -> str:
    """Return the plan as text: a line per cell with what is still to do, then what is missing.

    Parameters
    ----------
    prepared : Prepared
        The plan.
    at_once : int
        How many runs will be computed at a time.
    """
    plan = prepared.plan
    todo = {run.record_key for run in prepared.todo.runs}
    rows = [["CHECKPOINT", "TASK", "MODE", "PROTOCOL", "SEEDS", "TO DO"]]
    for group in plan.groups:
        seeds = ",".join(str(run.seed) for run in group.runs)
        left = sum(run.record_key in todo for run in group.runs)
        rows.append([group.checkpoint.id, group.task.id, group.mode, group.protocol.name, seeds, str(left)])
    for cell in plan.unknown:
        kinds = " and ".join(dict.fromkeys(need.kind for need in cell.missing))
        seeds = ",".join(map(str, cell.seeds))
        name = cell.protocol.name
        rows.append([cell.checkpoint.id, cell.task.id, cell.protocol.mode, name, seeds, f"{kinds} missing"])
    lines = [columns(rows)]
    if plan.missing:
        lines += ["", *_missing_lines(prepared), ""]
    unknown = sum(len(cell.seeds) for cell in plan.unknown)
    total = len(plan.runs) + unknown
    waiting = f", {unknown} once what is missing is here" if unknown else ""
    threads = prepared.request.numerics.threads
    lines.append(f"{total} runs, {len(todo)} to do{waiting}, {at_once} at once, {threads} thread(s) each")
    return "\n".join(lines)


def _missing_lines(prepared: Prepared) -> list[str]:
    from ..runs.prefetch import fetch_command
    from ..runs.request import options_of

    missing = prepared.plan.missing
    states = {"fetchable": "to fetch"}
    rows = [["NOT HERE", "", "STATE", "FROM"]]
    rows += [[need.kind, need.subject.id, states.get(need.state, need.state), _source(need)] for need in missing]
    lines = columns(rows).splitlines()
    if any(need.state == "fetchable" for need in missing):
        forbidden = prepared.request.offline_reason
        when = f"{forbidden} forbids fetching; with a network" if forbidden else "The run fetches it; or beforehand"
        lines.append(f"{when}: {fetch_command(options_of(prepared.request))}")
    by_hand = [need for need in missing if need.state != "fetchable"]
    lines += [need.line for need in by_hand]
    if by_hand:
        lines.append("--skip-missing runs the rest.")
    return lines


def _source(need: Missing) -> str:
    """Return where something that is missing is from: an address, or a path."""
    from ..downloads import checkpoint_path
    from ..downloads.words import public
    from ..schema import Checkpoint

    if isinstance(need.subject, Checkpoint):
        source = need.subject.file
        return public(source.url) if source.url else str(checkpoint_path(source))
    return need.subject.source or ""


def plan_json(prepared: Prepared) -> str:
    """Return the plan as JSON: of each run its ids, whether it is to do, its labels and what defines it.

    Of a run of something that is missing the ids are null, and ``missing`` says what that is.
    """
    todo = {run.record_key for run in prepared.todo.runs}
    runs: list[dict[str, Any]] = [
        run.model_dump(mode="json") | {"to_do": run.record_key in todo} for run in prepared.plan.runs
    ]
    runs += [row for cell in prepared.plan.unknown for row in _unknown_runs(cell)]
    return json.dumps(runs, indent=1, ensure_ascii=False)


def _unknown_runs(cell: Cell) -> list[dict[str, Any]]:
    checkpoint, protocol = cell.checkpoint, cell.protocol
    common = {
        "run_id": None,
        "record_key": None,
        "to_do": True,
        "checkpoint": checkpoint.id,
        "method": checkpoint.method,
        "variant": checkpoint.variant,
        "sparsity": checkpoint.sparsity,
        "arch": checkpoint.arch,
        "task": cell.task.id,
        "mode": protocol.mode,
        "probe": protocol.probe,
        "protocol_name": protocol.name,
        "missing": [
            {"kind": n.kind, "id": n.subject.id, "state": n.state, "from": _source(n), "remedy": n.remedy}
            for n in cell.missing
        ],
    }
    return [common | {"seed": seed} for seed in cell.seeds]
