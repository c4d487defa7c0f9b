"""The registry: YAML files to checkpoints, tasks, suites and protocols, and the selection among them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from ..common.paths import root_file
from ..schema import Checkpoint, InputError, Mode, Protocol, RegistryError, Suite, Task, UnknownNameError
from ..schema.yamlfile import Place, read_mapping, validate
from .names import method_id, method_names
from .protocols import parse_name, with_settings

T = TypeVar("T")

_NOT_TASKS = {"suites", "protocols"}
_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True)
class Registry:
    """Everything that is registered, by id."""

    checkpoints: dict[str, Checkpoint] = field(default_factory=dict)
    tasks: dict[str, Task] = field(default_factory=dict)
    suites: dict[str, Suite] = field(default_factory=dict)
    protocols: dict[str, Protocol] = field(default_factory=dict)
    places: dict[tuple[str, str], Place] = field(default_factory=dict)
    """By kind and id, where each entry is written."""

    def checkpoint(self, name: str) -> Checkpoint:
        """Return a checkpoint by id, or raise :class:`UnknownNameError`."""
        return _get(self.checkpoints, "checkpoint", name)

    def task(self, name: str) -> Task:
        """Return a task by id, or raise :class:`UnknownNameError`."""
        return _get(self.tasks, "task", name)

    def suite(self, name: str) -> Suite:
        """Return a suite by id, or raise :class:`UnknownNameError`."""
        return _get(self.suites, "suite", name)

    def protocol(
        self,
        name: str,
        mode: Mode,
        overrides: Mapping[str, Any] | None = None,
        task: str = "task",
        settings: Mapping[str, Any] | None = None,
    ) -> Protocol:
        """Return a protocol by name, with a task's overrides, then with ``settings`` changed.

        The name may have settings of its own (see :mod:`.protocols`); the result's name has all of them.

        Raises
        ------
        InputError
            If there is no such protocol, it is another mode's, or a setting or value can't be used.
        """
        base, own = parse_name(name)
        protocol = _get(self.protocols, "protocol", base)
        if protocol.mode != mode:
            raise RegistryError(f"protocol {name!r} is for mode {protocol.mode}, not {mode}", "correct the suite")
        changes = {**own, **(settings or {})}
        if not overrides and not changes:
            return protocol
        return with_settings(protocol, changes, protocol.without_sgd(dict(overrides or {})), task)

    def place(self, kind: str, name: str) -> Place:
        """Return where an entry is written, as far as it is known."""
        return self.places.get((kind, name), Place(Path("registry")))

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
    _check_links(registry)
    return registry


def load_tasks(tasks_dirs: Iterable[Path] = (), data_dir: Path | None = None) -> Registry:
    """Return a registry of tasks, protocols and suites, without checkpoints, which is quicker to read."""
    registry = Registry()
    for folder in (root_file("tasks"), *tasks_dirs):
        _read_tasks_dir(registry, folder, data_dir)
    return registry


def builtin_protocols() -> Registry:
    """Return a registry of the built-in protocols alone, which is quick to read."""
    registry = Registry()
    _read_protocols(registry, root_file("tasks") / "protocols.yaml")
    return registry


def read_task(path: Path, data_dir: Path | None = None) -> Task:
    """Read one task file; a relative root is relative to ``data_dir``, without it to the file's folder."""
    fields = read_mapping(path)
    task = validate(Task, {"id": path.stem, **fields}, path=fields.place, entry=path.stem)
    if task.root is None or Path(task.root).is_absolute():
        return task
    root = _absolute(data_dir or path.parent, task.root, fields.place.at("root"))
    return task.model_copy(update={"root": root})


def _absolute(folder: Path, name: str, place: Place) -> str:
    """Return a path of an entry, relative to ``folder``, as an absolute one."""
    try:
        return str((folder / Path(name).expanduser()).resolve())
    except (OSError, RuntimeError, ValueError) as error:  # no such user, a loop of links, a name too long
        raise RegistryError(f"{place}: the path {name!r} can't be used: {error}", "correct the path") from error


