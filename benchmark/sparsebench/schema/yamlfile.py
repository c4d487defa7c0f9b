"""YAML that people write: read safely, nothing overwritten silently, errors that name file, line, entry and field."""

from __future__ import annotations

import reprlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from . import InputError, RegistryError, nearest
from .yamlnodes import NodeError, compose, is_merge, value_of

Model = TypeVar("Model", bound=BaseModel)

LARGEST = 16 * 2**20
"""Most bytes of a YAML file."""

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = 80
_repr.maxlevel = 3


@dataclass(frozen=True)
class Place:
    """Where something is written: a file and, as far as they are known, the line (from 1) and the node there."""

    path: Path
    node: yaml.Node | None = None
    line: int | None = None

    def at(self, *keys: Any) -> Place:
        """Return the place of what is below, or of the nearest thing around it that is in the file."""
        place = self
        for key in keys:
            below = _below(place.node, key)
            if below is None:
                break
            place = Place(self.path, *below)
        return place

    def __str__(self) -> str:
        """Return file and line: ``own.yaml, line 3``."""
        return str(self.path) if self.line is None else f"{self.path}, line {self.line}"


def _below(node: yaml.Node | None, key: Any) -> tuple[yaml.Node, int] | None:
    """Return the node under a key or at an index, and the line of the key or item."""
    if isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
        return node.value[key], node.value[key].start_mark.line + 1
    if not isinstance(node, yaml.MappingNode):
        return None
    for key_node, value in node.value:
        if key_node.value == key and not is_merge(key_node):
            return value, key_node.start_mark.line + 1
    for key_node, value in node.value:
        if is_merge(key_node):
            for merged in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                if (found := _below(merged, key)) is not None:
                    return found
    return None


class Document(dict[str, Any]):
    """The mapping of a YAML file, and where it is written."""

    place: Place


def read_mapping(path: Path) -> Document:
    """Read a YAML file whose top level is a mapping with text keys.

    Raises
    ------
    RegistryError
        If the file is missing, isn't YAML, or isn't such a mapping, or holds what no entry can hold: a value that is
        not text, a finite number, true, false, null, a list or a mapping; see :mod:`.yamlnodes`.
    """
    try:
        node, content = _parsed(_read(path))
    except NodeError as error:
        where = "" if error.line is None else f", line {error.line}"
        raise RegistryError(f"{path}{where}: {error.text}", "correct the YAML") from error
    if not isinstance(content, dict):
        raise RegistryError(
            f"{path} must hold a mapping of names to entries", "see the files that come with sparsebench"
        )
    document = Document(content)
    document.place = Place(path, node, 1)
    return document


@lru_cache(maxsize=64)
def _parsed(text: str) -> tuple[yaml.Node | None, Any]:
    """Return a document's root and its value, neither to be changed: every call of the library reads the same files."""
    node = compose(text)
    return node, None if node is None else value_of(node)


def _read(path: Path) -> str:
    hint = "give the path of a YAML file"
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise RegistryError(f"{path} can't be read: {reason}", hint) from error
    if len(data) > LARGEST:
        raise RegistryError(f"{path} can't be read: it is larger than {LARGEST >> 20} MiB", hint)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise RegistryError(f"{path}, line {line}: can't be read: it is not UTF-8 text", "save it as UTF-8") from error


def read_value(text: str, what: str) -> Any:
    """Return the value of a piece of YAML on a command line: ``0.01``, ``true``, ``[10, 20]``.

    Raises
    ------
    InputError
        If it isn't one value; the message starts with ``what``.
    """
    try:
        node = compose(text)
        return None if node is None else value_of(node)
    except NodeError as error:
        raise InputError(f"{what}: {error.text}", "write it as in YAML: 0.01, true, [10, 20]") from error


def validate(model: type[Model], fields: Any, *, path: Path | Place, entry: str) -> Model:
    """Check one entry against its model.

    Parameters
    ----------
    model : type
        The model.
    fields : Any
        What should be a mapping of its fields.
    path : Path or Place
        The file, or the entry's place in it: the message then names the line.
    entry : str
        The entry's name.

    Raises
    ------
    RegistryError
        Naming file, entry, field and value of the first mistake, and how many more there are.
    """
    place = path if isinstance(path, Place) else Place(path)
    if not isinstance(fields, dict):
        raise RegistryError(
            f"{place}: entry {entry!r} is {_repr.repr(fields)}, not a mapping of fields", "indent its fields below it"
        )
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        mistakes = error.errors(include_url=False)
        first = min(mistakes, key=lambda mistake: mistake["type"] != "extra_forbidden")  # a misspelt field also misses
        field = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        hint = None
        if first["type"] == "extra_forbidden":
            known = _fields_at(model, first["loc"])
            near = nearest(str(first["loc"][-1]), known)
            message = "there is no such field"
            hint = "did you mean " + " or ".join(near) + "?" if near else "fields: " + ", ".join(known)
        elif first["type"] == "missing":
            message, hint = "the field is missing", "add it"
        elif field:
            message = f"{message} (is {_repr.repr(first['input'])})"
        others = len(mistakes) - 1
        more = f"; {others} more mistake{'s' if others > 1 else ''}" if others else ""
        where = f", field {field}" if field else ""
        raise RegistryError(f"{place.at(*first['loc'])}: entry {entry!r}{where}: {message}{more}", hint) from error


def _fields_at(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """Return the fields of the model that a location's last part belongs to, as far as annotations say."""
    for part in location[:-1]:
        field = model.model_fields.get(str(part))
        inner = next((a for a in _arguments(field.annotation) if _is_model(a)), None) if field else None
        if inner is None:
            break
        model = inner
    return list(model.model_fields)


def _arguments(annotation: Any) -> tuple[Any, ...]:
    return (annotation, *(a for part in getattr(annotation, "__args__", ()) for a in _arguments(part)))


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
