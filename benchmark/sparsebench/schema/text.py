"""Text from elsewhere (names in a file, answers of a server), made harmless before a person sees it."""

from __future__ import annotations

from typing import Any


def printable(text: str) -> str:
    r"""Return text on one line, its control characters (escape codes, line breaks, marks of direction) spelled out.

    ``"\x1b[31mred"`` comes back with a visible ``\x1b`` in place of the character that would colour a terminal.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def printable_tree(value: Any) -> Any:
    """Return nested lists and mappings with all their text made :func:`printable`."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {printable_tree(key): printable_tree(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(printable_tree(item) for item in value)
    return value
