"""A protocol of one's own: a registered one with some settings changed, named by its contents.

``cvpr22-full+lr=0.01,epochs=20`` is ``cvpr22-full`` with these two settings. Such a name says all there is to know, and
may be given wherever a protocol's name is.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..schema import Grid, InputError, Parallel, Protocol, UnknownNameError
from ..schema.protocol import probe_named, settings_of
from ..schema.yamlfile import read_value, validate

_BETWEEN = re.compile(r",(?=[A-Za-z_][\w.]*=)")


def parse_settings(texts: Iterable[str]) -> dict[str, Any]:
    """Return the settings of ``KEY=VALUE`` texts; one text may hold several with commas between them.

    Values are written as in YAML: ``lr=0.01``, ``milestones=[10,20]``, ``nesterov=true``, ``grid.lr=[0.01,0.1]``.

    Raises
    ------
    InputError
        If a text isn't of this form, a value can't be read, or a key is given twice.
    """
    settings: dict[str, Any] = {}
    for text in texts:
        for piece in _BETWEEN.split(text):
            key, equals, value = piece.partition("=")
            if not equals or not key.strip() or not value.strip():
                raise InputError(f"--set {piece!r} is not KEY=VALUE", "write it as in --set lr=0.01 epochs=20")
            if key.strip() in settings:
                raise InputError(f"--set {key.strip()} is given twice", "give each setting once")
            settings[key.strip()] = read_value(value, f"--set {key.strip()}")
    return settings


def given_settings(value: Any) -> dict[str, Any]:
    """Return the settings of a mapping, of one or several ``KEY=VALUE`` texts, or of None.

    Raises
    ------
    InputError
        If it is something else, or :func:`parse_settings` can't read the texts.
    """
    if value is None or isinstance(value, Mapping):
        return dict(value or {})
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, (list, tuple)) or not all(isinstance(text, str) for text in texts):
        raise InputError(f"set={value!r} holds no settings", 'give a mapping such as {"lr": 0.01}')
    return parse_settings(texts)


def parse_name(name: str) -> tuple[str, dict[str, Any]]:
    """Return the name of the registered protocol that a name starts with, and the settings after it."""
    base, plus, rest = name.partition("+")
    return base, parse_settings([rest]) if plus else {}


def with_settings(
    protocol: Protocol, settings: Mapping[str, Any], overrides: Mapping[str, Any] | None = None, task: str = "task"
) -> Protocol:
    """Return a registered protocol with a task's overrides, then with settings changed, under the name of its contents.

    Parameters
    ----------
    protocol : Protocol
        A registered protocol.
    settings : mapping
        New values by field; ``grid.lr`` is the field of a field.
    overrides : mapping, optional
        What the task changes; it isn't part of the name, a setting that replaces it is.
    task : str
        What the overrides are said to be of.

    Raises
    ------
    InputError
        If the protocol has no such setting (with those that are near), or a value can't be used.
    """
    before: dict[str, Any] = protocol.model_dump(exclude_none=True)
    fields = {**before, **(overrides or {})}
    if overrides:
        fields = validate(Protocol, fields, path=Path(f"{task}: overrides"), entry=protocol.name).model_dump(
            exclude_none=True
        )
    if not settings:
        return validate(Protocol, fields, path=Path(f"{task}: overrides"), entry=protocol.name)
    known = known_settings(protocol)
    for key, value in settings.items():
        if key not in known:
            raise UnknownNameError(f"setting of protocol {protocol.name}", str(key), known)
        _put(fields, key, value)
    changed = validate(Protocol, fields, path=Path("settings"), entry=protocol.name)
    replaced = {key for key in settings if key.partition(".")[0] in (overrides or {})}
    named = changed.model_copy(update={"name": _name(protocol, changed, replaced)})
    if {"epochs", "milestones"} & settings.keys():
        _warn_of_milestones(named, None if "milestones" in settings else protocol)
    return named


def known_settings(protocol: Protocol) -> list[str]:
    """Return the settings that a protocol's mode and probe have, with those inside others as ``grid.lr``."""
    own = settings_of(protocol.probe)
    declared = probe_named(protocol.probe)
    models: dict[str, Any] = {"grid": Grid, "parallel": Parallel}
    models |= {name: f.annotation for name, f in declared.settings.model_fields.items()} if declared else {}
    nested = {name: model for name, model in models.items() if hasattr(model, "model_fields")}
    return [*own, *(f"{name}.{inner}" for name in own if name in nested for inner in nested[name].model_fields)]


def _put(fields: dict[str, Any], key: str, value: Any) -> None:
    outer, dot, inner = key.partition(".")
    if not dot:
        fields[outer] = value
    else:
        before = fields.get(outer)
        fields[outer] = {**(before if isinstance(before, dict) else {}), inner: value}


def _name(protocol: Protocol, changed: Protocol, replaced: set[str]) -> str:
    """Return the name of a changed protocol: what differs, in the order of the fields."""
    before, after = _flat(protocol), _flat(changed)
    differing = [key for key in after if key not in before or after[key] != before[key] or key in replaced]
    if not differing:
        return protocol.name
    return f"{protocol.name}+" + ",".join(f"{key}={_written(after[key])}" for key in differing)


def _flat(protocol: Protocol) -> dict[str, Any]:
    """Return a protocol's settings, those inside others under ``grid.lr``."""
    found: dict[str, Any] = {}
    for name, value in protocol.model_dump(mode="json").items():
        if isinstance(value, dict):
            found |= {f"{name}.{inner}": below for inner, below in value.items()}
        elif name not in ("name", "source"):
            found[name] = value
    return found


def _written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _warn_of_milestones(changed: Protocol, before: Protocol | None) -> None:
    """Warn of milestones that training doesn't reach, and say which would be in proportion to those ``before``."""
    beyond = ", ".join(str(m) for m in changed.milestones if m >= changed.epochs)
    if not beyond:
        return
    text = f"protocol {changed.name}: training ends after {changed.epochs} epochs, before milestones {beyond}"
    if before is not None:
        scaled = sorted({max(1, round(m * changed.epochs / before.epochs)) for m in before.milestones})
        text += f"; in proportion they would be milestones={_written(scaled)}"
    warnings.warn(text, stacklevel=2)


def settings_texts(settings: Mapping[str, Any]) -> Sequence[str]:
    """Return settings as they are written on a command line."""
    return [f"{key}={_written(value)}" for key, value in settings.items()]
