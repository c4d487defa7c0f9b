"""From a selection to a plan: checked inputs, runs with stable ids in groups, and which of them are still to do."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from .. import extensions
from ..datasets.images.transforms import resolve_transform
from ..datasets.known import KnownTask
from ..engines import check_choice
from ..models.entries import select_checkpoints
from ..models.facts import Facts, load_facts
from ..registry import Registry
from ..registry.selection import Selection, select_modes, task_protocols
from ..registry.shifts import select_sets
from ..schema import (
    TRAINED,
    Checkpoint,
    Group,
    InputError,
    Mode,
    Numerics,
    PlannedSet,
    Protocol,
    RunSpec,
    Suite,
    Task,
)
from .further import planned_sets
from .own_tasks import all_tasks, assert_head, own_tasks_of, tasks_by_mode
from .prefetch import Missing, Prefetch
from .sharing import check_processes, check_protocols, with_number

if TYPE_CHECKING:
    from ..models.backbone import Backbone

Overwrite = Literal["never", "failed", "always"]
PredictionKind = Literal["logits", "classes"]
_BATCH = 256
"""Images a batch that an engine is chosen for."""

OVERWRITE: tuple[Overwrite, ...] = ("never", "failed", "always")
PREDICTIONS: tuple[PredictionKind, ...] = ("logits", "classes")


@dataclass(frozen=True)
class Places:
    """Where data sets and caches are."""

    data_dir: Path | None = None
    cache_dir: Path | None = None


@dataclass(frozen=True)
class Cell:
    """A checkpoint on a task in a mode, of which something is missing, so that the ids of its runs can't be known."""

    checkpoint: Checkpoint
    task: Task
    protocol: Protocol
    seeds: tuple[int, ...]
    missing: tuple[Missing, ...]


@dataclass(frozen=True)
class Plan:
    """The runs of a selection, grouped by checkpoint, task and mode.

    ``missing`` is what is not here, where a plan is made nevertheless, and ``unknown`` the cells that need it.
    """

    groups: tuple[Group, ...]
    unknown: tuple[Cell, ...] = ()
    missing: tuple[Missing, ...] = ()

    @property
    def runs(self) -> list[RunSpec]:
        """All runs, in the order of the groups."""
        return [run for group in self.groups for run in group.runs]

    def remaining(self, statuses: dict[str, str], overwrite: Overwrite) -> Plan:
        """Return the plan without what is done; statuses are by record key.

        ``never`` keeps every record, ``failed`` runs failures again, ``always`` runs everything again.
        """
        done = {"never": {"ok", "failed"}, "failed": {"ok"}, "always": set()}[overwrite]
        wanted = {run.record_key for run in self.runs if statuses.get(run.record_key) not in done}
        return replace(self, groups=tuple(left for group in self.groups if (left := group.only(wanted)) is not None))

    def with_engines_of(self, done: Collection[RunSpec]) -> Plan:
        """Return the plan with the engine of each run that is done, whatever engine that was: for engine ``auto``."""
        found = {(spec.run_id, _but_engine(spec.numerics)): spec.numerics for spec in done}
        planned = {run.record_key for run in self.runs} & {spec.record_key for spec in done}
        groups = []
        for group in self.groups:
            runs = tuple(
                run
                if run.record_key in planned
                else run.model_copy(
                    update={"numerics": found.get((run.run_id, _but_engine(run.numerics)), run.numerics)}
                )
                for run in group.runs
            )
            groups.append(group.model_copy(update={"runs": runs}))
        return replace(self, groups=tuple(groups))


def _but_engine(numerics: Numerics) -> str:
    """Return the key of numerics whatever their engine."""
    return numerics.model_copy(update={"engine": "auto"}).key


