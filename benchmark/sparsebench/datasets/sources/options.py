"""Validate a task's ``options`` with its loader's model: a mistyped option is named before anything runs."""

from __future__ import annotations

from typing import TypeVar

from pydantic import ValidationError

from ...schema import RegistryError, Strict, Task

M = TypeVar("M", bound=Strict)


class NoOptions(Strict):
    """For loaders that take no options."""


def parse_options(model: type[M], task: Task) -> M:
    """Return ``task.options`` as ``model``.

    Raises
    ------
    RegistryError
        If a field is unknown or has a value that the loader can't use; the message names it.
    """
    try:
        return model.model_validate(task.options)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "options"
        known = ", ".join(model.model_fields) or "none"
        raise RegistryError(
            f"task {task.id!r}: options.{field}: {first['msg']}, found {first['input']!r}",
            hint=f"options of loader {task.loader!r}: {known}",
        ) from error
