"""YAML files to the registry: checkpoints, tasks, suites and protocols."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from .. import extensions
from ..common.paths import root_file
from ..schema import Checkpoint, InputError, Protocol, RegistryError, Suite, Task, UnknownNameError
from ..schema.yamlfile import Place, read_mapping, validate
from .catalogue import Registry
from .names import method_id

T = TypeVar("T")

_NOT_TASKS = {"suites", "protocols"}
_SUFFIXES = (".yaml", ".yml")


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
    _check_corruptions(task, fields.place)
    if any(test.root for test in task.tests.values()):
        tests = {
            name: test if test.root is None else test.model_copy(
                update={"root": _absolute(data_dir or path.parent, test.root, fields.place.at("tests", name, "root"))}
            )
            for name, test in task.tests.items()
        }  # fmt: skip
        task = task.model_copy(update={"tests": tests})
    if task.root is None or Path(task.root).is_absolute():
        return task
    root = _absolute(data_dir or path.parent, task.root, fields.place.at("root"))
    return task.model_copy(update={"root": root})


def _check_corruptions(task: Task, place: Place) -> None:
    """Raise RegistryError where a test set is of a corruption that there isn't, or is called like one.

    This is of task files alone: a plan's tasks may have corruptions that only its own process has declared.
    """
    if not task.tests:
        return
    known = extensions.known("corruptions")
    taken = {*known, *(one.family for one in known.values())}
    for name, test in task.tests.items():
        where = f"{place.at('tests', name)}: task {task.id!r}, test set {name!r}"
        if name in taken:
            raise RegistryError(f"{where}: --shift calls corruptions by this name", "give the test set another name")
        if test.corruption is not None and test.corruption not in known:
            error = UnknownNameError("corruption", test.corruption, known)
            raise RegistryError(f"{where}: {error.message}", error.hint)


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
