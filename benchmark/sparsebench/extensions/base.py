"""What every extension declares: its name, what it is, what it needs, and where its work is done."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, ClassVar, TypeAlias

from pydantic import BaseModel, ConfigDict

Work: TypeAlias = str | Callable[..., Any]
"""What does an extension's work: a function, or ``module:function``, which is imported when it is used."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")


class Settings(BaseModel):
    """Base of an extension's own settings: one field per setting, with a default; unknown ones are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)

    @property
    def chooses(self) -> bool:
        """Whether something is chosen on the validation split; a probe's settings may say so."""
        return False


def load(work: Work) -> Callable[..., Any]:
    """Return the function that ``module:function`` names; a function is returned as it is."""
    if not isinstance(work, str):
        return work
    module, _, name = work.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return found


@dataclass(frozen=True, kw_only=True)
class Extension:
    """Base of all declarations.

    Parameters
    ----------
    name : str
        What it is called on the command line, in files and in tables.
    summary : str
        What it is, in a few words.
    title : str
        Its name in print; by default its name.
    place : int
        Where it comes in lists: lower first, then by name.
    modules : tuple of str
        Modules that it needs and that sparsebench doesn't bring.
    extra : str
        The extra of sparsebench that installs them; without one, they are said to be installed by their own names.
    here : function or ``module:function``, optional
        What else it needs: called without arguments, it returns what is missing on this machine, or None.
    """

    noun: ClassVar[str] = "extension"

    name: str
    summary: str
    title: str = ""
    place: int = 1000
    modules: tuple[str, ...] = ()
    extra: str = ""
    here: Work | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name.partition("@")[0]):
            raise ValueError(f"{self.name!r} is no name of a {self.noun}: letters, digits and ._+- make one")

    @property
    def install(self) -> str:
        """The command that installs what it needs."""
        return f'pip install "sparsebench[{self.extra}]"' if self.extra else f"pip install {' '.join(self.modules)}"

    def missing(self) -> str | None:
        """Return what is missing to use it here, and what to do; None where nothing is."""
        if any(find_spec(name.partition(".")[0]) is None for name in self.modules):
            return f"needs: {self.install}"
        reason: str | None = None if self.here is None else load(self.here)()
        return reason
