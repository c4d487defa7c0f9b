"""Where the time of runs went: seconds by stage, of each group and in total, the bottleneck, and what helps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..common.timings import STAGES
from ..schema import Numerics, RunRecord

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


def render_profile(records: Sequence[RunRecord], workers: int | None = None, jobs: int = 1) -> str:
    """Return the profile as text: a line per group, the total, the bottleneck and what to do about it.

    Parameters
    ----------
    records : sequence of RunRecord
        Of the runs that were done now.
    workers : int or None
        Decoding threads they had (see :class:`sparsebench.runs.runner.RunOptions`).
    jobs : int
        How many ran at once; seconds are summed over them.
    """
    *groups, total = profile(records)
    if not groups:
        return "profile: no run was done now, so there is nothing to time; --overwrite always runs all of them again"
    names = [name for name in (*STAGES, OTHER) if name in total.seconds]
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
        what = STAGES.get(name, "everything else")
        lines.append(
            f"bottleneck: {name} ({what}), {share:.0%} of the time: {advice(name, records[0].spec.numerics, workers)}"
        )
    return "\n".join(lines)


def advice(name: str, numerics: Numerics, workers: int | None = None) -> str:
    """Return what makes a stage faster, given how it was run."""
    gpu = numerics.device != "cpu"
    threads = "" if gpu else f"--threads N (now {numerics.threads}), "
    more = "" if workers is None else f" (now {workers})"
    if name in ("decode", "data"):
        pillow = ", --decoder fast" if numerics.decoder == "pillow" else ""
        later = "; crops are cached, so the next checkpoint waits less" if name == "decode" else ""
        return f"decoding: --workers N{more}{pillow}{later}"
    if name == "backbone":
        engine = "" if gpu or numerics.engine != "torch" else "--engine auto, "
        return f"backbone: {engine}{threads}".rstrip(", ") + ("" if gpu else ", or a GPU: --device cuda")
    if name == "probe":
        return f"probe: {threads}--probe lbfgs or ridge fit in a fraction of sgd's time"
    if name == "train":
        return "finetuning: " + ("--precision bf16" if gpu else f"{threads}or a GPU: --device cuda")
    if name == "cache":
        return "cache: put it on a faster disk with SPARSEBENCH_CACHE"
    if name == "load":
        return "loading: more seeds and probes a command share one load; --jobs N loads side by side"
    return "the work is small: --jobs N runs several groups at once"


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
