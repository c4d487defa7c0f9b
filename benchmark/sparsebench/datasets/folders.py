"""List the images of a folder of class folders, and recognise whether it has a split of its own."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ..schema import DatasetError
from .decode import SUFFIXES, is_image
from .splitting import SplitName

_VAL = ("val", "valid", "validation")


@dataclass(frozen=True)
class Entry:
    """An image file: its path relative to the root (with ``/``), its class, and its split if the folder has splits."""

    name: str
    label: str
    split: SplitName | None


def list_images(root: Path) -> list[Entry]:
    """List a folder's images by split, class and path.

    Raises
    ------
    DatasetError
        If a folder can't be listed, a class has no images, splits differ in classes, or there are fewer than two
        classes.
    """
    layout = _splits(root)
    if not layout:
        entries = _entries(root, root, None)
    else:
        entries = [entry for split, folder in layout.items() for entry in _entries(root, folder, split)]
    _assert_classes(root, entries)
    return entries


def _splits(root: Path) -> dict[SplitName, Path]:
    """Return the folder of each split, or nothing where the root holds the class folders itself."""
    folders: dict[str, Path] = {}
    for name, folder in _subfolders(root).items():
        if name.lower() in folders and name.lower() in ("train", "test", *_VAL):
            raise DatasetError(f"{root}: has {folders[name.lower()].name}/ and {name}/", hint="keep one of them")
        folders[name.lower()] = folder
    if "train" not in folders or not _subfolders(folders["train"]):
        return {}
    test = folders.get("test")
    val = next((folders[name] for name in _VAL if name in folders), None)
    if test is not None and val is not None:
        return {"train": folders["train"], "val": val, "test": test}
    last = test or val
    if last is None:
        raise DatasetError(
            f"{root}: has train/ but neither test/ nor val/", hint="add one, or give the folder of classes as the root"
        )
    return {"train": folders["train"], "test": last}


def _subfolders(folder: Path) -> dict[str, Path]:
    try:
        return {
            entry.name: entry for entry in sorted(folder.iterdir()) if not entry.name.startswith(".") and entry.is_dir()
        }
    except OSError as error:
        raise _cannot_list(error, folder) from error


def _cannot_list(error: OSError, folder: Path) -> DatasetError:
    reason = error.strerror or type(error).__name__
    return DatasetError(f"{error.filename or folder}: can't be listed: {reason}", hint="check that you may read it")


def _entries(root: Path, folder: Path, split: SplitName | None) -> list[Entry]:
    classes = _subfolders(folder)
    if not classes:
        raise DatasetError(f"{folder}: holds no class folders", hint="put each class's images into a folder of its own")
    entries: list[Entry] = []
    for label, place in classes.items():
        images = _images(place)
        if not images:
            endings = " ".join(sorted(SUFFIXES))
            raise DatasetError(f"{place}: the class has no images", hint=f"fill or remove it; images end in {endings}")
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


def _images(folder: Path) -> list[Path]:
    """List the images under a class folder; a link is followed, but not to where the walk has been or came from."""

    def fail(error: OSError) -> None:
        raise _cannot_list(error, folder) from error

    top = folder.resolve()
    seen = set(top.parents)
    found: list[Path] = []
    for place, below, files in os.walk(folder, followlinks=True, onerror=fail):
        real = Path(place).resolve()
        if real in seen:
            below.clear()
            continue
        seen.add(real)
        below[:] = [name for name in below if not name.startswith(".")]
        found.extend(Path(place) / name for name in files if is_image(name))
    return sorted(found)


def _assert_classes(root: Path, entries: list[Entry]) -> None:
    by_split: dict[SplitName | None, set[str]] = {}
    for entry in entries:
        by_split.setdefault(entry.split, set()).add(entry.label)
    everywhere = set.union(*by_split.values())
    for split, labels in by_split.items():
        lacking = sorted(everywhere - labels)
        if lacking:
            raise DatasetError(
                f"{root}: the {split} images have no class {', '.join(repr(name) for name in lacking[:10])}",
                hint="each split must have the same class folders",
            )
    if len(everywhere) < 2:
        raise DatasetError(
            f"{root}: only one class, {min(everywhere)!r}", hint="classification needs at least two class folders"
        )
