"""From a selection to a plan: checked inputs, runs with stable ids in groups, and which of them are still to do."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from .datasets.base import TaskData
from .datasets.transforms import resolve_transform
from .engines import check_choice
from .engines.choice import pinned
from .loading import Backbone, BackboneInfo, entry_for_file, is_file_name, load_entry, split_choice
from .probes import PROBES
from .registry import CheckpointFilter, Registry, read_task
from .schema import (
    MODES,
    SEEDED_PROBES,
    Checkpoint,
    Group,
    InputError,
    Mode,
    Numerics,
    Preprocess,
    Protocol,
    RunSpec,
    Suite,
    Task,
    UnknownNameError,
)
from .supplies import Supplies

Overwrite = Literal["never", "failed", "always"]
_BATCH = 256
"""Images a batch that an engine is chosen for."""

OVERWRITE: tuple[Overwrite, ...] = ("never", "failed", "always")


@dataclass(frozen=True)
class Selection:
    """What a user asked for; an empty field means all that the suite selects.

    ``checkpoints`` are ids or files (a file's architecture is then the one of ``archs``); ``tasks`` are ids, task
    files or image folders. ``probes`` are linear mode's, which alone is run where no mode is named; without any it is
    the probe of the suite's protocol.
    """

    suite: str = "mini"
    methods: Sequence[str] = ()
    sparsities: Sequence[float] = ()
    archs: Sequence[str] = ()
    checkpoints: Sequence[str] = ()
    tasks: Sequence[str] = ()
    modes: Sequence[str] = ()
    seeds: Sequence[int] = ()
    variants: Sequence[str] = ()
    probes: Sequence[str] = ()


PROBE_PROTOCOLS = {
    "sgd": "cvpr22-linear",
    "lbfgs": "lbfgs-linear",
    "ridge": "ridge-linear",
    "knn": "knn-linear",
    "fewshot": "fewshot-linear",
}
"""Probe to the protocol that it is run with where the suite's own linear protocol has another probe."""


@dataclass(frozen=True)
class Places:
    """Where data sets and caches are."""

    data_dir: Path | None = None
    cache_dir: Path | None = None


@dataclass(frozen=True)
class Plan:
    """The runs of a selection, grouped by checkpoint, task and mode."""

    groups: tuple[Group, ...]

    @property
    def runs(self) -> list[RunSpec]:
        """All runs, in the order of the groups."""
        return [run for group in self.groups for run in group.runs]

    def remaining(self, statuses: dict[str, str], overwrite: Overwrite) -> Plan:
        """Return the plan without what is done.

        ``never`` keeps every record, ``failed`` runs failures again, ``always`` runs everything again.
        """
        done = {"never": {"ok", "failed"}, "failed": {"ok"}, "always": set()}[overwrite]
        groups = []
        for group in self.groups:
            runs = tuple(run for run in group.runs if statuses.get(run.run_id) not in done)
            if runs:
                groups.append(group.model_copy(update={"runs": runs}))
        return replace(self, groups=tuple(groups))


def make_plan(
    selection: Selection,
    registry: Registry,
    numerics: Numerics,
    places: Places,
    note: Callable[[str], None] | None = None,
    supplies: Supplies | None = None,
) -> Plan:
    """Check everything that can be checked, and expand a selection to runs.

    Every selected checkpoint is loaded and every selected task opened, so that what would fail for certain fails now.

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
        Told what is being checked, a line at a time.
    supplies : Supplies, optional
        Fetches what is missing.

    Raises
    ------
    InputError
        If a name is unknown, a selection is empty, or a checkpoint, task or protocol can't be used.
    """
    tell = note or (lambda _: None)
    check_choice(numerics.engine)
    suite = registry.suite(selection.suite)
    modes = select_modes(selection.modes or (["linear"] if selection.probes else []), suite)
    protocols = {mode: select_protocols(mode, selection.probes, registry, suite) for mode in modes}
    if selection.probes and "linear" not in modes:
        raise InputError("--probe is for linear mode", "add --mode linear, or leave --probe out")
    checkpoints = select_checkpoints(selection, registry, suite)
    tasks = select_tasks(selection.tasks, registry, suite, places)
    opened = (supplies or Supplies(places.data_dir, places.cache_dir)).provide(checkpoints, tasks, tell)
    infos: list[tuple[BackboneInfo, Preprocess]] = []
    computed: dict[tuple[str, Mode], Numerics] = {}
    for checkpoint in checkpoints:
        tell(f"checking checkpoint {checkpoint.id}")
        backbone = load_entry(checkpoint)
        twice = next((other for other, _ in infos if _same(other, backbone.info)), None)
        if twice is not None:
            text = f"checkpoint {checkpoint.id} holds the same weights and mask as {twice.id}: run once, as {twice.id}"
            warnings.warn(text, stacklevel=2)
            continue
        infos.append((backbone.info, backbone.preprocess))
        for mode in modes:
            computed[checkpoint.id, mode] = _numerics(backbone, mode, numerics, tell)
    context = _Context(suite, registry, computed, tuple(selection.seeds))
    groups = [
        _group(context, mode, name, *loaded, data)
        for mode in modes
        for name in protocols[mode]
        for loaded in infos
        for data in opened
    ]
    return Plan(tuple(groups))


def _numerics(backbone: Backbone, mode: Mode, asked: Numerics, tell: Callable[[str], None]) -> Numerics:
    """Return how a checkpoint's runs of a mode are computed, with the engine that will run."""
    if mode == "full" or asked.engine == "torch":
        return asked.model_copy(update={"engine": "torch"})
    size = backbone.preprocess.input_size
    found = pinned(backbone.module, asked, (_BATCH, 3, size, size))
    if found.engine != asked.engine:
        tell(f"engine for {backbone.info.id}: {found.engine}")
    return found


def _same(one: BackboneInfo, other: BackboneInfo) -> bool:
    """Return whether two checkpoints are the same by content, so that their runs would have the same ids."""
    return (one.arch, one.weights_sha256, one.mask_sha256) == (other.arch, other.weights_sha256, other.mask_sha256)


def select_modes(names: Sequence[str], suite: Suite) -> list[Mode]:
    """Return the modes of a selection: all of the suite's, or those named."""
    for name in names:
        if name not in MODES:
            raise UnknownNameError("mode", name, MODES)
        if name not in suite.modes:
            raise InputError(f"suite {suite.id!r} has no mode {name!r}", f"it has: {', '.join(suite.modes)}")
    return [mode for mode in MODES if mode in (names or suite.modes)]


def select_protocols(mode: Mode, probes: Sequence[str], registry: Registry, suite: Suite) -> list[str]:
    """Return the names of a mode's protocols: the suite's own, or in linear mode one a probe that was asked for."""
    own = suite.modes[mode].protocol
    if mode != "linear" or not probes:
        return [own]
    for name in probes:
        if name not in PROBES:
            raise UnknownNameError("probe", name, PROBES)
    suits = registry.protocol(own, mode).probe
    return [own if name == suits else PROBE_PROTOCOLS[name] for name in dict.fromkeys(probes)]


def select_checkpoints(selection: Selection, registry: Registry, suite: Suite) -> list[Checkpoint]:
    """Return the checkpoints of a selection: registered ones, then the user's files."""
    files = [name for name in dict.fromkeys(selection.checkpoints) if is_file_name(name, registry)]
    ids = [name for name in selection.checkpoints if name not in files]
    if files and len(selection.archs) > 1:
        raise InputError("a checkpoint file has one architecture", "give --arch once")
    if files and not ids and (selection.methods or selection.sparsities):
        raise InputError("--method and --sparsity don't select among checkpoint files", "leave them out")
    own = [_entry(name, selection.archs[0] if selection.archs else None) for name in files]
    selected: list[Checkpoint] = []
    if ids or not files:
        archs = () if files else selection.archs
        selected = CheckpointFilter(ids, selection.methods, selection.sparsities, archs, selection.variants).select(
            registry, suite
        )
    both = [*selected, *own]
    for checkpoint in own:
        if sum(c.id == checkpoint.id for c in both) > 1:
            raise InputError(f"two checkpoints are called {checkpoint.id!r}", "rename the file")
    return both


def _entry(name: str, arch: str | None) -> Checkpoint:
    """Return the entry of a user's file, ``FILE`` or ``FILE#WEIGHTS``."""
    path, weights = split_choice(name)
    return entry_for_file(path, arch, weights)


def select_tasks(names: Sequence[str], registry: Registry, suite: Suite, places: Places) -> list[Task]:
    """Return the tasks of a selection: registered ones by id, task files, and image folders."""
    if not names:
        return [registry.task(name) for name in suite.tasks]
    tasks: dict[str, Task] = {}
    for name in dict.fromkeys(names):
        if name in registry.tasks or not _is_path(name):
            task = registry.task(name)
        else:
            path = Path(name).expanduser()
            task = read_task(path, places.data_dir) if path.suffix in (".yaml", ".yml") else folder_task(path)
        if task.id in tasks:
            raise InputError(f"two tasks are called {task.id!r}", "give one of them another id")
        tasks[task.id] = task
    return list(tasks.values())


def folder_task(path: Path) -> Task:
    """Return the task of an image folder, named after it."""
    name = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in path.resolve().name).lstrip("-._")
    return Task(id=name or "folder", loader="imagefolder", root=str(path.resolve()))


