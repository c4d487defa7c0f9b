"""JSON from strangers: UTF-8, every key once, every number a number that fits."""

from __future__ import annotations

import json
import math
from typing import Any

from . import limits
from .problems import BundleError


def read_json(data: bytes, where: str) -> dict[str, Any]:
    """Return the object in a JSON text.

    Raises
    ------
    BundleError
        If it isn't UTF-8, isn't JSON, holds NaN, an infinity or a number beyond 64 bits, a key twice, or no object, or
        is nested deeper than anything that a bundle has.
    """
    try:
        found = json.loads(
            data.decode("utf-8"),
            parse_constant=_no_number,
            parse_float=_number,
            parse_int=_integer,
            object_pairs_hook=_once,
        )
    except UnicodeDecodeError as error:
        raise BundleError("member", where, f"is not UTF-8 (byte {error.start})") from error
    except RecursionError as error:
        raise BundleError("member", where, "is nested too deep") from error
    except (ValueError, MemoryError) as error:
        raise BundleError("member", where, f"is not JSON that can be read: {error}") from error
    if not isinstance(found, dict):
        raise BundleError("member", where, "holds no JSON object")
    if _deep(found):
        raise BundleError("member", where, "is nested too deep")
    return found


def most_values(data: bytes) -> int:
    """Return how many values a JSON text has at most, without reading it."""
    return 1 + data.count(b",") + data.count(b"[") + data.count(b"{")


def _deep(value: Any) -> bool:
    """Return whether lists and objects lie in each other on too many levels."""
    level = [value]
    for _ in range(limits.DEPTH):
        inside = (item.values() if isinstance(item, dict) else item for item in level)
        level = [item for items in inside for item in items if isinstance(item, dict | list)]
        if not level:
            return False
    return True


def difference(given: Any, known: Any, path: str = "") -> str | None:
    """Return where a document first differs from what it was read as, in words; None where all of it was understood.

    Fields that ``given`` lacks have been filled in, and are no difference; a field that ``known`` lacks is one. An
    empty list and an empty mapping are alike: fields have changed from one to the other.
    """
    if given in ([], {}) and known in ([], {}):
        return None
    if isinstance(given, dict) and isinstance(known, dict):
        for key, value in given.items():
            here = f"{path}.{key}" if path else str(key)
            if key not in known:
                return f"{here} is no field"
            if (found := difference(value, known[key], here)) is not None:
                return found
        return None
    if isinstance(given, list) and isinstance(known, list) and len(given) == len(known):
        parts = (difference(a, b, f"{path}[{k}]") for k, (a, b) in enumerate(zip(given, known, strict=True)))
        return next((part for part in parts if part is not None), None)
    alike = isinstance(given, bool) == isinstance(known, bool) and given == known
    return None if alike else f"{path} is {_short(given)}, its contents give {_short(known)}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 70 else f"{text[:66]} ..."


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice!r} is there twice")
    return found


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number")


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is too large")
    return number


def _integer(text: str) -> int:
    if len(text) > 20 or not -(2**63) <= (number := int(text)) < 2**63:
        raise ValueError(f"{text[:20]} is too large")
    return number
