"""Classifiers on frozen features. What a probe is called and sets is declared in :mod:`.declared`, without torch."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .fitting import ProbeResult, fit, get, table

__all__ = ["ProbeResult", "fit", "get", "table"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module(".fitting", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