def _is_path(name: str) -> bool:
    """Return whether a task's name is meant as a path: an existing folder, or written like one."""
    return "/" in name or "\\" in name or Path(name).suffix in (".yaml", ".yml") or Path(name).is_dir()


@dataclass(frozen=True)
class _Context:
    """What all groups of a plan share."""

    suite: Suite
    registry: Registry
    numerics: dict[tuple[str, Mode], Numerics]
    seeds: tuple[int, ...]


def _group(
    context: _Context, mode: Mode, name: str, info: BackboneInfo, preprocess: Preprocess, data: TaskData
) -> Group:
    settings, task = context.suite.modes[mode], data.task
    overrides = context.registry.protocol(name, mode).without_sgd(task.overrides.get(mode, {}))
    protocol = context.registry.protocol(name, mode, overrides, f"task {task.id}")
    if protocol.grid is not None and len(data.val) == 0:
        raise InputError(
            f"protocol {protocol.name!r} chooses hyperparameters on val, but task {task.id!r} has no val images",
            "add a val/ folder, or use another suite",
        )
    transform = resolve_transform(preprocess, task, protocol)
    first = _first_spec(context, info, data, protocol, transform.sha256)
    seeds: Sequence[int] = context.seeds or settings.seeds
    if mode == "linear" and protocol.probe not in SEEDED_PROBES:
        seeds = (0,)  # every seed would give the same numbers
    runs = tuple(first.model_copy(update={"seed": seed}) for seed in dict.fromkeys(seeds))
    return Group(checkpoint=info.checkpoint, task=task, mode=mode, protocol=protocol, runs=runs)


