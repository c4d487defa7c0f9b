"""Where the time of runs went: seconds by stage, of each group and in total, the bottleneck, and what helps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..common.timings import STAGES
from ..schema import Numerics, RunRecord

START = "start"
OTHER = "other"
"""The stage of what no other covers: files, scores, the first epoch's allocation."""


@dataclass(frozen=True)
class Spent:
    """The seconds of some runs by stage, and how many of their groups read their features from the cache."""

    label: str
    seconds: dict[str, float]
    runs: int
    cached: int = 0
    extracted: int = 0

    @property
    def total(self) -> float:
        """All seconds."""
        return sum(self.seconds.values())

    @property
    def bottleneck(self) -> str | None:
        """The stage that took longest; None where nothing was measured."""
        return max(self.seconds, key=lambda name: self.seconds[name]) if self.total else None


def profile(records: Sequence[RunRecord]) -> list[Spent]:
    """Return the time spent by group (checkpoint, task, mode, probe), and last in total.

    Runs without stages (those that failed before the first, or older than the measurement) are left out.
    """
    groups: dict[str, list[RunRecord]] = {}
    for record in records:
        if record.stages:
            spec = record.spec
            label = " · ".join(part for part in (spec.checkpoint, spec.task, spec.mode, spec.probe) if part)
            groups.setdefault(label, []).append(record)
    spent = [_spent(label, members) for label, members in groups.items()]
    totals = {name: sum(one.seconds.get(name, 0.0) for one in spent) for name in (*STAGES, OTHER)}
    whole = Spent(
        "total",
        {name: seconds for name, seconds in totals.items() if seconds},
        sum(one.runs for one in spent),
        sum(one.cached for one in spent),
        sum(one.extracted for one in spent),
    )
    return [*spent, whole]


@dataclass(frozen=True)
class Machine:
    """What a machine could still give: its processors, and whether there is a GPU."""

    cores: int = 1
    gpu: bool = False


def render_profile(
    records: Sequence[RunRecord],
    workers: int | None = None,
    jobs: int = 1,
    start: float | None = None,
    machine: Machine | None = None,
) -> str:
    """Return the profile as text: a line per group, the total, the bottleneck and what to do about it.

    Parameters
    ----------
    records : sequence of RunRecord
        Of the runs that were done now.
    workers : int or None
        Decoding threads they had (see :class:`sparsebench.runs.runner.RunOptions`).
    jobs : int
        How many ran at once; seconds are summed over them.
    start : float, optional
        Seconds from the command's start to the first run: imports, checks, the plan.
    machine : Machine, optional
        What advice is for; without it, any machine.
    """
    *groups, total = profile(records)
    if not groups:
        return "profile: no run was done now, so there is nothing to time; --overwrite always runs all of them again"
    if start is not None:
        total = replace(total, seconds={START: start, **total.seconds})
        groups = [Spent(START, {START: start}, 0), *groups]
    names = [name for name in (START, *STAGES, OTHER) if name in total.seconds]
    rows = [["SECONDS", *names, "total"], *(_row(one, names) for one in groups), _row(total, names)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(text.rjust(w) for text, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    ]
    if total.cached:
        lines.append(f"* features from the cache ({total.cached} of {total.cached + total.extracted} groups)")
    if jobs > 1:
        lines.append(f"seconds are summed over {jobs} jobs at once")
    name = total.bottleneck
    if name is not None:
        share = total.seconds[name] / total.total
        what = {START: "imports, checks and the plan", **STAGES}.get(name, "everything else")
        better = _advice_for(name, records, workers, jobs, machine)
        lines.append(f"bottleneck: {name} ({what}), {share:.0%} of the time: {better}")
    return "\n".join(lines)


def _advice_for(
    name: str, records: Sequence[RunRecord], workers: int | None, jobs: int, machine: Machine | None
) -> str:
    """Return the advice on a stage, for how these runs were done."""
    slowest = max(records, key=lambda record: record.stages.get(name, 0.0))
    return advice(name, slowest.spec.numerics, workers, jobs=jobs, probe=slowest.spec.probe, machine=machine)


def advice(
    name: str,
    numerics: Numerics,
    workers: int | None = None,
    *,
    jobs: int = 1,
    probe: str | None = None,
    machine: Machine | None = None,
) -> str:
    """Return what makes a stage faster, given how it was run and on what; only what can still be done is named."""
    on_gpu = numerics.device != "cpu"
    cores = machine.cores if machine else 2**16
    threads = f"--threads N (now {numerics.threads})" if not on_gpu and numerics.threads * jobs < cores else ""
    gpu = "a GPU: --device cuda" if not on_gpu and (machine is None or machine.gpu) else ""
    more = f"--jobs N (now {jobs}) runs several groups at once" if jobs * numerics.threads < cores else ""
    nothing = "nothing here makes it faster on this machine"
    if name == START:
        return "starting: more checkpoints, tasks and seeds in one command share one start"
    if name in ("decode", "data"):
        given = f"--workers N{'' if workers is None else f' (now {workers})'}" if cores > 1 else ""
        pillow = "--decoder fast" if numerics.decoder == "pillow" else ""
        later = "crops are cached, so the next checkpoint waits less" if name == "decode" else ""
        return f"decoding: {_either('; ', _either(', ', given, pillow), later) or nothing}"
    if name == "backbone":
        engine = "" if on_gpu or numerics.engine != "torch" else "--engine auto"
        return f"backbone: {_either(', or ', _either(', ', engine, threads), gpu) or nothing}"
    if name == "probe":
        quicker = "--probe lbfgs or ridge fit in a fraction of sgd's time" if probe in (None, "sgd") else ""
        return f"probe: {_either(', ', threads, quicker) or more or nothing}"
    if name == "train":
        faster = "--precision bf16" if on_gpu and numerics.precision == "fp32" else ""
        return f"finetuning: {_either(' or ', faster, threads, gpu) or more or nothing}"
    if name == "cache":
        return "cache: put it on a faster disk with SPARSEBENCH_CACHE"
    if name == "load":
        beside = "--jobs N loads side by side" if more else ""
        return f"loading: {_either('; ', 'more seeds and probes a command share one load', beside)}"
    return f"the work is small: {more or 'more of it in one command shares one start'}"


def _either(link: str, *texts: str) -> str:
    """Join the texts that aren't empty."""
    return link.join(text for text in texts if text)


def _spent(label: str, records: Sequence[RunRecord]) -> Spent:
    seconds = {name: sum(record.stages.get(name, 0.0) for record in records) for name in STAGES}
    whole = sum(record.seconds or 0.0 for record in records)
    seconds[OTHER] = max(0.0, whole - sum(seconds.values()))
    linear = [record for record in records if record.features_cached is not None]
    cached = bool(linear) and all(record.features_cached for record in linear)
    kept = {name: value for name, value in seconds.items() if value}
    return Spent(label, kept, len(records), int(cached), int(bool(linear) and not cached))


def _row(one: Spent, names: Sequence[str]) -> list[str]:
    mark = " *" if one.cached and one.label != "total" else ""
    texts = (f"{one.seconds[name]:.2f}" if name in one.seconds else "–" for name in names)
    return [one.label + mark, *texts, f"{one.total:.2f}"]
