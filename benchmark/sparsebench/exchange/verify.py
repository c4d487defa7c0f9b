"""``verify``: a bundle checked without trust in who made it. Nothing in it is run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..schema import VERDICTS, Checkpoint, RunRecord, Verdict
from ..schema.text import printable
from ..store.predictions import Predictions
from . import limits
from .archive import Bundle
from .consistency import Consistency
from .copies import Copies
from .means import Means
from .members import predictions_name, split_name
from .problems import BundleError, Problem
from .reading import read_entries, read_record
from .rerun import Again, run_again
from .scores import can_be_rescored, contradictions, other_labels
from .splits import TestSplit, read_split
from .tasks import Opened, task_named
from .values import impossible


@dataclass(frozen=True)
class Verified:
    """What was found out about a bundle.

    Parameters
    ----------
    name, sha256 : str
        The file's name and hash; no hash where it can't be read.
    records : tuple of RunRecord
        Its records, as far as they could be read.
    entries : mapping of str to Checkpoint
        Its registry entries by id.
    verdicts : mapping of str to str
        Of each finished record, by key.
    notes : tuple of str
        What couldn't be checked.
    again : tuple of Again
        The runs that were run again.
    problems : tuple of Problem
        What is wrong; a bundle with any is refused.
    """

    name: str
    sha256: str = ""
    records: tuple[RunRecord, ...] = ()
    entries: Mapping[str, Checkpoint] = field(default_factory=dict)
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    again: tuple[Again, ...] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def verdict(self) -> str:
        """``refused``, or the least that is known of any finished run."""
        if self.problems:
            return "refused"
        return min(self.verdicts.values(), key=VERDICTS.index, default="claimed")

    def document(self) -> dict[str, Any]:
        """Return the same for JSON."""
        return {
            "bundle": self.name,
            "sha256": self.sha256,
            "verdict": self.verdict,
            "runs": dict(Counter(record.status for record in self.records)),
            "checkpoints": sorted({record.spec.checkpoint for record in self.records}),
            "tasks": sorted({record.spec.task for record in self.records}),
            "verdicts": dict(self.verdicts),
            "again": [vars(one) for one in self.again],
            "notes": list(self.notes),
            "problems": [{"check": p.check, "where": p.where, "message": p.message} for p in self.problems],
        }


def verify_bundle(path: Path, means: Means | None = None, say: Callable[[str], None] | None = None) -> Verified:
    """Check a bundle: its file, its records, and that they follow from one another; nothing in it is trusted.

    Parameters
    ----------
    path : Path
        The bundle.
    means : Means, optional
        What it is verified with.
    say : callable, optional
        Called with a line before each run that is run again.

    Returns
    -------
    Verified
        With ``problems`` where the bundle is to be refused.

    Raises
    ------
    InputError
        If no run can be run again, where that is asked for.
    """
    means = means or Means()
    found = Verified(printable(path.name))
    try:
        with Bundle(path) as bundle:
            found = replace(found, sha256=bundle.sha256)
            found = _Verification(bundle, means).run()
            if not found.problems and means.reruns:
                found = run_again(found, bundle, means, say)
    except BundleError as error:
        return replace(found, problems=(*found.problems, error.problem))
    return found


class _Verification:
    """The checks of one bundle."""

    def __init__(self, bundle: Bundle, means: Means) -> None:
        self.bundle, self.registry = bundle, means.registry
        self.opened = Opened(means.registry, means.data_dir, means.cache_dir)
        self.problems: list[Problem] = []
        self.notes: dict[str, None] = {}
        self._splits: dict[tuple[str, str], TestSplit | None] = {}
        self._copies = Copies()

    def run(self) -> Verified:
        """Check everything; as much as there is to list, not just the first problem."""
        bundle, entries = self.bundle, read_entries(self.bundle)
        consistency = Consistency(entries, self.registry)
        records: list[RunRecord] = []
        verdicts: dict[str, Verdict] = {}
        used = set()
        for name in bundle.names("records"):
            try:
                record = read_record(bundle, name)
                records.append(record)
                used.add(predictions_name(record.record_key))
                used.add(split_name(record.spec.split_sha256))
                before = len(self.problems)
                self._add(record, [("value", text) for text in impossible(record)])
                possible = len(self.problems) == before
                self._add(record, consistency.problems(record))
                self._task(record)
                if record.predictions is None and predictions_name(record.record_key) in bundle:
                    self._add(record, [("member", "its record names no predictions, the bundle has some")])
                if record.status == "ok" and possible:
                    verdicts[record.record_key] = self._verdict(record)
            except BundleError as error:
                self.problems.append(error.problem)
            if len(self.problems) >= limits.PROBLEMS:
                break
        else:
            if not records and not self.problems:
                self.problems.append(Problem("record", bundle.name, "holds no record"))
            for name in (*bundle.names("predictions"), *bundle.names("splits")):
                if name not in used and not self.problems:
                    self.problems.append(Problem("member", name, "belongs to no record"))
        return Verified(
            bundle.name,
            bundle.sha256,
            tuple(records),
            entries,
            verdicts,
            tuple(self.notes),
            problems=tuple(self.problems[: limits.PROBLEMS]),
        )

    def _add(self, record: RunRecord, found: Iterator[tuple[str, str]] | list[tuple[str, str]]) -> None:
        self.problems += [Problem(check, record.record_key, message) for check, message in found]

    def _task(self, record: RunRecord) -> None:
        """Compare a run's split with the one that its task is known to have."""
        spec = record.spec
        split, task = self.opened.fingerprint(spec.task), task_named(spec.task, self.registry)
        if split is not None and split != spec.split_sha256:
            self._add(record, [("labels", f"its split is not the known one of task {spec.task}")])
        scores = record.scores
        if task is None or scores is None:
            return
        if task.classes is not None and scores.n_classes != task.classes:
            self._add(record, [("value", f"it has {scores.n_classes} classes, task {spec.task} has {task.classes}")])
        sizes = dict(task.sizes or {}) if task.limit is None else {}
        known = sizes.get("test", scores.n_test)
        if scores.n_test != known:
            self._add(record, [("value", f"it has {scores.n_test} test images, task {spec.task} has {known}")])
        most = sizes.get("trainval", sizes.get("train", scores.n_train) + sizes.get("val", 0))
        if scores.n_train > most:
            self._add(record, [("value", f"it has {scores.n_train} training images, task {spec.task} has {most}")])
        most = sizes.get("val", sizes.get("trainval", scores.n_val))
        if scores.n_val > most:
            self._add(record, [("value", f"it has {scores.n_val} val images, task {spec.task} has {most}")])

    def _verdict(self, record: RunRecord) -> Verdict:
        """Return what is known of a finished run, having compared its scores with its predictions."""
        key, name = record.record_key, predictions_name(record.record_key)
        if record.predictions is None:
            self._note("runs without predictions: their scores can't be recomputed")
            return "claimed"
        if record.predictions != name:
            raise BundleError("record", key, f"names predictions that are not {name}")
        if name in self.bundle and record.predictions_sha256 != self.bundle.listed[name]:
            raise BundleError("hash", key, "has other predictions than its record names (sha256)")
        kept = self.bundle.predictions(name)
        before = len(self.problems)
        self._add(record, contradictions(record, kept))
        if (other := self._copies.copied_from(record, kept)) is not None:
            self._add(record, [("duplicate", f"has the predictions and the training loss or logits of {other}")])
        known = self._labels(record, kept)
        if len(self.problems) > before or not known:
            return "claimed"
        if not can_be_rescored(record):
            self._note(f"probe {record.spec.probe}: scores are means over draws, which can't be recomputed")
            return "claimed"
        return "rescored"

    def _labels(self, record: RunRecord, kept: Predictions) -> bool:
        """Return whether a run's labels are known to be its split's; a difference is a problem."""
        spec = record.spec
        at = (spec.task, spec.split_sha256)
        if at not in self._splits:
            self._splits[at] = self._split(record)
        test = self._splits[at]
        if test is None:
            self._note(f"task {spec.task}: nothing here shows that the labels are right (--data DIR)")
            return False
        if (problem := other_labels(kept, test)) is not None:
            self._add(record, [("labels", problem)])
        if record.scores is not None and record.scores.n_classes != test.classes:
            self._add(record, [("labels", f"says {record.scores.n_classes} classes, the split has {test.classes}")])
        if self.opened.fingerprint(spec.task) is None:
            self._note(f"task {spec.task} is not registered here: its labels are the submitter's")
            return False
        return True

    def _split(self, record: RunRecord) -> TestSplit | None:
        """Return a split's test images: those that the bundle shows its fingerprint to be made of, else those here."""
        name = split_name(record.spec.split_sha256)
        if name in self.bundle:
            return read_split(self.bundle.json(name), record.spec.split_sha256, name)
        return self.opened.test(record.spec)

    def _note(self, text: str) -> None:
        self.notes[text] = None
