"""Some linear runs of a bundle, drawn at random, run again with the checkpoint at hand."""

from __future__ import annotations

import random
import re
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import extensions
from ..schema import Checkpoint, Group, InputError, RunRecord
from ..store import Store
from .archive import Bundle
from .consistency import protocol_of
from .means import Means
from .members import predictions_name
from .problems import Problem
from .tasks import task_named

if TYPE_CHECKING:
    from .verify import Verified

TOLERANCE = 0.01
"""How much a linear run's accuracy may differ from one processor to another."""
AGREEMENT = 0.95
"""The least share of test images whose predicted class must be the same."""
_ARCH = re.compile(r"[A-Za-z0-9_./-]+")


@dataclass(frozen=True)
class Again:
    """A run that was run again: its accuracy as claimed and now, and the share of equal predicted classes.

    ``trouble`` says why it couldn't be, or what is off; it is empty where the two agree.
    """

    key: str
    cell: str
    claimed: float
    now: float | None = None
    agreement: float | None = None
    trouble: str = ""


def run_again(found: Verified, bundle: Bundle, means: Means, say: Callable[[str], None] | None = None) -> Verified:
    """Run ``means.reruns`` rescored linear runs again, and return what was found with what that gave.

    Where all agree, the other rescored linear runs of the same checkpoints count as ``rerun``, too: the draw was not
    known to who made the bundle. A run that differs is a problem.

    Raises
    ------
    InputError
        If there is no checkpoint at hand that the bundle has linear runs of, or a file is of none of them.
    """
    at_hand = _at_hand(found, means)
    cells = [
        record
        for record in found.records
        if record.spec.mode == "linear"
        and found.verdicts.get(record.record_key) == "rescored"
        and record.spec.checkpoint in at_hand
        and extensions.find("probes", record.spec.probe or "") is not None
        and task_named(record.spec.task, means.registry) is not None
        and record.spec.protocol_name in means.registry.protocols  # nobody else says how long it takes
    ]
    if not cells:
        raise InputError(
            f"{found.name} has no linear run under a registered protocol that can be run again here",
            "give its checkpoint: --checkpoint FILE, and where its data sets live: --data DIR",
        )
    drawn = _draw(cells, means.reruns, means.seed)
    again = []
    for record in drawn:
        if say is not None:
            say(f"running again: {_cell(record)}")
        again.append(_compared(record, at_hand[record.spec.checkpoint], bundle, means))
    problems = [Problem("rerun", one.key, one.trouble) for one in again if one.trouble]
    verdicts = dict(found.verdicts)
    if not problems:
        checked = {record.spec.checkpoint for record in drawn}
        verdicts |= {record.record_key: "rerun" for record in cells if record.spec.checkpoint in checked}
    return replace(found, again=tuple(again), verdicts=verdicts, problems=(*found.problems, *problems))


def _draw(cells: Sequence[RunRecord], count: int, seed: int | None) -> list[RunRecord]:
    """Return so many cells in random order, of each checkpoint one before a second of any."""
    source = random.SystemRandom() if seed is None else random.Random(seed)  # noqa: S311 - a seed is for a repetition
    by_checkpoint: dict[str, list[RunRecord]] = defaultdict(list)
    for record in source.sample(list(cells), len(cells)):
        by_checkpoint[record.spec.checkpoint].append(record)
    order = source.sample(sorted(by_checkpoint), len(by_checkpoint))
    rounds = zip_longest(*(by_checkpoint[name] for name in order))
    return [record for one in rounds for record in one if record is not None][:count]


def _at_hand(found: Verified, means: Means) -> Mapping[str, Checkpoint]:
    """Return the entries of the checkpoints that can be loaded here, by id: embedded ones, and those of files."""
    networks = {r.spec.checkpoint: (r.spec.arch, r.spec.weights_sha256, r.spec.mask_sha256) for r in found.records}
    known = means.registry.checkpoints
    at_hand = {name: known[name] for name in networks if name in known and known[name].file.path.startswith("package:")}
    for file in means.checkpoints:
        entry = _entry_of(file, found.entries, networks, means.cache_dir)
        at_hand[entry.id] = entry
    return at_hand


