"""Count what a folder holds that is not read, and say it in one line."""

from __future__ import annotations

import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

_TABLES = frozenset({".csv", ".tsv", ".json", ".jsonl", ".xml", ".txt", ".parquet", ".xlsx", ".mat"})
_CLUTTER = frozenset({"__MACOSX", "@eaDir", "lost+found", "Thumbs.db", "desktop.ini"})
_SHOWN = 4


def is_hidden(name: str) -> bool:
    """Return whether a file or folder is hidden, or is what a system puts beside people's own."""
    return name.startswith(".") or name in _CLUTTER


@dataclass
class LeftOut:
    """What isn't read of a folder: files by kind, and links into folders that are read already."""

    hidden: int = 0
    others: Counter[str] = field(default_factory=Counter)
    loose: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    folders: dict[str, int] = field(default_factory=dict)
    tables: list[str] = field(default_factory=list)

    def file(self, name: str) -> None:
        """Count a file that is hidden, or isn't an image by its ending."""
        if is_hidden(name):
            self.hidden += 1
            return
        ending = Path(name).suffix.lower()
        self.others[ending or "no ending"] += 1
        if ending in _TABLES and len(self.tables) < _SHOWN:
            self.tables.append(name)

    def add(self, more: LeftOut) -> None:
        """Add what was left out of a folder below."""
        self.hidden += more.hidden
        self.others += more.others
        self.loose += more.loose
        self.links += more.links
        self.tables = [*self.tables, *more.tables][:_SHOWN]

    def parts(self) -> list[str]:
        """Return what was left out, in words."""
        found = []
        if self.loose:
            found.append(f"{_count(len(self.loose), 'image')} outside class folders, such as {self.loose[0]}")
        for name, images in self.folders.items():
            found.append(f"{name}/, which is no split, with {_count(images, 'image')}")
        if self.others:
            kinds = [f"{n} {ending}" for ending, n in self.others.most_common(_SHOWN)]
            more = ", ..." if len(self.others) > _SHOWN else ""
            total = _count(sum(self.others.values()), "file")
            found.append(f"{total} with an ending that is no image's ({', '.join(kinds)}{more})")
        if self.links:
            found.append(f"{_count(len(self.links), 'link')} to folders read already, such as {self.links[0]}")
        if self.hidden:
            found.append(f"{_count(self.hidden, 'hidden file')} or folder{'' if self.hidden == 1 else 's'}")
        return found

    def warn(self, root: Path) -> None:
        """Warn of what was left out, if anything was."""
        parts = self.parts()
        if parts:
            tables = f"; labels are folders' names, {', '.join(self.tables)} was not read" if self.tables else ""
            warnings.warn(f"{root}: left out: {'; '.join(parts)}{tables}", stacklevel=2)


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"
