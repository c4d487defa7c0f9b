"""``merge``: the verified records of bundles added to a results folder. What is there is never overwritten."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..registry import Registry
from ..schema import Origin, ResultsError, RunRecord
from ..store import Predictions, Store
from .archive import Bundle
from .export import LABELS
from .means import Means
from .members import predictions_name
from .problems import BundleError
from .tasks import task_named
from .verify import Verified, verify_bundle


@dataclass(frozen=True)
class Conflict:
    """A record that was not added, and why."""

    bundle: str
    record_key: str
    cell: str
    reason: str

    @property
    def line(self) -> str:
        """The conflict as people read it."""
        return f"{self.bundle}: {self.record_key} ({self.cell}): {self.reason}"


@dataclass(frozen=True)
class Merged:
    """What a merge did: records added, those that were there already, and those in conflict with what was there."""

    added: tuple[str, ...]
    same: tuple[str, ...]
    conflicts: tuple[Conflict, ...]
    verified: tuple[Verified, ...]


def merge_bundles(
    bundles: Sequence[Path], results: Path, means: Means | None = None, say: Callable[[str], None] | None = None
) -> Merged:
    """Verify bundles, then add their records to a results folder, each with its verdict.

    Nothing is written unless all bundles hold. A record is in conflict, and isn't added, where the folder has the same
    run with other numbers, another network, task or description under the same name, or the same network or data under
    another name. Bundles are added in the order in which they are given.

    Raises
    ------
    ResultsError
        If a bundle is refused; the message has its first problem.
    RunError
        If a record can't be written.
    """
    means = means or Means()
    verified = [verify_bundle(path, means, say) for path in bundles]
    for one in verified:
        if one.problems:
            more = f" (and {len(one.problems) - 1} more)" if len(one.problems) > 1 else ""
            raise ResultsError(
                f"{one.name} is refused: {one.problems[0].line}{more}", f"see: sparsebench verify {one.name}"
            )
    store = Store(results)
    store.check_writable()
    there = _There(store.read() if store.records_dir.is_dir() else [], means.registry)
    added: list[str] = []
    same: list[str] = []
    conflicts: list[Conflict] = []
    for path, one in zip(bundles, verified, strict=True):
        with Bundle(path) as bundle:
            if bundle.sha256 != one.sha256:
                raise BundleError("hash", bundle.name, "has changed while it was read")
            for record in one.records:
                kept = _predictions(bundle, record)
                before, reason = there.runs.get(record.record_key), there.other_meaning(record)
                if reason is None and before is not None and not _equal(before, record, store, kept):
                    reason = f"the same run is there {_as(before, record)}"
                if reason is None and before is not None:
                    same.append(record.record_key)
                elif reason is not None:
                    spec = record.spec
                    cell = f"{spec.checkpoint} · {spec.task} · {spec.mode} · seed {spec.seed}"
                    conflicts.append(Conflict(one.name, record.record_key, cell, reason))
                else:
                    there.add(_add(record, kept, one, store))
                    added.append(record.record_key)
    return Merged(tuple(added), tuple(same), tuple(conflicts), tuple(verified))


def _add(record: RunRecord, kept: Predictions | None, one: Verified, store: Store) -> RunRecord:
    origin = Origin(bundle=one.sha256, verdict=one.verdicts.get(record.record_key, "claimed"))
    update = {"origin": origin, "predictions": None, "predictions_sha256": None}
    return store.write(record.model_copy(update=update), kept)


def _predictions(bundle: Bundle, record: RunRecord) -> Predictions | None:
    if record.predictions is None:
        return None
    name = predictions_name(record.record_key)
    return bundle.predictions(name)


def _equal(before: RunRecord, record: RunRecord, store: Store, kept: Predictions | None) -> bool:
    """Return whether a stored record has the numbers of one from a bundle."""
    if before.status != record.status or before.scores != record.scores:
        return False
    if before.predictions is None or kept is None:
        return True
    own = store.predictions(before)
    return own.ids == kept.ids and bool((own.labels == kept.labels).all() and (own.predicted == kept.predicted).all())


class _There:
    """What a results folder has: runs by key, and what its names stand for."""

    def __init__(self, records: Iterable[RunRecord], registry: Registry) -> None:
        self.registry = registry
        self.runs: dict[str, RunRecord] = {}
        self._networks: dict[str, tuple[str, ...]] = {}  # name to network
        self._names: dict[tuple[str, ...], Mapping[str, Any]] = {}  # network to its labels
        self._splits: dict[str, str] = {}  # task to split
        self._tasks: dict[str, tuple[str, str]] = {}  # split to task and metric
        for record in records:
            self.add(record)

    def add(self, record: RunRecord) -> None:
        """Take a record for granted."""
        self.runs[record.record_key] = record
        spec = record.spec
        self._networks.setdefault(spec.checkpoint, _network(record))
        self._names.setdefault(_network(record), _labels(record))
        self._splits.setdefault(spec.task, spec.split_sha256)
        self._tasks.setdefault(spec.split_sha256, (spec.task, spec.metric))

    def other_meaning(self, record: RunRecord) -> str | None:
        """Return what a record calls otherwise than the folder does, in words; None if there is nothing."""
        spec, network = record.spec, _network(record)
        if self._networks.get(spec.checkpoint, network) != network:
            return f"{spec.checkpoint} is another network there"
        known, own = self._names.get(network), _labels(record)
        if known is not None and known != own:
            name = next(name for name in own if own[name] != known[name])
            return f"the same network is there with {name} {known[name]!r}, not {own[name]!r}"
        if self._splits.get(spec.task, spec.split_sha256) != spec.split_sha256:
            return f"task {spec.task} has another split there"
        task = task_named(spec.task, self.registry)
        named = self._tasks.get(spec.split_sha256)
        if task is None and named is not None and named != (spec.task, spec.metric):
            return f"the same data is there as task {named[0]} ({named[1]})"
        return None


def _as(before: RunRecord, record: RunRecord) -> str:
    if before.status != record.status:
        return "as failed" if before.status == "failed" else "as finished"
    if before.scores is None or record.scores is None:
        return "with another failure"
    metric = record.spec.metric
    one, other = getattr(before.scores, metric), getattr(record.scores, metric)
    return f"with accuracy {one:.4f}, not {other:.4f}" if one != other else "with other scores or predictions"


def _network(record: RunRecord) -> tuple[str, ...]:
    spec = record.spec
    return spec.arch, spec.weights_sha256, spec.mask_sha256


def _labels(record: RunRecord) -> dict[str, Any]:
    return {name: getattr(record.spec, name) for name in ("checkpoint", *LABELS, "upstream_top1")}
