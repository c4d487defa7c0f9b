"""YAML that people write: read safely, without silent overwriting, with errors that name file, entry and field."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from .schema import RegistryError, nearest

Model = TypeVar("Model", bound=BaseModel)


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """A safe loader that refuses a key given twice; in C, ten times as fast, where PyYAML was built with it."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        if isinstance(key, (dict, list)):
            raise yaml.constructor.ConstructorError(None, None, "a key must be plain text", key_node.start_mark)
        if key in seen:
            raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is given twice", key_node.start_mark)
        seen.add(key)
    return dict(loader.construct_mapping(node, deep=True))


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def read_mapping(path: Path) -> dict[str, Any]:
    """Read a YAML file whose top level is a mapping with text keys.

    Raises
    ------
    RegistryError
        If the file is missing, isn't YAML, or isn't such a mapping.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 - a SafeLoader
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise RegistryError(f"{path} can't be read: {reason}", "give the path of a YAML file") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise RegistryError(f"{path}{where}: {problem}", "correct the YAML") from error
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise RegistryError(
            f"{path} must hold a mapping of names to entries", "see the files that come with sparsebench"
        )
    return content


def validate(model: type[Model], fields: Any, *, path: Path, entry: str) -> Model:
    """Check one entry against its model.

    Raises
    ------
    RegistryError
        Naming file, entry, field and value of the first mistake, and how many more there are.
    """
    if not isinstance(fields, dict):
        raise RegistryError(
            f"{path}: entry {entry!r} is {fields!r}, not a mapping of fields", "indent its fields below it"
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
            near = nearest(str(first["loc"][-1]), model.model_fields)
            message = "there is no such field"
            hint = "did you mean " + " or ".join(near) + "?" if near else "fields: " + ", ".join(model.model_fields)
        elif first["type"] == "missing":
            message, hint = "the field is missing", "add it"
        elif field:
            message = f"{message} (is {first['input']!r})"
        others = len(mistakes) - 1
        more = f"; {others} more mistake{'s' if others > 1 else ''}" if others else ""
        where = f", field {field}" if field else ""
        raise RegistryError(f"{path}: entry {entry!r}{where}: {message}{more}", hint) from error
