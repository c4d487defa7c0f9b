"""Calls that clamp or pad, or leave a value as it is."""

from __future__ import annotations

import math
from typing import Any

from .builder import Builder, NotUnderstood, Padded, plain
from .graph import Clamp, Elementwise
from .views import whole


def activated(b: Builder, name: str, x: object, activation: Clamp) -> object:
    """Apply an activation."""
    source, again = whole(x)
    return again(b.add(Elementwise(name=name, x=source, y=source.like(), clamp=activation)))


def _clamped(b: Builder, name: str, x: object, low: float, high: float) -> object:
    return activated(b, name, x, Clamp(low, high))


def relu(b: Builder, name: str, x: object) -> object:
    """Clamp at zero."""
    return _clamped(b, name, x, 0.0, math.inf)


def relu6(b: Builder, name: str, x: object) -> object:
    """Clamp to 0 and 6."""
    return _clamped(b, name, x, 0.0, 6.0)


def hardtanh(b: Builder, name: str, x: object, min_val: float = -1.0, max_val: float = 1.0) -> object:
    """Clamp to two limits."""
    return _clamped(b, name, x, float(min_val), float(max_val))


def clamp(b: Builder, name: str, x: object, min: float | None = None, max: float | None = None) -> object:
    """Clamp to limits, of which either may be missing."""
    return _clamped(b, name, x, -math.inf if min is None else float(min), math.inf if max is None else float(max))


def pad(b: Builder, name: str, x: object, pad: Any, mode: str = "constant", value: float | None = None) -> object:
    """Put zeros around a map."""
    source = plain(x)
    if mode != "constant" or value not in (None, 0) or len(pad) != 4 or min(pad) < 0 or source.flat:
        raise NotUnderstood(f"padding {tuple(pad)}, {mode}, {value}")
    left, right, top, bottom = (int(p) for p in pad)
    return Padded(source, (top, left, bottom, right)) if any(pad) else source


def same_value(b: Builder, name: str, x: object, *rest: object, **options: object) -> object:
    """Leave a value as it is."""
    return x


def dropout(b: Builder, name: str, x: object, p: float = 0.5, training: bool = True) -> object:
    """Leave a value as it is, unless something would be dropped."""
    if training:
        raise NotUnderstood("drops at random in eval mode too")
    return x
