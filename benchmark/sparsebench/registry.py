"""The registry: YAML files to checkpoints, tasks, suites and protocols, and the selection among them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from .names import method_id, method_names
from .resources import root_file
from .schema import Checkpoint, InputError, Mode, Protocol, RegistryError, Suite, Task, UnknownNameError
from .yamlfile import read_mapping, validate

T = TypeVar("T")

_NOT_TASKS = {"suites.yaml", "protocols.yaml"}


@dataclass(frozen=True)
class Registry:
    """Everything that is registered, by id."""

    checkpoints: dict[str, Checkpoint] = field(default_factory=dict)
    tasks: dict[str, Task] = field(default_factory=dict)
    suites: dict[str, Suite] = field(default_factory=dict)
    protocols: dict[str, Protocol] = field(default_factory=dict)

    def checkpoint(self, name: str) -> Checkpoint:
        """Return a checkpoint by id, or raise :class:`UnknownNameError`."""
        return _get(self.checkpoints, "checkpoint", name)

    def task(self, name: str) -> Task:
        """Return a task by id, or raise :class:`UnknownNameError`."""
        return _get(self.tasks, "task", name)

    def suite(self, name: str) -> Suite:
        """Return a suite by id, or raise :class:`UnknownNameError`."""
        return _get(self.suites, "suite", name)

    def protocol(self, name: str, mode: Mode, overrides: dict[str, Any] | None = None, task: str = "task") -> Protocol:
        """Return a protocol by name, with a task's overrides, or raise an :class:`InputError`."""
        protocol = _get(self.protocols, "protocol", name)
        if protocol.mode != mode:
            raise RegistryError(f"protocol {name!r} is for mode {protocol.mode}, not {mode}", "correct the suite")
        if not overrides:
            return protocol
        fields = {**protocol.model_dump(), **overrides}
        return validate(Protocol, fields, path=Path(f"{task}: overrides"), entry=name)

    def methods(self) -> list[str]:
        """Return the ids of all methods: the known ones, then those that only a registry names."""
        return list(dict.fromkeys([*method_names(), *(c.method for c in self.checkpoints.values())]))


def _get(table: dict[str, T], kind: str, name: str) -> T:
    if name not in table:
        raise UnknownNameError(kind, name, table)
    return table[name]


def load_registry(
    registry_files: Iterable[Path] = (), tasks_dirs: Iterable[Path] = (), data_dir: Path | None = None
) -> Registry:
    """Read the built-in registry and the user's own files.

    Parameters
    ----------
    registry_files : iterable of Path
        More files like ``checkpoints.yaml``; relative checkpoint paths in them are relative to the file.
    tasks_dirs : iterable of Path
        More folders like ``tasks/``; they may have their own ``suites.yaml`` and ``protocols.yaml``.
    data_dir : Path, optional
        Where data sets live: relative roots of the user's tasks are relative to it, without it to their YAML's folder.

    Raises
    ------
    RegistryError
        If a file is malformed, an id is registered twice, or an entry names another one that doesn't exist.
    """
    registry = Registry()
    for path in (root_file("checkpoints.yaml"), *registry_files):
        _read_checkpoints(registry, path)
    for folder in (root_file("tasks"), *tasks_dirs):
        _read_tasks_dir(registry, folder, data_dir)
    try:
        _check_links(registry)
    except InputError as error:
        files = ", ".join(str(path) for path in (*registry_files, *tasks_dirs))
        if not files:
            raise
        raise RegistryError(f"{files}: {error.message}", error.hint) from error
    return registry


def builtin_protocols() -> Registry:
    """Return a registry of the built-in protocols alone, which is quick to read."""
    registry = Registry()
    _read_protocols(registry, root_file("tasks") / "protocols.yaml")
    return registry


def read_task(path: Path, data_dir: Path | None = None) -> Task:
    """Read one task file; a relative root is relative to ``data_dir``, without it to the file's folder."""
    task = validate(Task, {"id": path.stem, **read_mapping(path)}, path=path, entry=path.stem)
    if task.root is not None and not Path(task.root).expanduser().is_absolute():
        task = task.model_copy(update={"root": str(((data_dir or path.parent) / task.root).resolve())})
    return task


def _read_checkpoints(registry: Registry, path: Path) -> None:
    for name, fields in read_mapping(path).items():
        if name in registry.checkpoints:
            raise RegistryError(f"{path}: checkpoint {name!r} is already registered", "give it another id")
        if not isinstance(fields, dict):
            validate(Checkpoint, fields, path=path, entry=name)
        entry = dict(fields)
        if isinstance(entry.get("method"), str):
            entry["method"] = method_id(entry["method"])
        checkpoint = validate(Checkpoint, {"id": name, **entry}, path=path, entry=name)
        source = checkpoint.file
        if not source.path.startswith(("package:", "python:", "cache:")):
            absolute = str((path.parent / Path(source.path).expanduser()).resolve())
            checkpoint = checkpoint.model_copy(update={"file": source.model_copy(update={"path": absolute})})
        registry.checkpoints[name] = checkpoint


def _read_tasks_dir(registry: Registry, folder: Path, data_dir: Path | None) -> None:
    if not folder.is_dir():
        raise RegistryError(f"{folder} is not a folder of task files", "give the folder that holds the YAML files")
    for path in sorted(folder.glob("*.yaml")):
        if path.name in _NOT_TASKS:
            continue
        task = read_task(path, data_dir)
        _add(registry.tasks, task.id, task, "task", path)
    _read_protocols(registry, folder / "protocols.yaml")
    for name, fields in _optional(folder / "suites.yaml").items():
        suite = validate(Suite, _named(fields, "id", name), path=folder / "suites.yaml", entry=name)
        _add(registry.suites, name, suite, "suite", folder / "suites.yaml")