def _read_checkpoints(registry: Registry, path: Path) -> None:
    document = read_mapping(path)
    for name, fields in document.items():
        place = document.place.at(name)
        if isinstance(fields, dict) and isinstance(fields.get("method"), str):
            fields = {**fields, "method": method_id(fields["method"])}
        checkpoint = validate(Checkpoint, _named(fields, "id", name), path=place, entry=name)
        source = checkpoint.file
        if not source.path.startswith(("package:", "python:", "cache:")):
            absolute = _absolute(path.parent, source.path, place.at("file", "path"))
            checkpoint = checkpoint.model_copy(update={"file": source.model_copy(update={"path": absolute})})
        _add(registry, registry.checkpoints, checkpoint.id, checkpoint, "checkpoint", place)


def _read_tasks_dir(registry: Registry, folder: Path, data_dir: Path | None) -> None:
    files = _yaml_files(folder)
    for path in files:
        if path.stem not in _NOT_TASKS:
            task = read_task(path, data_dir)
            _add(registry, registry.tasks, task.id, task, "task", Place(path))
    for path in files:
        if path.stem == "protocols":
            _read_protocols(registry, path)
        elif path.stem == "suites":
            document = read_mapping(path)
            for name, fields in document.items():
                suite = validate(Suite, _named(fields, "id", name), path=document.place.at(name), entry=name)
                _add(registry, registry.suites, suite.id, suite, "suite", document.place.at(name))


def _yaml_files(folder: Path) -> list[Path]:
    """List the YAML files of a tasks folder, hidden ones left out."""
    hint = "give the folder that holds the YAML files"
    try:
        if not folder.is_dir():
            raise RegistryError(f"{folder} is not a folder of task files", hint)
        found = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in _SUFFIXES]
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise RegistryError(f"{folder} can't be listed: {reason}", hint) from error
    files = [path for path in found if not path.name.startswith(".")]
    if not files:
        raise RegistryError(f"{folder} holds no task files", f"{hint} (NAME.yaml, suites.yaml, protocols.yaml)")
    return files


def _read_protocols(registry: Registry, path: Path) -> None:
    document = read_mapping(path)
    for name, fields in document.items():
        if "+" in name:
            where = document.place.at(name)
            raise RegistryError(f"{where}: protocol {name!r} has a '+' in its name", "it stands before settings")
        protocol = validate(Protocol, _named(fields, "name", name), path=document.place.at(name), entry=name)
        _add(registry, registry.protocols, protocol.name, protocol, "protocol", document.place.at(name))


def _named(fields: Any, key: str, name: str) -> Any:
    return {key: name, **fields} if isinstance(fields, dict) else fields


def _add(registry: Registry, table: dict[str, T], name: str, value: T, kind: str, place: Place) -> None:
    if name in table:
        raise RegistryError(f"{place}: {kind} {name!r} is already registered", "give it another id")
    table[name] = value
    registry.places[kind, name] = place


def _check_links(registry: Registry) -> None:
    for checkpoint in registry.checkpoints.values():
        place = registry.place("checkpoint", checkpoint.id)
        for what, name in (("reference", checkpoint.reference), ("twin_of", checkpoint.twin_of)):
            if name is not None:
                owner = f"checkpoint {checkpoint.id!r}, field {what}"
                _check_link(registry.checkpoint, name, owner, place.at(what))
    for suite in registry.suites.values():
        place, owner = registry.place("suite", suite.id), f"suite {suite.id!r}"
        for i, name in enumerate(suite.checkpoints):
            _check_link(registry.checkpoint, name, owner, place.at("checkpoints", i))
        for i, name in enumerate(suite.tasks):
            _check_link(registry.task, name, owner, place.at("tasks", i))
        for mode, settings in suite.modes.items():
            of_mode = partial(registry.protocol, mode=mode)
            _check_link(of_mode, settings.protocol, owner, place.at("modes", mode, "protocol"))
            if settings.other_tasks is not None:
                _check_link(of_mode, settings.other_tasks, owner, place.at("modes", mode, "other_tasks"))


def _check_link(find: Callable[[str], object], name: str, owner: str, place: Place) -> None:
    """See that what an entry names is registered."""
    try:
        find(name)
    except InputError as error:
        raise RegistryError(f"{place}: {owner}: {error.message}", error.hint) from error


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
