"""Calls that become activations other than clamps."""

from __future__ import annotations

from .builder import Builder, NotUnderstood
from .elementwise import activated
from .graph import Clamp, Curve


def sigmoid(b: Builder, name: str, x: object) -> object:
    """Apply 1 / (1 + exp(-x))."""
    return activated(b, name, x, Clamp(curve=Curve.SIGMOID))


def hardsigmoid(b: Builder, name: str, x: object) -> object:
    """Apply x + 3, clamped to 0 and 6, over 6."""
    return activated(b, name, x, Clamp(curve=Curve.HARDSIGMOID))


def silu(b: Builder, name: str, x: object) -> object:
    """Multiply by the sigmoid."""
    return activated(b, name, x, Clamp(curve=Curve.SILU))


def quick_gelu(b: Builder, name: str, x: object) -> object:
    """Apply x sigmoid(1.702 x)."""
    return activated(b, name, x, Clamp(curve=Curve.SILU, slope=1.702))


def hardswish(b: Builder, name: str, x: object) -> object:
    """Multiply by the hard sigmoid."""
    return activated(b, name, x, Clamp(curve=Curve.HARDSWISH))


def gelu(b: Builder, name: str, x: object, approximate: str = "none") -> object:
    """Multiply by the normal distribution up to x; exact, or by a hyperbolic tangent."""
    curves = {"none": Curve.GELU, "tanh": Curve.GELU_TANH}
    if approximate not in curves:
        raise NotUnderstood(f"approximation {approximate}")
    return activated(b, name, x, Clamp(curve=curves[approximate]))