def _read_protocols(registry: Registry, path: Path) -> None:
    for name, fields in _optional(path).items():
        _add(
            registry.protocols,
            name,
            validate(Protocol, _named(fields, "name", name), path=path, entry=name),
            "protocol",
            path,
        )


def _optional(path: Path) -> dict[str, Any]:
    return read_mapping(path) if path.exists() else {}


def _named(fields: Any, key: str, name: str) -> Any:
    return {key: name, **fields} if isinstance(fields, dict) else fields


def _add(table: dict[str, T], name: str, value: T, kind: str, path: Path) -> None:
    if name in table:
        raise RegistryError(f"{path}: {kind} {name!r} is already registered", "give it another id")
    table[name] = value


def _check_links(registry: Registry) -> None:
    for checkpoint in registry.checkpoints.values():
        for what, name in (("reference", checkpoint.reference), ("twin_of", checkpoint.twin_of)):
            if name is not None and name not in registry.checkpoints:
                error = UnknownNameError("checkpoint", name, registry.checkpoints)
                raise RegistryError(f"checkpoint {checkpoint.id!r}, field {what}: {error.message}", error.hint)
    for suite in registry.suites.values():
        for name in suite.checkpoints:
            if name not in registry.checkpoints:
                error = UnknownNameError("checkpoint", name, registry.checkpoints)
                raise RegistryError(f"suite {suite.id!r}: {error.message}", error.hint)
        for task in suite.tasks:
            if task not in registry.tasks:
                error = UnknownNameError("task", task, registry.tasks)
                raise RegistryError(f"suite {suite.id!r}: {error.message}", error.hint)
        for mode, settings in suite.modes.items():
            registry.protocol(settings.protocol, mode)


@dataclass(frozen=True)
class CheckpointFilter:
    """Which checkpoints to take; an empty field takes all that the suite's architectures have."""

    ids: Sequence[str] = ()
    methods: Sequence[str] = ()
    sparsities: Sequence[float] = ()
    archs: Sequence[str] = ()
    variants: Sequence[str] = ()

    def select(self, registry: Registry, suite: Suite) -> list[Checkpoint]:
        """Return the selected checkpoints in the registry's order.

        A suite may name the checkpoints that it is about; others come when asked for by id or by variant (``all`` takes
        every one). N:M patterns come only when asked for by id or by their sparsity. Every selector must be
        satisfiable: a name or a sparsity that nothing has is an error rather than an empty plan.

        Raises
        ------
        InputError
            If a name is unknown, or nothing has the asked-for combination (with what there is).
        """
        if self.ids:
            candidates = [registry.checkpoint(name) for name in dict.fromkeys(self.ids)]
            for c in candidates:
                if self.archs and not {c.arch, c.family} & set(self.archs):
                    raise InputError(f"checkpoint {c.id} has architecture {c.arch}", "leave --arch out")
        else:
            candidates = self._of_variant(self._of_arch(registry, suite), suite)
        methods = [method_id(name) for name in self.methods]
        for given, name in zip(self.methods, methods, strict=True):
            if name not in registry.methods():
                raise UnknownNameError("method", given, registry.methods())
        of_method = [c for c in candidates if not methods or c.method in methods]
        for given, name in zip(self.methods, methods, strict=True):
            if not any(c.method == name for c in of_method):
                there = sorted({c.method for c in candidates})
                raise InputError(
                    f"no checkpoint of method {given!r} is registered here", f"there are: {', '.join(there)}"
                )
        return self._of_sparsity(of_method)

    def _of_arch(self, registry: Registry, suite: Suite) -> list[Checkpoint]:
        archs = set(self.archs or suite.archs)
        known = {a for c in registry.checkpoints.values() for a in (c.arch, c.family)} | set(suite.archs)
        for arch in archs:
            if arch not in known:
                raise UnknownNameError("architecture", arch, known)
        return [c for c in registry.checkpoints.values() if {c.arch, c.family} & archs]

    def _of_variant(self, candidates: list[Checkpoint], suite: Suite) -> list[Checkpoint]:
        if "all" in self.variants:
            return candidates
        if self.variants:
            known = sorted({c.variant for c in candidates if c.variant})
            for variant in self.variants:
                if variant not in known:
                    raise UnknownNameError("variant", variant, known)
            return [c for c in candidates if c.variant in self.variants]
        own = [c for c in candidates if c.id in suite.checkpoints]
        return own or candidates

    def _of_sparsity(self, candidates: list[Checkpoint]) -> list[Checkpoint]:
        if not self.sparsities:
            return [c for c in candidates if self.ids or c.distribution != "nm"]
        selected = [c for c in candidates if any(abs(c.sparsity - s) < 1e-9 for s in self.sparsities)]
        for sparsity in self.sparsities:
            if not any(abs(c.sparsity - sparsity) < 1e-9 for c in selected):
                there = ", ".join(f"{s:g}" for s in sorted({c.sparsity for c in candidates}))
                of = " of " + ", ".join(self.methods) if self.methods else ""
                hint = f"there are: {there}"
                if sparsity > 1 and any(abs(c.sparsity - sparsity / 100) < 1e-9 for c in candidates):
                    hint = f"a sparsity is a fraction: did you mean {sparsity / 100:g}?"
                raise InputError(f"no checkpoint{of} at sparsity {sparsity:g}", hint)
        return selected
