"""``digits``: scikit-learn's handwritten digits (8x8, from the UCI Optical Recognition data), few to learn from.

At full size the data can't distinguish backbones: enlarged and centred, random weights recognise nearly all. So there
are 25 images per class to learn from, and each digit has a small fixed variation of size, angle, slant and place. No
digit is used twice. An image's hash covers the 64 original grey levels and the variation.
"""

from __future__ import annotations

import gzip
import hashlib
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from ....schema import DatasetError, Task, digest
from ...base import TaskData
from ...splits.keyed import shuffled
from ..options import parse_options
from .index import Row, index_path, read_index, task_data, with_test
from .variation import FIELDS, RECIPE_VERSION, FurtherVariation, Spread, Variation, apply, draw

CLASSES = tuple("0123456789")
COLUMNS = ("index", *FIELDS)
COUNTS = {"train": 20, "val": 5, "test": 100}
SPREAD = Spread(size=(18.0, 28.0), angle=15.0, shear=0.15, shift=2.5, ink=(160, 255), paper=(0, 60))
_ENLARGED = 96


@lru_cache(maxsize=1)
def source() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Return the bundled images, shape (1797, 8, 8), grey levels 0 to 16, and their labels.

    The file is read directly: importing ``sklearn.datasets`` would take longer than the whole task.

    Raises
    ------
    DatasetError
        If scikit-learn doesn't carry the file as expected.
    """
    spec = find_spec("sklearn")
    path = Path(spec.origin if spec and spec.origin else "sklearn").parent / "datasets" / "data" / "digits.csv.gz"
    try:
        with gzip.open(path, "rt", encoding="ascii") as file:
            table = np.loadtxt(file, delimiter=",", dtype=np.uint8)
    except (OSError, ValueError, EOFError) as error:
        raise DatasetError(f"{path}: can't read the digits: {error}", hint="reinstall scikit-learn") from error
    if table.shape != (1797, 65) or table[:, :64].max() != 16:
        raise DatasetError(f"{path}: not the digits data, shape {table.shape}", hint="reinstall scikit-learn")
    return table[:, :64].reshape(-1, 8, 8), table[:, 64].astype(np.int64)


def open_digits(task: Task, data_dir: Path | None = None, cache_dir: Path | None = None) -> TaskData:
    """Open the task; nothing outside the installed packages is read."""
    options = parse_options(FurtherVariation, task)
    images, _ = source()
    rows = with_test(read_index(index_path("digits"), COLUMNS), options.of)

    def content_hash(row: Row) -> str:
        pixels = hashlib.sha256(images[int(row["index"])].tobytes()).hexdigest()
        return digest([RECIPE_VERSION, pixels, [row[name] for name in FIELDS]])

    return task_data(task, rows, CLASSES, content_hash, lambda row: render(images[int(row["index"])], row))


def render(image: npt.NDArray[np.uint8], row: Row) -> Image.Image:
    """Draw one digit: 8x8 grey levels, enlarged smoothly, cut to its ink, and varied."""
    grey = Image.fromarray((image.astype(np.uint16) * 255 // 16).astype(np.uint8))
    large = grey.resize((_ENLARGED, _ENLARGED), Image.Resampling.BICUBIC)
    return apply(large, Variation.from_row(row))


def make_rows() -> list[Row]:
    """Choose the images of each split and draw their variations: what the split file holds."""
    images, labels = source()
    first = {image.tobytes(): i for i, image in reversed(list(enumerate(images)))}
    rows: list[Row] = []
    for label, name in enumerate(CLASSES):
        order = shuffled((str(i) for i in sorted(first.values()) if labels[i] == label), "digits")
        start = 0
        for split, count in COUNTS.items():
            for index in order[start : start + count]:
                key = f"digits/{int(index):04d}"
                rows.append({"id": key, "split": split, "label": name, "index": index, **draw(key, SPREAD).to_row()})
            start += count
    return rows
