"""Numbers and orders drawn from names by sha256: the same on every machine and under every library version."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

_BITS = 52


def uniform(key: str, low: float = 0.0, high: float = 1.0) -> float:
    """Return a number in [low, high) that depends on ``key`` alone."""
    word = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") >> (64 - _BITS)
    return low + (high - low) * word / 2**_BITS


def shuffled(names: Iterable[str], key: str = "") -> list[str]:
    """Return distinct ``names`` in an order that depends on the names and on ``key``, not on the order given."""
    return sorted(names, key=lambda name: (hashlib.sha256(f"{key}/{name}".encode()).digest(), name))
