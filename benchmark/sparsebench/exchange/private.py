"""Texts without what they say about a machine: its folders, its name, its user."""

from __future__ import annotations

import getpass
import re
import socket
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

_PATH = re.compile(
    r"""file:/+[^\s"']+            # an address of a file
    | (?<![\w/:.~<>-])~?/(?:[^\s"'/:,;()\[\]]+/)*[^\s"'/:,;()\[\]]+/?   # an absolute path, or one from home
    | (?<![\w])[A-Za-z]:\\[^\s"']+ # one of Windows
    | \\\\[^\s"']+                 # and one of its shares
    """,
    re.VERBOSE,
)
_LOG_IN = re.compile(r"(?<=://)[^/@\s]+@")
_COMMON = {"", "localhost", "root", "user", "admin", "ubuntu"}
_SHORTEST = 3


def cleaned(text: str) -> str:
    """Return a text in which paths are their last names, and this machine and its user have no name."""
    for place in _places():
        text = text.replace(place, "")
    text = _PATH.sub(lambda match: re.split(r"[/\\]", match.group().rstrip("/\\"))[-1], _LOG_IN.sub("", text))
    for name, word in _names().items():
        text = re.sub(rf"(?<![\w-]){re.escape(name)}(?![\w-])", word, text)
    return text


def cleaned_tree(value: Any) -> Any:
    """Return nested lists and mappings with their texts :func:`cleaned`; keys stay."""
    if isinstance(value, str):
        return cleaned(value)
    if isinstance(value, dict):
        return {key: cleaned_tree(item) for key, item in value.items()}
    return [cleaned_tree(item) for item in value] if isinstance(value, list | tuple) else value


def paths_in(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield the texts in nested lists and mappings that hold a path of a machine, with their places."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from paths_in(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from paths_in(item, f"{path}[{number}]")
    elif isinstance(value, str) and _PATH.search(value):
        yield path, value


@cache
def _places() -> tuple[str, ...]:
    """Return the folders whose names say who works here, the longer first: the home and the current one."""
    found = {str(Path.home()), str(Path.cwd())} - {"/"}
    return tuple(f"{place.rstrip('/')}/" for place in sorted(found, key=len, reverse=True))


@cache
def _names() -> dict[str, str]:
    """Return this machine's names and its user's, with the word for each."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = ""
    host = socket.gethostname()
    found = {host: "HOST", host.partition(".")[0]: "HOST", user: "USER"}
    return {name: word for name, word in found.items() if len(name) >= _SHORTEST and name.lower() not in _COMMON}
