"""From a request to a plan: every input checked, and the selection expanded to runs in groups."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .. import extensions
from ..datasets.images.transforms import resolve_transform
from ..datasets.known import KnownTask
from ..datasets.planned import planned_sets
from ..engines import check_numerics
from ..models.entries import select_checkpoints
from ..models.facts import Facts, check_head, load_facts, warn_unheld
from ..registry import Registry
from ..registry.cells import Cells, has_head, select_cells
from ..registry.selection import Selection
from ..registry.sharing import check_sharing, with_number
from ..schema import TRAINED, Checkpoint, Group, InputError, Mode, Numerics, PlannedSet, Protocol, RunSpec, Suite, Task
from .plan import Cell, Plan
from .prefetch import Provision

Note = Callable[[str], None]
Provide = Callable[[Sequence[Checkpoint], Sequence[Task], Note], Provision]

_BATCH = 256
"""Images a batch that an engine is chosen for."""


@dataclass(frozen=True)
class Places:
    """Where data sets and caches are; ``elsewhere`` says that runs are computed on other machines."""

    data_dir: Path | None = None
    cache_dir: Path | None = None
    elsewhere: bool = False


@dataclass(frozen=True)
class _Known:
    """A checkpoint, what is known of it, and how its runs are computed in each mode."""

    checkpoint: Checkpoint
    facts: Facts
    numerics: Mapping[Mode, Numerics]


def make_plan(
    selection: Selection, registry: Registry, numerics: Numerics, places: Places, provide: Provide, note: Note
) -> Plan:
    """Check everything that can be checked, and expand a selection to runs.

    Every selected checkpoint is loaded, unless the same file was loaded before, and every selected task opened, unless
    its fingerprint is registered, so that what would fail for certain fails now. What needs no tensors is checked
    first, before torch is imported.

    Parameters
    ----------
    selection : Selection
        What was asked for.
    registry : Registry
        What there is.
    numerics : Numerics
        Device, precision, engine and threads. Engine ``auto`` is replaced, checkpoint by checkpoint, by the one that is
        fastest here, for features and for training; an engine that doesn't train leaves full mode to torch.
    places : Places
        Where data sets and caches are, and whether it runs there.
    provide : callable
        Fetches what is missing, and says what is here: :meth:`.Prefetch.provide`.
    note : callable
        Called with what is being checked, line by line.

    Raises
    ------
    InputError
        If a name is unknown, a selection is empty, or a checkpoint, task or protocol can't be used.
    """
    check_numerics(numerics, elsewhere=places.elsewhere)
    cells = select_cells(with_number(selection, numerics), registry, places.data_dir)
    check_sharing(numerics, cells)
    checkpoints = select_checkpoints(selection, registry, cells.suite, places.cache_dir)
    cells = cells.with_checkpoints(checkpoints, registry)
    here = provide(checkpoints, cells.every_task, note)
    further = {
        data.task.id: planned_sets(data, cells.sets[data.task.id], places.data_dir, places.cache_dir)
        for data in here.data
        if data.task.id in cells.sets
    }
    loaded = [checkpoint for checkpoint in checkpoints if not here.missing_of(checkpoint)]
    known = _known(loaded, cells, here.data, numerics, places.cache_dir, note)
    data, groups = {one.task.id: one for one in here.data}, []
    for mode in cells.tasks:
        for one in known:  # then what is loaded serves all the groups of a checkpoint and a mode
            for task, protocol in cells.in_turn(mode):
                if task.id in data and cells.has(one.checkpoint, mode, task):
                    transform = resolve_transform(one.facts.preprocess, task, protocol)
                    seeds, tests = _seeds(protocol, cells.suite, selection.seeds), further.get(task.id, ())
                    groups.append(_group(one, data[task.id], protocol, transform.sha256, seeds, tests))
    unknown = [
        Cell(checkpoint, task, protocol, _seeds(protocol, cells.suite, selection.seeds), gone)
        for mode, tasks in cells.tasks.items()
        for task in tasks
        for protocol in cells.protocols[mode, task.id]
        for checkpoint in checkpoints
        if cells.has(checkpoint, mode, task) and (gone := here.missing_of(checkpoint, task))
    ]
    return Plan(tuple(groups), tuple(unknown), here.missing)


def _known(
    checkpoints: Sequence[Checkpoint],
    cells: Cells,
    tasks: Sequence[KnownTask],
    numerics: Numerics,
    cache_dir: Path | None,
    note: Note,
) -> list[_Known]:
    """Load and check the checkpoints that are here, each content once, and choose their engines."""
    if numerics.processes > 1:
        numerics = numerics.model_copy(update={"engine": "torch"})  # which alone trains in several processes
    chooses = numerics.engine != "torch"
    known: list[_Known] = []
    for checkpoint in checkpoints:
        note(f"checking checkpoint {checkpoint.id}")
        facts, backbone = load_facts(checkpoint, cache_dir, load=chooses)
        twice = next((one.checkpoint.id for one in known if _same(one.facts, facts)), None)
        if twice is not None:
            text = f"checkpoint {checkpoint.id} holds the same weights and mask as {twice}: run once, as {twice}"
            warnings.warn(text, stacklevel=2)
            continue
        warn_unheld(checkpoint, facts)
        for data in tasks:
            if data.task in cells.own.get(checkpoint.id, ()):
                check_head(checkpoint, facts, data.task, data.n_classes)
        chosen = dict.fromkeys(cells.tasks, numerics)
        if chooses and backbone is not None:
            from ..engines.choice import pinned_for

            chosen = {mode: pinned_for(mode, backbone, numerics, _BATCH) for mode in cells.tasks}
            for engine in dict.fromkeys(one.engine for one in chosen.values() if one.engine != numerics.engine):
                note(f"engine for {checkpoint.id}: {engine}")
        known.append(_Known(checkpoint, facts, chosen))
    return known


def _same(one: Facts, other: Facts) -> bool:
    """Return whether two checkpoints are the same by content, so that their runs would have the same ids."""
    return (one.arch, one.weights_sha256, one.mask_sha256) == (other.arch, other.weights_sha256, other.mask_sha256)


def _seeds(protocol: Protocol, suite: Suite, asked: Sequence[int]) -> tuple[int, ...]:
    if protocol.mode not in TRAINED:
        return (0,)  # nothing is random
    if protocol.probe is not None and not extensions.get("probes", protocol.probe).seeded:
        return (0,)  # every seed would give the same numbers
    return tuple(dict.fromkeys(asked or suite.modes[protocol.mode].seeds))


def _group(
    known: _Known,
    data: KnownTask,
    protocol: Protocol,
    transform_sha256: str,
    seeds: Sequence[int],
    tests: tuple[PlannedSet, ...],
) -> Group:
    """Return the runs of a checkpoint on a task under a protocol; they differ in their seed alone."""
    checkpoint, facts, task, mode = known.checkpoint, known.facts, data.task, protocol.mode
    if protocol.grid is not None and data.n_val == 0:
        raise InputError(
            f"protocol {protocol.name!r} chooses hyperparameters on val, but task {task.id!r} has no val images",
            "add a val/ folder, or use another suite",
        )
    first = RunSpec(
        arch=facts.arch,
        family=checkpoint.family,
        weights_sha256=facts.weights_sha256,
        mask_sha256=facts.mask_sha256,
        head_sha256=None if mode in TRAINED else facts.head_sha256,
        split_sha256=data.split_sha256,
        transform_sha256=transform_sha256,
        mode=mode,
        probe=protocol.probe,
        protocol=protocol.resolved(task.metric),
        seed=0,
        checkpoint=checkpoint.id,
        method=checkpoint.method,
        variant=checkpoint.variant,
        sparsity=checkpoint.sparsity,
        sparsity_measured=facts.sparsity_measured,
        sparsity_scope=checkpoint.sparsity_scope,
        distribution=checkpoint.distribution,
        nm=checkpoint.nm,
        reference=checkpoint.reference,
        twin_of=checkpoint.twin_of,
        replicate=checkpoint.replicate,
        upstream_top1=checkpoint.upstream.top1 if checkpoint.upstream else None,
        task=task.id,
        protocol_name=protocol.name,
        metric=task.metric,
        numerics=known.numerics[mode],
    )
    runs = tuple(first.model_copy(update={"seed": seed}) for seed in seeds)
    tests = tests if has_head(protocol) else ()
    return Group(checkpoint=checkpoint, task=task, mode=mode, protocol=protocol, runs=runs, tests=tests)
