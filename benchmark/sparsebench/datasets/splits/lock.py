"""Trust on first use: the split of a published data set, remembered when first seen, may not change afterwards.

The hashes of published images can't be known without having them, so a task's YAML may lack its fingerprint. The first
split seen is then kept in the cache, image by image, and a later difference is an error that names images. The lock is
one JSON file per task, options and place.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path

from ...common.files import write_text
from ...schema import DifferentDataError, canonical_json, digest
from ..base import TaskData

_VERSION = 1
_SHOWN = 3
Manifest = dict[str, list[str]]


def lock_path(data: TaskData, data_dir: Path | None, cache_dir: Path) -> Path:
    """Return the file in which the split of a task in a place is remembered."""
    task = data.task
    place = str((data_dir or Path.cwd()).resolve())
    key = digest([_VERSION, task.loader, task.root, task.options, place])[:16]
    return cache_dir / "splits" / f"{task.id}-{key}.json"


def assert_locked(data: TaskData, data_dir: Path | None, cache_dir: Path) -> None:
    """Remember a data set's split, or compare it with the one remembered.

    Raises
    ------
    DatasetError
        If they differ; the message names what differs, and says how to accept it.
    """
    path = lock_path(data, data_dir, cache_dir)
    known = _recall(path)
    if known is None:
        _remember(path, data)
    elif known[0] != data.split_sha256:
        raise DifferentDataError(
            f"task {data.task.id!r}: the data set is not the one that was seen first: {_difference(data, known[1])}",
            hint=f"restore it; if the change is meant, delete {path}",
        )


def manifest(data: TaskData) -> Manifest:
    """Return each image's split, class and content hash (16 digits), by its id."""
    return {
        name: [part, data.classes[int(label)], content[:16]]
        for part, split in data.splits.items()
        for name, label, content in zip(split.ids, split.labels, split.hashes, strict=True)
    }


def _difference(data: TaskData, before: Manifest) -> str:
    now = manifest(data)
    common = [name for name in now if name in before]
    found = {
        "missing": [name for name in before if name not in now],
        "new": [name for name in now if name not in before],
        "of another content": [name for name in common if now[name][2] != before[name][2]],
        "of another class": [name for name in common if now[name][1] != before[name][1]],
        "in another split": [name for name in common if now[name][0] != before[name][0]],
    }
    parts = [f"{len(names)} images are {what} ({_some(names)})" for what, names in found.items() if names]
    return "; ".join(parts) or "the images are the same, in another order"


def _some(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")


def _recall(path: Path) -> tuple[str, Manifest] | None:
    """Read a lock; a damaged one is as good as none, but says so."""
    try:
        content = json.loads(path.read_bytes())
        images = {str(name): [str(value) for value in values] for name, values in content["images"].items()}
        if any(len(values) != 3 for values in images.values()):
            raise ValueError("not a lock")
        return str(content["split_sha256"]), images
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        warnings.warn(f"{path}: the remembered split can't be read ({error}): remembered anew", stacklevel=4)
        return None


def _remember(path: Path, data: TaskData) -> None:
    text = canonical_json({"task": data.task.id, "split_sha256": data.split_sha256, "images": manifest(data)})
    try:
        write_text(path, text)
    except OSError as error:
        warnings.warn(f"{path.parent}: can't remember the split: {error}", stacklevel=4)
