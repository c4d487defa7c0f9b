"""Collects layers, and reads the arguments of calls: what every file of calls needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from .graph import Layer, Value


class NotUnderstood(Exception):  # noqa: N818 - becomes an error where the layer's name is known
    """A call, or an option of it, that no layer corresponds to."""


@dataclass(frozen=True)
class Padded:
    """A value in zeros: (above, left, below, right). The layer that reads it takes them into its own padding."""

    value: Value
    zeros: tuple[int, int, int, int]


class Builder:
    """Collects the layers in the order of their calls."""

    def __init__(self) -> None:
        self.layers: list[Layer] = []

    def add(self, layer: Layer) -> Value:
        """Enter a layer; return its output."""
        self.layers.append(layer)
        return layer.y


def plain(x: object) -> Value:
    """Return what a layer reads, a map without zeros around it."""
    if not isinstance(x, Value):
        raise NotUnderstood("reads something else than one map")
    return x


def opened(x: object) -> tuple[Value, tuple[int, int, int, int]]:
    """Return what a layer reads, and the zeros around it: (above, left, below, right)."""
    return (x.value, x.zeros) if isinstance(x, Padded) else (plain(x), (0, 0, 0, 0))


def pair(value: Any) -> tuple[int, int]:
    """Return an option for height and width; one number stands for both."""
    first, second = value if isinstance(value, tuple | list) else (value, value)
    return int(first), int(second)


def square(value: Any, what: str) -> int:
    """Return an option that must be the same for height and width."""
    first, second = pair(value)
    if first != second or first < 1:
        raise NotUnderstood(f"{what} {value}")
    return first


def out_size(length: int, kernel: int, stride: int, zeros: int, *, ceil: bool = False, before: int = 0) -> int:
    """Return the length of an output; torch's ceil mode drops a window that would start beyond the input."""
    free = length + zeros - kernel
    if free < 0:
        raise NotUnderstood(f"its window is larger than its input ({length} + {zeros} zeros)")
    if not ceil:
        return free // stride + 1
    count = -(-free // stride) + 1
    return count - 1 if (count - 1) * stride >= length + before else count


def same_padding(
    x: Value, kernel: tuple[int, int], stride: int, dilation: tuple[int, int]
) -> tuple[int, int, int, int]:
    """Return TensorFlow's SAME padding: what lets the output be the input over the stride, the odd zero at the end."""
    totals = []
    for length, k, d in zip((x.height, x.width), kernel, dilation, strict=True):
        totals.append(max(0, (-(-length // stride) - 1) * stride + (k - 1) * d + 1 - length))
    (tall, wide) = totals
    return tall // 2, wide // 2, tall - tall // 2, wide - wide // 2


def is_timm(module: nn.Module, *names: str) -> bool:
    """Return whether a module is one of timm's layers of these names."""
    return type(module).__module__.startswith("timm.") and type(module).__name__ in names
