"""Decide whether a folder of folders has splits, and which folder each of them is; what is unclear is refused.

A folder is a split where it is called after one (see :func:`.splitnames.split_of`) and holds class folders. What is
called so and holds images itself is a class, if there are other classes beside it.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path

from ...common.progress import notify
from ...schema import DatasetError
from ..splits.splitting import SplitName
from .splitnames import split_of

Splits = dict[SplitName, Path]
Inside = Callable[[Path], Mapping[str, Path]]
"""Lists a folder's folders by name."""


def find_splits(root: Path, folders: Mapping[str, Path], inside: Inside) -> Splits:
    """Return the folder of each split, or nothing where the root holds the class folders itself.

    Parameters
    ----------
    root : Path
        The data set's folder, for messages.
    folders : mapping of str to Path
        Its folders.
    inside : callable
        ``inside(folder)`` is a folder's own folders.

    Raises
    ------
    DatasetError
        If a split is there twice, training images or images for testing are missing, splits hold no class folders, or
        lie inside the class folders.
    """
    below = {name: frozenset(inside(folder)) for name, folder in folders.items()}
    named = _by_split({name: split_of(name) for name in folders if below[name]})
    if not named:
        named = _loosely_named(below)
    if not named:
        _refuse_flat(root, folders, below)
        return {}
    for split, names in named.items():
        if len(names) > 1:
            raise DatasetError(
                f"{root}: has {' and '.join(f'{name}/' for name in names)}, {len(names)} folders for {split}",
                hint="keep one of them",
            )
    found = {split: folders[names[0]] for split, names in named.items()}
    if "train" not in found:
        there = " and ".join(f"{folder.name}/" for folder in found.values())
        raise DatasetError(
            f"{root}: has {there} but no train/",
            hint="add train/; or, where these are classes, rename them or put their images directly into them",
        )
    return _complete(root, found, folders, below)


def _complete(root: Path, found: Splits, folders: Mapping[str, Path], below: Mapping[str, frozenset[str]]) -> Splits:
    """Check that there is something to test on, and say how folders were read that are spelt otherwise."""
    for name in folders:
        split = split_of(name)
        if split is not None and not below[name]:
            raise DatasetError(
                f"{folders[name]}: holds no class folders",
                hint=f"put each class's images into a folder of its own, or move {name}/ elsewhere",
            )
    if len(found) == 1:
        train = found["train"].name
        raise DatasetError(
            f"{root}: has {train}/ but neither test/ nor val/",
            hint="add one, or give the folder of classes as the root",
        )
    if "test" not in found:
        notify(
            f"{root}: there is no test/, so {found['val'].name}/ is the test set, and nothing is left for validation"
        )
        return {"train": found["train"], "test": found["val"]}
    other = {folder.name: split for split, folder in found.items() if folder.name.lower() != split}
    if other:
        notify(f"{root}: " + ", ".join(f"{name}/ is read as {split}" for name, split in other.items()))
    order: tuple[SplitName, ...] = ("train", "val", "test")
    return {split: found[split] for split in order if split in found}


def _by_split(names: Mapping[str, SplitName | None]) -> dict[SplitName, list[str]]:
    found: defaultdict[SplitName, list[str]] = defaultdict(list)
    for name, split in names.items():
        if split is not None:
            found[split].append(name)
    return dict(found)


def _loosely_named(below: Mapping[str, frozenset[str]]) -> dict[SplitName, list[str]]:
    """Return folders with other words in their names (``seg_train``), where they hold the same class folders."""
    found = _by_split({name: split_of(name, loosely=True) for name in below if below[name]})
    names = [name for several in found.values() for name in several]
    if "train" not in found or len(found) < 2 or len({below[name] for name in names}) > 1:
        return {}
    return found


def _refuse_flat(root: Path, folders: Mapping[str, Path], below: Mapping[str, frozenset[str]]) -> None:
    """Refuse folders that are splits but can't be read as such, and warn of those that may be."""
    splits = _by_split({name: split_of(name) for name in folders})
    called = [f"{name}/" for names in splits.values() for name in names]
    if len(splits) > 1 and len(called) == len(folders):
        raise DatasetError(
            f"{root}: {' and '.join(called)} hold images without class folders",
            hint="put each class's images into a folder of its own; labels in tables aren't read",
        )
    for name, inner in below.items():
        parts = _by_split({part: split_of(part) for part in inner})
        if "train" in parts and len(parts) > 1:
            raise DatasetError(
                f"{folders[name]}: holds split folders ({', '.join(sorted(p for s in parts.values() for p in s))})",
                hint=f"splits come first: train/{name}/, test/{name}/; or give {folders[name]} as the root",
            )
    loose = _by_split({name: split_of(name, loosely=True) for name in folders})
    alike = {inner for inner in below.values() if len(inner) > 1}
    if len(splits) > 1:
        warnings.warn(f"{root}: {', '.join(called)} are taken for classes, though they look like splits", stacklevel=4)
    elif "train" in loose and len(loose) > 1 and sum(map(len, loose.values())) == len(folders):
        names = ", ".join(f"{name}/" for name in folders)
        warnings.warn(f"{root}: {names} are taken for classes, though they look like splits", stacklevel=4)
    elif len(alike) == 1 and len(folders) > 1 and all(below.values()):
        same = ", ".join(sorted(next(iter(alike)))[:3])
        warnings.warn(
            f"{root}: each of its folders has the same folders ({same}, ...): its own are taken for the classes; if"
            " they are splits, call them train/, val/ and test/",
            stacklevel=4,
        )
