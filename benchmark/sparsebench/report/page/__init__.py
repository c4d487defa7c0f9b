"""The report as one HTML page that needs nothing else: a pure function of results, registry and measurements."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...common.lazy import importer
from .sources import Known, Layer, Network, Seen, Sources

if TYPE_CHECKING:
    from .render import page_html

__all__ = ["Known", "Layer", "Network", "Seen", "Sources", "page_html"]

__getattr__ = importer(__name__, {"page_html": ".render"})
