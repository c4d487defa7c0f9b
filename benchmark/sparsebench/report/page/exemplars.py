"""Exemplars as thumbnails: images that a checkpoint and its reference see differently, each in the page once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING

from . import texts

if TYPE_CHECKING:
    from ..agreement import Row
    from ..populations import Exemplar
    from .sources import Sources

_MOST, _IN_ALL = 12, 750  # thumbnails in a part of the page, and about as many in all
_CHARACTERS = 200_000  # of all images


@dataclass(frozen=True)
class Thumbnail:
    """An image: its task, its class, and the classes that a checkpoint and its reference predict for it."""

    task: str
    anchor: str
    label: str
    first: str
    second: str


class Gallery:
    """Chooses exemplars to show, and keeps their images.

    Parameters
    ----------
    sources : Sources
        Where results and images are from.
    parts : int
        How many parts of the page may show some: the more there are, the fewer each has.
    """

    def __init__(self, sources: Sources, parts: int) -> None:
        self.images: dict[str, str] = {}
        """Addresses (``data:``) by the id of the image's element."""
        self._sources = sources
        self._most = max(1, min(_MOST, _IN_ALL // max(1, parts)))
        self._left = _CHARACTERS
        self._ids: dict[tuple[str, str], str] = {}
        self._known = {task for task, seen in sources.known.seen.items() if seen.image is not None}
        self._common = Counter(
            (row.found.task, one.image)
            for row in (sources.agreement if self._known else ())
            for one in row.found.populations.exemplars
        )

    @property
    def licences(self) -> list[tuple[str, str]]:
        """Tasks whose images are shown, with their licence."""
        seen = self._sources.known.seen
        return [(texts.text(task), texts.text(seen[task].licence)) for task in sorted({task for task, _ in self._ids})]

    def of(self, rows: list[Row]) -> list[Thumbnail]:
        """Return some exemplars of a checkpoint, of each task in turn; those of most checkpoints come first."""
        by_task = [
            [(row.found.task, one) for one in sorted(row.found.populations.exemplars, key=self._order(row.found.task))]
            for row in rows
            if row.found.task in self._known
        ]
        found: list[Thumbnail] = []
        for task, one in (item for turn in zip_longest(*by_task) for item in turn if item is not None):
            if len(found) == self._most:
                break
            if anchor := self._anchor(task, one.image):
                names = (self._sources.class_name(task, number) for number in (one.label, one.first, one.second))
                found.append(Thumbnail(texts.text(task), anchor, *names))
        return found

    def _order(self, task: str) -> Callable[[Exemplar], tuple[int, str]]:
        return lambda one: (-self._common[task, one.image], one.image)

    def _anchor(self, task: str, image: str) -> str:
        """Return the id of an image's element; empty where the image isn't there or the page would grow too large."""
        if (task, image) not in self._ids:
            show = self._sources.known.seen[task].image
            address = show(image) if show is not None and self._left > 0 else None
            if address is None:
                return ""
            self._left -= len(address)
            self._ids[task, image] = f"i-{len(self._ids)}"
            self.images[self._ids[task, image]] = address
        return self._ids[task, image]
