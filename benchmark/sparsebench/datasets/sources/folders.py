"""List the images of a folder of class folders, and recognise whether it has a split of its own."""

from __future__ import annotations

import os
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from ...common.progress import notify
from ...schema import DatasetError
from ..images.decode import SUFFIXES, is_image
from ..splits.splitting import SplitName
from .leftout import LeftOut, is_hidden
from .splitfolders import find_splits
from .splitnames import split_of


@dataclass(frozen=True)
class Entry:
    """An image file: its path relative to the root (with ``/``), its class, and its split if the folder has splits."""

    name: str
    label: str
    split: SplitName | None


def list_images(root: Path) -> list[Entry]:
    """List a folder's images by split, class and path, and warn of what it holds besides them.

    Raises
    ------
    DatasetError
        If a folder can't be listed, a class has no images, splits are unclear or differ in classes, or there are fewer
        than two classes.
    """
    left = LeftOut()
    folders = _subfolders(root, left)
    layout = find_splits(root, folders, _subfolders)
    if not layout:
        entries = _entries(root, folders, None, left)
    else:
        entries = []
        for split, folder in layout.items():
            entries += _entries(root, _subfolders(folder, left, folder.relative_to(root)), split, left)
        for name in folders.keys() - {folder.name for folder in layout.values()}:
            left.folders[name] = len(_images(folders[name], LeftOut()))
    _assert_classes(root, entries)
    left.warn(root)
    deep = sum(entry.name.count("/") > (1 if entry.split is None else 2) for entry in entries)
    if deep:
        notify(f"{root}: {deep} of {len(entries)} images lie in folders inside class folders, and count for the class")
    return entries


def list_test_images(root: Path) -> list[Entry]:
    """List the images of a folder that is all for testing, or of its ``test/``, else ``val/``, with class folders.

    Raises
    ------
    DatasetError
        If a folder can't be listed, there are no class folders, or one has no images.
    """
    left = LeftOut()
    folders = _subfolders(root, left)
    splits = {split_of(name): folder for name, folder in folders.items()}
    place = splits.get("test") or splits.get("val")
    inside = {} if place is None else _subfolders(place, left, place.relative_to(root))
    entries = _entries(root, inside or folders, None, left)
    left.warn(root)
    return entries


def _subfolders(folder: Path, left: LeftOut | None = None, place: Path | None = None) -> dict[str, Path]:
    """Return a folder's folders by name; ``left`` counts what else there is, under the folder's ``place``."""
    left = LeftOut() if left is None else left
    found: dict[str, Path] = {}
    try:
        for entry in sorted(folder.iterdir()):
            if entry.is_dir() and not is_hidden(entry.name):
                found[entry.name] = entry
            elif entry.is_symlink() and not entry.exists():
                raise DatasetError(f"{entry}: a link to what isn't there", hint="mend or remove it")
            elif is_image(entry.name):
                left.loose.append(str((place or Path()) / entry.name))
            else:
                left.file(entry.name)
    except OSError as error:
        raise _cannot_list(error, folder) from error
    return found


def _cannot_list(error: OSError, folder: Path) -> DatasetError:
    reason = error.strerror or type(error).__name__
    return DatasetError(f"{error.filename or folder}: can't be listed: {reason}", hint="check that you may read it")


def _entries(root: Path, classes: dict[str, Path], split: SplitName | None, left: LeftOut) -> list[Entry]:
    if not classes:
        hint = "put each class's images into a folder of its own"
        if left.tables:
            hint += f"; labels in tables ({', '.join(left.tables)}) aren't read"
        raise DatasetError(f"{root / split if split else root}: holds no class folders", hint=hint)
    entries: list[Entry] = []
    for label, place in classes.items():
        mine = LeftOut()
        images = _images(place, mine)
        if not images:
            endings = " ".join(sorted(SUFFIXES))
            there = f"; it has {', '.join(mine.parts())}" if mine.parts() else ""
            raise DatasetError(
                f"{place}: the class has no images{there}", hint=f"fill or remove it; images end in {endings}"
            )
        left.add(mine)
        entries.extend(Entry(_readable(image.relative_to(root).as_posix(), root), label, split) for image in images)
    return entries


def _readable(name: str, root: Path) -> str:
    """Return a file's name, which must be text: it goes into records and manifests."""
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise DatasetError(
            f"{root}: the name {os.fsencode(name)!r} is not UTF-8", hint="rename the file or folder"
        ) from error
    return name


def _images(folder: Path, left: LeftOut) -> list[Path]:
    """List the images under a class folder; a link is followed, but not to where the walk has been or came from."""

    def fail(error: OSError) -> None:
        raise _cannot_list(error, folder) from error

    top = folder.resolve()
    seen = set(top.parents)
    found: list[Path] = []
    for place, below, files in os.walk(folder, followlinks=True, onerror=fail):
        real = Path(place).resolve()
        if real in seen:
            left.links.append(str(Path(place).relative_to(folder.parent)))
            below.clear()
            continue
        seen.add(real)
        left.hidden += sum(is_hidden(name) for name in below)
        below[:] = sorted(name for name in below if not is_hidden(name))
        for name in sorted(files):
            if is_image(name):
                found.append(Path(place) / name)
            else:
                left.file(name)
    return sorted(found)


def _assert_classes(root: Path, entries: list[Entry]) -> None:
    by_split: dict[SplitName | None, set[str]] = {}
    for entry in entries:
        by_split.setdefault(entry.split, set()).add(entry.label)
    everywhere = set.union(*by_split.values())
    for split, labels in by_split.items():
        lacking = sorted(everywhere - labels)
        if lacking:
            like = [(name, other) for name in lacking for other in sorted(labels) if _plain(name) == _plain(other)]
            hint = "each split must have the same class folders"
            if like:
                hint += f": {like[0][0]!a} and {like[0][1]!a} are written differently"
            raise DatasetError(
                f"{root}: the {split} images have no class {', '.join(repr(name) for name in lacking[:10])}", hint=hint
            )
    if len(everywhere) < 2:
        only = min(everywhere)
        hint = "classification needs at least two class folders"
        if len(_subfolders(root / only) if (root / only).is_dir() else ()) > 1:
            hint += f"; is {root / only} meant?"
        raise DatasetError(f"{root}: only one class, {only!r}", hint=hint)


def _plain(name: str) -> str:
    """Return a name as it is compared where case, spaces at its ends and the form of its accents don't count."""
    return unicodedata.normalize("NFC", name).casefold().strip()
