"""Where extensions are declared: modules of ours, entry points of other packages, and a user's own files."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import pkgutil
import sys
import warnings
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from ..schema.errors import InputError


class ExtensionWarning(UserWarning):
    """An extension of another package that can't be used."""


def modules(package: str) -> Iterator[ModuleType]:
    """Yield the modules of a package, imported, by name."""
    found = importlib.import_module(package)
    for module in sorted(pkgutil.iter_modules(found.__path__), key=lambda m: m.name):
        yield importlib.import_module(f"{package}.{module.name}")


def installed(group: str) -> Iterator[tuple[str, Any]]:
    """Yield what other packages declare in a group of entry points, each with where it is from.

    One that can't be loaded is left out, with an :class:`ExtensionWarning`: it must not break what doesn't need it.
    """
    for point in sorted(entry_points(group=group), key=lambda p: (p.name, p.value)):
        origin = f"{point.value} of {point.dist.name}" if point.dist is not None else point.value
        try:
            yield origin, point.load()
        except Exception as error:  # somebody else's module may raise anything
            warnings.warn(f"{group}: {origin} can't be loaded: {error}", ExtensionWarning, stacklevel=2)


def file_hash(path: Path, noun: str) -> str:
    """Return the sha256 (first 8 hex digits) of a file's content.

    Raises
    ------
    InputError
        If there is no such file, or it can't be read; ``noun`` is what it should declare.
    """
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    except FileNotFoundError:
        raise InputError(f"there is no file {path}", f"correct the path, or give the name of a known {noun}") from None
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror or error}", "give a Python file") from error


def run_file(path: Path, noun: str) -> ModuleType:
    """Run a user's Python file, and return it as a module.

    The module is entered in ``sys.modules`` under a name with the hash of its content, so that two files of one name
    are two modules.

    Raises
    ------
    InputError
        If the file isn't there, or raises; the message has the file, the line and what it raised.
    """
    path = path.expanduser()
    name = f"sparsebench_{noun.replace(' ', '_')}_{path.stem}_{file_hash(path, noun)}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path} is not a Python file", "its name ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pydantic look a class's module up
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # a user's file may raise anything
        del sys.modules[name]
        raise InputError(
            f"{path}{_line_of(error, path)} can't be run: {type(error).__name__}: {error}", "correct the file"
        ) from error
    return module


def _line_of(error: Exception, path: Path) -> str:
    """Return the line of a file in which an exception arose, as words to follow its name."""
    if isinstance(error, SyntaxError):
        return f", line {error.lineno}," if error.lineno else ""
    trace, line = error.__traceback__, None
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    return f", line {line}," if line else ""
