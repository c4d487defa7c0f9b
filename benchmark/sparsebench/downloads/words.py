"""Texts, addresses and errors of others, as one line of ours: printable, short, and without passwords."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from ..schema.text import printable

_LENGTH = 80
_INVALID = "an address that is not a valid URL"
_IN_URL = re.compile(r"(\w://)(?:[^\s/?#]*@)?([^\s?#'\"]*)(\?[^\s'\")]*)?")
_CONNECTION = re.compile(r"^<?\w[\w.]*Connection(Pool)?[( ].*?[)>]: ")


def shown(text: str) -> str:
    """Return a foreign text for one line of ours: no control characters, no line breaks, no log-ins, not long."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    line = _IN_URL.sub(lambda found: found[1] + found[2] + ("?..." if found[3] else ""), line)
    return line if len(line) <= _LENGTH else line[: _LENGTH - 3] + "..."


def public(address: str) -> str:
    """Return an address without what may be secret: user, password, and the values of a query."""
    if "//" not in address:
        return printable(address)
    try:
        parts = urlsplit(address)
        query = "?..." if parts.query else ""
        return printable(f"{parts.scheme}://{_place(address)}{parts.path}{query}")
    except ValueError:
        return _INVALID


def host(address: str) -> str:
    """Return the server of an address, with its port, or the whole address where it names none."""
    try:
        return printable(_place(address) if "//" in address else address)
    except ValueError:
        return _INVALID


def _place(address: str) -> str:
    parts = urlsplit(address)
    name = parts.hostname or ""
    name = f"[{name}]" if ":" in name else name
    return name if parts.port is None else f"{name}:{parts.port}"


def innermost(error: BaseException) -> str:
    """Return the last cause of a library's error in words: the message of the error that it wraps."""
    for _ in range(20):
        inner = getattr(error, "reason", None) or (error.args[-1] if error.args else None)
        if not isinstance(inner, BaseException):
            break
        error = inner
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return shown(_CONNECTION.sub("", str(text)))