def _first_spec(
    context: _Context, info: BackboneInfo, data: TaskData, protocol: Protocol, transform_sha256: str
) -> RunSpec:
    """Return the run of seed 0; the others differ in their seed alone."""
    checkpoint, task = info.checkpoint, data.task
    return RunSpec(
        arch=info.arch,
        family=checkpoint.family,
        weights_sha256=info.weights_sha256,
        mask_sha256=info.mask_sha256,
        split_sha256=data.split_sha256,
        transform_sha256=transform_sha256,
        mode=protocol.mode,
        probe=protocol.probe,
        protocol=protocol.resolved(),
        seed=0,
        checkpoint=checkpoint.id,
        method=checkpoint.method,
        variant=checkpoint.variant,
        sparsity=checkpoint.sparsity,
        sparsity_measured=info.sparsity_measured,
        sparsity_scope=checkpoint.sparsity_scope,
        distribution=checkpoint.distribution,
        nm=checkpoint.nm,
        reference=checkpoint.reference,
        twin_of=checkpoint.twin_of,
        upstream_top1=checkpoint.upstream.top1 if checkpoint.upstream else None,
        task=task.id,
        suite=context.suite.id if task.id in context.suite.tasks else None,
        protocol_name=protocol.name,
        metric=task.metric,
        numerics=context.numerics[checkpoint.id, protocol.mode],
    )
