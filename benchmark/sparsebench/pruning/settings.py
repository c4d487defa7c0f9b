"""A pruning method's own settings: a pydantic model, and what is said where a value is none of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic.fields import FieldInfo

from ..schema import InputError, UnknownNameError

Value = float | str
"""What a setting may be given as: numbers, or words where the setting is one of several words."""

S = TypeVar("S", bound="MethodSettings")


class MethodSettings(BaseModel):
    """Base of a method's settings: one field per setting, with default, bounds and description.

    Attributes
    ----------
    rising : tuple of str
        Settings, points of the training from 0 to 1, of which none may be before the one named ahead of it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)

    rising: ClassVar[tuple[str, ...]] = ()

    @model_validator(mode="after")
    def _in_order(self) -> MethodSettings:
        points = [getattr(self, key) for key in self.rising]
        if points != sorted(points):
            raise ValueError(", ".join(f"{k}={p:g}" for k, p in zip(self.rising, points, strict=True)))
        return self


def read_settings(model: type[S], method: str, given: Mapping[str, Value]) -> S:
    """Return a method's settings: its defaults, but for the values given.

    Raises
    ------
    UnknownNameError
        If there is no setting of a name.
    InputError
        If a value is none of its setting, naming both, with what it may be.
    """
    for key in given:
        if key not in model.model_fields:
            raise UnknownNameError(f"setting of {method}", key, tuple(model.model_fields))
    try:
        return model.model_validate(dict(given))
    except ValidationError as error:
        first = error.errors()[0]
        if not first["loc"]:
            raise InputError(
                f"{first['msg'].removeprefix('Value error, ')} are no schedule of {method}",
                "they are points of the training from 0 to 1, one after the other",
            ) from None
        key = str(first["loc"][0])
        field = model.model_fields[key]
        raise InputError(
            f"{key}={shown(given[key])} is not a setting of {method}",
            f"it is {meaning(field)}; the default is {shown(field.default)}",
        ) from None


def shown(value: Any) -> str:
    """Return a setting's value as it is written after ``KEY=``."""
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def meaning(field: FieldInfo) -> str:
    """Return what a setting may be, for example ``a whole number from 1 on``."""
    if get_origin(field.annotation) is Literal:
        return " or ".join(str(word) for word in get_args(field.annotation))
    what = "a whole number" if field.annotation is int else "a number"
    bounds = {name: getattr(part, name) for part in field.metadata for name in ("ge", "le") if hasattr(part, name)}
    least = f" from {bounds['ge']:g}" if "ge" in bounds else ""
    most = f"{' to' if least else ' up to'} {bounds['le']:g}" if "le" in bounds else " on" if least else ""
    return f"{what}{least}{most}"