def make_plan(
    selection: Selection,
    registry: Registry,
    numerics: Numerics,
    places: Places,
    note: Callable[[str], None] | None = None,
    prefetch: Prefetch | None = None,
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
        fastest here; full finetuning is always computed in torch.
    places : Places
        Where data sets and caches are.
    note : callable, optional
        Called with what is being checked, line by line.
    prefetch : Prefetch, optional
        Fetches what is missing.

    Raises
    ------
    InputError
        If a name is unknown, a selection is empty, or a checkpoint, task or protocol can't be used.
    """
    notify = note or (lambda _: None)
    check_choice(numerics.engine)
    suite = registry.suite(selection.suite)
    modes = select_modes(selection.modes or (["linear"] if selection.probes else []), suite)
    check_processes(numerics, modes)
    selection = with_number(selection, numerics)
    if selection.settings and modes == ["upstream"]:
        raise InputError("--set changes nothing in mode upstream, which trains nothing", "leave --set out")
    if selection.settings and len(modes) > 1:
        both = " and ".join(modes)
        raise InputError(f"--set changes the protocol of one mode, not of {both}", "add --mode linear or --mode full")
    if selection.probes and "linear" not in modes:
        raise InputError("--probe is for linear mode", "add --mode linear, or leave --probe out")
    by_mode, named = tasks_by_mode(modes, selection, registry, suite, places.data_dir)
    protocols = {
        (mode, task.id): task_protocols(mode, task, selection, registry, suite)
        for mode in modes
        for task in by_mode[mode]
    }
    check_protocols(numerics, protocols.values())
    sets = select_sets(selection.shifts, [task for task in all_tasks(by_mode) if not task.upstream])
    if selection.shifts and "upstream" in modes:
        raise InputError("--shift scores what was trained on a task, which mode upstream doesn't", "leave --shift out")
    if selection.shifts:
        _need_heads(protocols.values())
    if selection.limit is not None:
        limits = {task.id: task.with_limit(selection.limit) for task in all_tasks(by_mode)}
        by_mode = {mode: [limits[task.id] for task in tasks] for mode, tasks in by_mode.items()}
        sets = {limits[name].id: own for name, own in sets.items()}
        protocols = {(mode, limits[name].id): own for (mode, name), own in protocols.items()}
    checkpoints = select_checkpoints(selection, registry, suite, places.cache_dir)
    own = own_tasks_of(by_mode["upstream"], checkpoints, registry, named=named) if "upstream" in modes else {}
    used = {mode: [t for t in by_mode[mode] if mode in TRAINED or any(t in o for o in own.values())] for mode in modes}
    tasks = all_tasks(used)
    provided = (prefetch or Prefetch(places.data_dir, places.cache_dir)).provide(checkpoints, tasks, notify)
    opened = provided.data
    further = {
        data.task.id: planned_sets(data, sets[data.task.id], places.data_dir, places.cache_dir)
        for data in opened
        if data.task.id in sets
    }
    known: list[tuple[Checkpoint, Facts]] = []
    computed: dict[tuple[str, Mode], Numerics] = {}
    for checkpoint in checkpoints:
        if provided.missing_of(checkpoint):
            continue
        notify(f"checking checkpoint {checkpoint.id}")
        facts, backbone = load_facts(checkpoint, places.cache_dir)
        twice = next((other for other, its in known if _same(its, facts)), None)
        if twice is not None:
            text = f"checkpoint {checkpoint.id} holds the same weights and mask as {twice.id}: run once, as {twice.id}"
            warnings.warn(text, stacklevel=2)
            continue
        for data in opened:
            if data.task in own.get(checkpoint.id, ()):
                assert_head(checkpoint, facts, data)
        _say_unheld(checkpoint, facts)
        known.append((checkpoint, facts))
        for mode in modes:
            computed[checkpoint.id, mode] = _numerics(checkpoint, backbone, mode, numerics, notify)
    context = _Context(suite, computed, tuple(selection.seeds), further)
    there = {mode: [data for data in opened if data.task in used[mode]] for mode in modes}
    groups = [
        _group(context, protocol, *loaded, data)
        for mode in modes
        for loaded in known  # then what is loaded serves all the groups of a checkpoint and a mode
        for of_tasks in zip(*(protocols[mode, data.task.id] for data in there[mode]), strict=True)
        for data, protocol in zip(there[mode], of_tasks, strict=True)
        if mode in TRAINED or data.task in own[loaded[0].id]
    ]
    unknown = [
        Cell(checkpoint, task, protocol, _seeds(context, protocol), gone)
        for mode in modes
        for task in used[mode]
        for protocol in protocols[mode, task.id]
        for checkpoint in checkpoints
        if (mode in TRAINED or task in own[checkpoint.id]) and (gone := provided.missing_of(checkpoint, task))
    ]
    return Plan(tuple(groups), tuple(unknown), provided.missing)


def _numerics(
    checkpoint: Checkpoint, backbone: Backbone | None, mode: Mode, asked: Numerics, notify: Callable[[str], None]
) -> Numerics:
    """Return how a checkpoint's runs of a mode are computed, with the engine that will run."""
    if mode == "full" or asked.engine == "torch":
        return asked.model_copy(update={"engine": "torch"})
    from ..engines.choice import pinned
    from ..models.loading import load_entry

    backbone = backbone or load_entry(checkpoint)
    size = backbone.preprocess.input_size
    found = pinned(backbone.module, asked, (_BATCH, 3, size, size))
    if found.engine != asked.engine:
        notify(f"engine for {backbone.info.id}: {found.engine}")
    return found


def _say_unheld(checkpoint: Checkpoint, facts: Facts) -> None:
    """Warn of more zeros than chance leaves in a sparse checkpoint, where no mask holds them."""
    if facts.many_unheld:
        share = f"{facts.unheld:,} weights are zero ({facts.unheld_fraction:.1%} of those kept)"
        text = f"checkpoint {checkpoint.id}: {share} that no mask holds, and full mode trains them; inspect shows where"
        warnings.warn(text, stacklevel=3)


def _same(one: Facts, other: Facts) -> bool:
    """Return whether two checkpoints are the same by content, so that their runs would have the same ids."""
    return (one.arch, one.weights_sha256, one.mask_sha256) == (other.arch, other.weights_sha256, other.mask_sha256)


@dataclass(frozen=True)
class _Context:
    """What all groups of a plan share."""

    suite: Suite
    numerics: dict[tuple[str, Mode], Numerics]
    seeds: tuple[int, ...]
    further: dict[str, tuple[PlannedSet, ...]]


def _group(context: _Context, protocol: Protocol, checkpoint: Checkpoint, facts: Facts, data: KnownTask) -> Group:
    task, mode = data.task, protocol.mode
    if protocol.grid is not None and data.n_val == 0:
        raise InputError(
            f"protocol {protocol.name!r} chooses hyperparameters on val, but task {task.id!r} has no val images",
            "add a val/ folder, or use another suite",
        )
    transform = resolve_transform(facts.preprocess, task, protocol)
    first = _first_spec(context, checkpoint, facts, data, protocol, transform.sha256)
    runs = tuple(first.model_copy(update={"seed": seed}) for seed in _seeds(context, protocol))
    further = context.further.get(task.id, ()) if _has_head(protocol) else ()
    return Group(checkpoint=checkpoint, task=task, mode=mode, protocol=protocol, runs=runs, tests=further)


def _has_head(protocol: Protocol) -> bool:
    return protocol.probe is None or extensions.get("probes", protocol.probe).keeps_head


def _need_heads(protocols: Iterable[Sequence[Protocol]]) -> None:
    """Raise where further test sets are asked for and what is trained can't score them."""
    for protocol in {one.name: one for several in protocols for one in several}.values():
        if protocol.mode in TRAINED and not _has_head(protocol):
            raise InputError(
                f"--shift needs a trained head, and the probe {protocol.probe} keeps none",
                "leave --shift out, or use another probe, such as sgd or lbfgs",
            )


def _seeds(context: _Context, protocol: Protocol) -> tuple[int, ...]:
    if protocol.mode not in TRAINED:
        return (0,)  # nothing is random
    if protocol.probe is not None and not extensions.get("probes", protocol.probe).seeded:
        return (0,)  # every seed would give the same numbers
    return tuple(dict.fromkeys(context.seeds or context.suite.modes[protocol.mode].seeds))


def _first_spec(
    context: _Context,
    checkpoint: Checkpoint,
    facts: Facts,
    data: KnownTask,
    protocol: Protocol,
    transform_sha256: str,
) -> RunSpec:
    """Return the run of seed 0; the others differ in their seed alone."""
    task = data.task
    return RunSpec(
        arch=facts.arch,
        family=checkpoint.family,
        weights_sha256=facts.weights_sha256,
        mask_sha256=facts.mask_sha256,
        head_sha256=None if protocol.mode in TRAINED else facts.head_sha256,
        split_sha256=data.split_sha256,
        transform_sha256=transform_sha256,
        mode=protocol.mode,
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
        numerics=context.numerics[checkpoint.id, protocol.mode],
    )
