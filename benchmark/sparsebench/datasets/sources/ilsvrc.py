"""ILSVRC2012's validation images in the archives that they come in, read in place: nothing is unpacked."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...caching import read_document, write_document
from ...common.progress import notify
from ...schema import DatasetError, MissingDataError
from ..images.decode import decode_bytes, is_image

if TYPE_CHECKING:
    from PIL import Image

ARCHIVES = ("ILSVRC2012_img_val.tar", "ILSVRC2012_devkit_t12.tar.gz")
_TRUTH = "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt"
_META = "ILSVRC2012_devkit_t12/data/meta.mat"
_VERSION = 1
_LARGEST = 64 * 2**20  # bytes of a file of the devkit, and of an image
_AGAIN = "get the archive again"

Images = tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], Callable[[int], "Image.Image"]]
"""Names, WordNet ids and content hashes of the images, and what decodes one."""


def read_archives(folder: Path, cache_dir: Path | None) -> Images:
    """Read the validation images, and their classes from the development kit.

    Parameters
    ----------
    folder : Path
        Where both archives lie.
    cache_dir : Path or None
        Where the images' places and hashes are remembered: finding them reads the whole archive.

    Raises
    ------
    DatasetError
        If an archive is damaged, or they don't fit together.
    """
    archive, devkit = (folder / name for name in ARCHIVES)
    for path in (archive, devkit):
        if not path.is_file():
            raise MissingDataError(f"{path}: the archive is missing", hint="images and their classes are two archives")
    wnids = _classes(devkit)
    found = _index(archive, cache_dir)
    if len(found) != len(wnids):
        raise DatasetError(
            f"{archive}: {len(found):,} images, but {devkit.name} has the classes of {len(wnids):,}", hint=_AGAIN
        )

    def load(i: int) -> Image.Image:
        name, offset, size, _ = found[i]
        with archive.open("rb") as file:
            return decode_bytes(os.pread(file.fileno(), size, offset), f"{archive}: {name}")

    names, _, _, hashes = zip(*found, strict=True)
    return tuple(names), tuple(wnids), tuple(hashes), load


def _index(archive: Path, cache_dir: Path | None) -> list[tuple[str, int, int, str]]:
    """Return each image's name, place, size and sha256, sorted by name: the order of the ground truth."""
    try:
        state = archive.stat()
        key = {"version": _VERSION, "path": str(archive.resolve()), "size": state.st_size, "mtime": state.st_mtime_ns}
        if (known := read_document(cache_dir, "archives", key)) is not None:
            return [(str(name), int(offset), int(size), str(sha)) for name, offset, size, sha in known]
        notify(f"reading {archive}, once")
        found = []
        with tarfile.open(archive, "r:") as tar:
            for member in tar:
                if not (member.isfile() and is_image(Path(member.name).name)):
                    continue
                if member.size > _LARGEST or member.issparse():
                    raise ValueError(f"{member.name} is no image of {member.size:,} bytes")
                file = tar.extractfile(member)
                data = b"" if file is None else file.read()
                found.append(
                    (Path(member.name).name, member.offset_data, member.size, hashlib.sha256(data).hexdigest())
                )
    except (OSError, EOFError, ValueError, tarfile.TarError) as error:
        raise DatasetError(f"{archive}: can't be read: {error}", hint=_AGAIN) from error
    if not found:
        raise DatasetError(f"{archive}: holds no images", hint=_AGAIN)
    found.sort()
    write_document(cache_dir, "archives", key, found)
    return found


def _classes(devkit: Path) -> list[str]:
    """Return the WordNet id of each validation image, in the order of their names."""
    from scipy.io import loadmat

    try:
        with tarfile.open(devkit, "r:gz") as tar:
            truth, meta = (_member(tar, name) for name in (_TRUTH, _META))
        synsets = np.atleast_1d(loadmat(io.BytesIO(meta), squeeze_me=True)["synsets"])
        wnids = {int(row["ILSVRC2012_ID"]): str(row["WNID"]) for row in synsets}
        return [wnids[int(number)] for number in truth.split()]
    except Exception as error:  # scipy's reader of damaged files raises nearly anything
        raise DatasetError(f"{devkit}: can't be read: {type(error).__name__}: {error}", hint=_AGAIN) from error


def _member(tar: tarfile.TarFile, name: str) -> bytes:
    member = tar.getmember(name)
    file = tar.extractfile(member)
    if file is None or member.size > _LARGEST:
        raise ValueError(f"{name} is no file of the development kit")
    return file.read()
