"""Classifiers on frozen features. What a probe is called and sets is declared in :mod:`.declared`, without torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...common.lazy import importer

if TYPE_CHECKING:
    from .fitting import ProbeResult, fit, get, table

__all__ = ["ProbeResult", "fit", "get", "table"]

__getattr__ = importer(__name__, dict.fromkeys(__all__, ".fitting"))


def __dir__() -> list[str]:
    return sorted(__all__)
