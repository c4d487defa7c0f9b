"""Everything that is registered, by id."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from .. import extensions
from ..schema import Checkpoint, Mode, Protocol, RegistryError, Suite, Task, UnknownNameError
from ..schema.yamlfile import Place
from .names import method_names
from .protocols import parse_name, with_settings

T = TypeVar("T")


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
        protocol = self.protocols.get(base) or _default_protocol(base) or _get(self.protocols, "protocol", base)
        if protocol.mode != mode:
            raise RegistryError(f"protocol {name!r} is for mode {protocol.mode}, not {mode}", "correct the suite")
        changes = {**own, **(settings or {})}
        if not overrides and not changes:
            return protocol
        return with_settings(protocol, changes, protocol.own_overrides(overrides or {}), task)

    def place(self, kind: str, name: str) -> Place:
        """Return where an entry is written, as far as it is known."""
        return self.places.get((kind, name), Place(Path("registry")))

    def methods(self) -> list[str]:
        """Return the ids of all methods: the known ones, then those that only a registry names."""
        return list(dict.fromkeys([*method_names(), *(c.method for c in self.checkpoints.values())]))


def _default_protocol(name: str) -> Protocol | None:
    """Return the protocol of a probe that has none registered: its settings' defaults."""
    for probe in map(partial(extensions.get, "probes"), extensions.names("probes")):
        if probe.protocol_name == name and not probe.protocol:
            return Protocol(name=name, mode="linear", probe=probe.name)
    return None


def _get(table: dict[str, T], kind: str, name: str) -> T:
    if name not in table:
        raise UnknownNameError(kind, name, table)
    return table[name]