def _entry_of(
    file: Path, entries: Mapping[str, Checkpoint], networks: Mapping[str, tuple[str, str, str]], cache_dir: Path | None
) -> Checkpoint:
    """Return the entry whose network a file holds: by weights and mask, as its runs have them."""
    from ..models.facts import load_facts

    if not file.exists():
        raise InputError(f"there is no checkpoint {str(file)!r}", "correct the path")
    reasons = []
    for name, network in networks.items():
        entry = entries.get(name)
        if entry is None or not _ARCH.fullmatch(entry.arch) or not _readable(entry.format):
            continue
        place = {"path": str(file.absolute()), "url": None, "mirrors": (), "member": None}
        source = entry.file.model_copy(update=place)
        own = entry.model_copy(update={"file": source, "base": None})
        try:
            facts, _ = load_facts(own, cache_dir)
        except InputError as error:
            reasons.append(f"{name}: {error.message}")
            continue
        if (facts.arch, facts.weights_sha256, facts.mask_sha256) == network:
            return own
        reasons.append(f"{name}: other weights or another mask")
    why = "; ".join(reasons[:3]) or "none has an entry"
    raise InputError(
        f"{str(file)!r} is no checkpoint of this bundle ({why})", "give the file that its runs were made with"
    )


def _readable(name: str) -> bool:
    """Return whether a file's format is one that is declared here, or is to be recognised."""
    return name == "auto" or extensions.find("formats", name) is not None


def _cell(record: RunRecord) -> str:
    spec = record.spec
    return f"{spec.checkpoint} · {spec.task} · {spec.probe} · seed {spec.seed}"


def _compared(record: RunRecord, entry: Checkpoint, bundle: Bundle, means: Means) -> Again:
    """Run one cell again, and compare it with what is claimed."""
    metric = record.spec.metric
    claimed: float = getattr(record.scores, metric)
    outcome = Again(record.record_key, _cell(record), claimed)
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        done = _run(record, entry, store, means)
        if done is None or done.scores is None:
            why = done.failure.message if done is not None and done.failure is not None else "it left no record"
            return replace(outcome, trouble=f"can't be run again: {why}")
        kept = bundle.predictions(predictions_name(record.record_key))
        own = store.predictions(done)
    now: float = getattr(done.scores, metric)
    agreement = float((own.predicted == kept.predicted).mean())
    outcome = replace(outcome, now=now, agreement=agreement)
    if abs(now - claimed) > TOLERANCE + 1e-9 or agreement < AGREEMENT:
        trouble = f"claims {claimed:.4f}, gives {now:.4f} here; {agreement:.1%} of the predicted classes agree"
        return replace(outcome, trouble=trouble)
    return outcome


def _run(record: RunRecord, entry: Checkpoint, store: Store, means: Means) -> RunRecord | None:
    """Run one cell on the CPU, into a store of its own."""
    from ..runs.options import RunOptions
    from ..runs.runner import run_group

    protocol, task = protocol_of(record.spec), task_named(record.spec.task, means.registry)
    if protocol is None or task is None:
        return None
    changes: dict[str, Any] = {"device": "cpu", "precision": "fp32", "engine": "torch", "compile": False, "threads": 1}
    numerics = record.spec.numerics.model_copy(update=changes)
    spec = record.spec.model_copy(update={"numerics": numerics})
    group = Group(checkpoint=entry, task=task, mode="linear", protocol=protocol, runs=(spec,))
    options = RunOptions(
        store.root, means.data_dir, means.cache_dir, save_heads=False, predictions="classes", retries=0
    )
    run_group(group, options, lambda _: None)
    return next(iter(store.read([spec.record_key])), None)
