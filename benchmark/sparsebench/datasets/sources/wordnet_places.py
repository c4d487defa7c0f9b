"""Where images labelled by WordNet id lie: class folders, file names, a list beside them, an ``.npz``, an archive."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...schema import DatasetError
from ..images.decode import is_image, read_rgb
from ..images.scan import check_files
from .folders import list_images
from .ilsvrc import ARCHIVES, read_archives
from .jpegs_npz import read_npz
from .layouts.base import bad_line, inside, read_lines

if TYPE_CHECKING:
    from PIL import Image

_ID = re.compile(r"(?<![A-Za-z0-9])n\d{8}(?!\d)")
_LISTS = {"val_annotations.txt": "\t", "LOC_val_solution.csv": ","}
"""Lists of image and WordNet id: Tiny ImageNet's own, and the one of ImageNet's competition on Kaggle."""

_LISTED = ("", "images", "val/images", "Data/CLS-LOC/val", "ILSVRC/Data/CLS-LOC/val")
LAYOUTS = "val/<WordNet id>/..., images whose names hold the id, ILSVRC2012's archives, or an .npz of JPEGs"
"""What is understood, for people."""


@dataclass(frozen=True)
class Labelled:
    """Images with the WordNet ids that they show, in any order; the fields are those of a :class:`..base.Split`."""

    place: Path
    names: tuple[str, ...]
    wnids: tuple[str, ...]
    hashes: tuple[str, ...]
    load: Callable[[int], Image.Image]
    file: Callable[[int], Path] | None = None


def wordnet_id(name: str) -> str | None:
    """Return the WordNet id in the name of a file, folder or class; None without any."""
    match = _ID.search(name)
    return match[0] if match else None


def holds_images(place: Path) -> bool:
    """Return whether a place looks as if it held images by WordNet id."""
    if place.is_file():
        return place.suffix.lower() == ".npz"
    if not place.is_dir():
        return False
    if _list_of(place) is not None or any((place / name).is_file() for name in ARCHIVES):
        return True
    return any(
        wordnet_id(entry.name) for folder in (place / "val", place) if folder.is_dir() for entry in _inside(folder)
    )


def read_place(place: Path, cache_dir: Path | None) -> Labelled:
    """Read the images of a place that :func:`holds_images`.

    Parameters
    ----------
    place : Path
        A folder, or an ``.npz``.
    cache_dir : Path or None
        Where the results of the check are remembered.

    Raises
    ------
    DatasetError
        If an image is broken or has no WordNet id, or a list or archive is damaged.
    """
    if place.is_file():
        return _from_npz(place)
    val = place / "val"
    path = _list_of(place)
    if path is not None:
        return _listed(place, path, cache_dir)
    if val.is_dir() and any(wordnet_id(entry.name) for entry in _inside(val)):
        return _from_folder(val, cache_dir)
    if any((place / name).is_file() for name in ARCHIVES):
        names, wnids, hashes, load = read_archives(place, cache_dir)
        return Labelled(place, names, wnids, hashes, load)
    return _from_folder(place, cache_dir)


def _list_of(place: Path) -> Path | None:
    paths = [folder / name for folder in (place, place / "val") for name in _LISTS]
    return next((path for path in paths if path.is_file()), None)


def _inside(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise DatasetError(f"{folder}: can't be listed: {reason}", hint="check that you may read it") from error


def _from_npz(path: Path) -> Labelled:
    classes, (part,) = read_npz(path, ("val",))
    wnids = [wordnet_id(name) for name in classes]
    if None in wnids:
        raise DatasetError(
            f"{path}: the class {classes[wnids.index(None)]!r} names no WordNet id", "name classes by it: n01443537"
        )
    wrong = [label for label in part.labels.tolist() if not 0 <= label < len(classes)]
    if wrong:
        raise DatasetError(f"{path}: the val label {wrong[0]} is none of the {len(classes)} classes")
    hashes = tuple(hashlib.sha256(part.data(i)).hexdigest() for i in range(len(part.labels)))
    names = tuple(f"val/{i:05d}" for i in range(len(hashes)))
    return Labelled(path, names, tuple(str(wnids[label]) for label in part.labels), hashes, part.load)


def _from_folder(folder: Path, cache_dir: Path | None) -> Labelled:
    """Read class folders named by WordNet id, else images whose own names hold it."""
    if any(entry.is_dir() and wordnet_id(entry.name) for entry in _inside(folder)):
        found = [(entry.name, entry.label) for entry in list_images(folder)]
    else:
        found = [(file.name, file.name) for file in _inside(folder) if is_image(file.name) and file.is_file()]
    return _from_files(folder, folder, [(name, wordnet_id(label), label) for name, label in found], cache_dir)


def _listed(place: Path, path: Path, cache_dir: Path | None) -> Labelled:
    """Read the images that a list gives the WordNet ids of; a name may lack its ending."""
    between, rows = _LISTS[path.name], []
    for number, line in enumerate(read_lines(path), start=1):
        name, _, rest = line.partition(between)
        wnid = wordnet_id(rest)
        if wnid is None and number > 1:
            raise bad_line(path, number, line, "an image and its WordNet id")
        if wnid is not None:
            rows.append((inside(name, path, number), wnid))
    if not rows:
        raise DatasetError(f"{path}: names no image", hint="get the file again")
    for below in _LISTED:
        for ending in ("", ".JPEG"):
            if (place / below / f"{rows[0][0]}{ending}").is_file():
                named = [(f"{name}{ending}", wnid, wnid) for name, wnid in rows]
                return _from_files(place, place / below, named, cache_dir)
    raise DatasetError(
        f"{path}: its first image, {rows[0][0]}, isn't there", hint="unpack the data set's archive again"
    )


def _from_files(
    place: Path, root: Path, found: Sequence[tuple[str, str | None, str]], cache_dir: Path | None
) -> Labelled:
    """Check image files; an image's name is that of its file alone where these differ."""
    for _, wnid, label in found:
        if wnid is None:
            raise DatasetError(f"{root}: {label!r} names no WordNet id", hint="name class folders by it: n01440764")
    if not found:
        raise DatasetError(f"{root}: no images", hint=LAYOUTS)
    paths = [name for name, _, _ in found]
    hashes = tuple(check_files(root, paths, cache_dir))
    short = [name.rpartition("/")[2] for name in paths]
    names = short if len(set(short)) == len(short) else paths
    return Labelled(
        place,
        tuple(names),
        tuple(str(wnid) for _, wnid, _ in found),
        hashes,
        load=lambda i: read_rgb(root / paths[i]),
        file=lambda i: root / paths[i],
    )
