"""``textures``: from which photograph comes a grey 32x32 patch? Photographs that scikit-image and scikit-learn carry.

Each patch is shifted and scaled to one mean and one standard deviation, so that brightness and contrast say nothing. A
photograph (enlarged where it is small, reduced where it is large) is a grid of 32x32 cells; whole columns of cells go
to train, test and val, in this order from the left, with an unused column between them. So no patches overlap, and
those of different splits are at least a patch apart. The files are read directly and checked by hash: nothing is
downloaded.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydantic import Field

from ....schema import DatasetError, Strict, Task, digest
from ...base import TaskData
from ...splits.keyed import shuffled
from ..options import parse_options
from .index import Row, index_path, read_index, task_data
from .variation import RECIPE_VERSION, SIZE


@dataclass(frozen=True)
class Photo:
    """A bundled photograph: its package, its file's name and sha256, and by how much it is enlarged."""

    package: str
    file: str
    sha256: str
    scale: float = 1.0


class TextureOptions(Strict):
    """Options of a further test set: how much nearer its patches are seen, and by how many quarters they are turned."""

    zoom: float = Field(strict=True, default=1.0, ge=1.0, le=4.0)
    turns: int = Field(strict=True, default=0, ge=0, le=3)

    def of(self, row: Row) -> list[Any]:
        """Return what is done to the image of a row: nothing to those that aren't for testing."""
        changed = row["split"] == "test" and (self.zoom, self.turns) != (1.0, 0)
        return [self.zoom, self.turns] if changed else []


COLUMNS = ("photo", "x", "y")
COUNTS = {"train": 30, "val": 10, "test": 60}
MEAN, SD = 128, 50
_MIN_SD = 5
"""Flatter cells (sky, dark background) hold little but noise and are not used."""
_TRAIN, _TEST = 0.36, 0.42
"""Shares of a photograph's used columns; val has the rest."""

_FOLDERS = {"skimage": "data", "sklearn": "datasets/images"}
PHOTOS = {
    "brick": Photo("skimage", "brick.png", "7966caf324f6ba843118d98f7a07746d22f6a343430add0233eca5f6eaaa8fcf"),
    "china": Photo("sklearn", "china.jpg", "8378025ad2519d649d02e32bd98990db4ab572357d9f09841c2fbfbb4fefad29"),
    "motorcycle": Photo(
        "skimage", "motorcycle_left.png", "db18e9c4157617403c3537a6ba355dfeafe9a7eabb6b9b94cb33f6525dd49179"
    ),
    "coins": Photo("skimage", "coins.png", "f8d773fc9cfa6f4d8e5942dc34d0a0788fcaed2a4fefbbed0aef5398d7ef4cba", 1.5),
    "chelsea": Photo("skimage", "chelsea.png", "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb", 1.5),
    "grass": Photo("skimage", "grass.png", "b6b6022426b38936c43a4ac09635cd78af074e90f42ffa8227ac8b7452d39f89"),
    "gravel": Photo("skimage", "gravel.png", "c48615b451bf1e606fbd72c0aa9f8cc0f068ab7111ef7d93bb9b0f2586440c12"),
    "retina": Photo("skimage", "retina.jpg", "38a07f36f27f095e818aea7b96d34202c05176d30253c66733f2e00379e9e0e6", 0.5),
    "hubble": Photo(
        "skimage", "hubble_deep_field.jpg", "3a19c5dd8a927a9334bb1229a6d63711b1c0c767fb27e2286e7c84a3e2c2f5f4"
    ),
    "ihc": Photo("skimage", "ihc.png", "f8dd1aa387ddd1f49d8ad13b50921b237df8e9b262606d258770687b0ef93cef"),
    "page": Photo("skimage", "page.png", "341a6f0a61557662b02734a9b6e56ec33a915b2c41886b97509dedf2a43b47a3", 1.5),
    "text": Photo("skimage", "text.png", "bd84aa3a6e3c9887850d45d606c96b2e59433fbef50338570b63c319e668e6d1", 1.5),
}
SOURCES = {
    "brick": ("brick",),
    "coins": ("coins",),
    "fur": ("chelsea",),
    "galaxies": ("hubble",),
    "grass": ("grass",),
    "gravel": ("gravel",),
    "motorcycle": ("motorcycle",),
    "pagoda": ("china",),
    "retina": ("retina",),
    "tissue": ("ihc",),
    "writing": ("page", "text"),
}
CLASSES = tuple(SOURCES)


def photo_path(photo: Photo) -> Path:
    """Return where the photograph's package keeps it."""
    spec = find_spec(photo.package)
    package = Path(spec.origin if spec and spec.origin else photo.package).parent
    return package / _FOLDERS[photo.package] / photo.file


@lru_cache(maxsize=32)
def _verified(name: str) -> str:
    photo = PHOTOS[name]
    path = photo_path(photo)
    hint = f"the textures task needs the photographs that {photo.package} carries: reinstall it"
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise DatasetError(f"{path}: can't be read: {error}", hint=hint) from error
    if found != photo.sha256:
        raise DatasetError(f"{path}: sha256 is {found[:12]}…, not {photo.sha256[:12]}…", hint=hint)
    return found


@lru_cache(maxsize=32)
def pixels(name: str) -> npt.NDArray[np.uint8]:
    """Return a photograph's grey levels, shape (height, width), at the scale used.

    Raises
    ------
    DatasetError
        If the file is missing or not the known one.
    """
    _verified(name)
    photo = PHOTOS[name]
    with Image.open(photo_path(photo)) as image:
        grey = image.convert("L")
    if photo.scale != 1:
        size = (round(grey.width * photo.scale), round(grey.height * photo.scale))
        grey = grey.resize(size, Image.Resampling.BICUBIC)
    return np.asarray(grey)


def open_textures(task: Task, data_dir: Path | None = None, cache_dir: Path | None = None) -> TaskData:
    """Open the task; nothing outside the installed packages is read."""
    options = parse_options(TextureOptions, task)
    rows = read_index(index_path("textures"), COLUMNS)
    unknown = sorted({row["photo"] for row in rows} - set(PHOTOS))
    if unknown:
        raise DatasetError(f"task {task.id!r}: unknown photographs in its split file: {', '.join(unknown)}")

    def content_hash(row: Row) -> str:
        photo = PHOTOS[row["photo"]]
        made_from = [RECIPE_VERSION, _verified(row["photo"]), photo.scale, row["x"], row["y"], SIZE, MEAN, SD]
        return digest(made_from + options.of(row))

    def seen(row: Row) -> Image.Image:
        return render(row, *(options.of(row) or (1.0, 0)))

    return task_data(task, rows, CLASSES, content_hash, seen)


def render(row: Row, zoom: float = 1.0, turns: int = 0) -> Image.Image:
    """Cut one patch out, or its enlarged centre, turn it by quarters, and normalise it."""
    x, y = int(row["x"]), int(row["y"])
    patch = pixels(row["photo"])[y : y + SIZE, x : x + SIZE]
    if zoom > 1.0:
        edge = SIZE * (1 - 1 / zoom) / 2
        box = (edge, edge, SIZE - edge, SIZE - edge)
        patch = np.asarray(Image.fromarray(patch).resize((SIZE, SIZE), Image.Resampling.BICUBIC, box=box))
    return Image.fromarray(normalised(np.rot90(patch, turns))).convert("RGB")


def normalised(patch: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return the patch with mean 128 and standard deviation 50 (before rounding and clipping to 0-255)."""
    mean, sd = _moments(patch)
    return np.clip(np.rint((patch - mean) * (SD / sd) + MEAN), 0, 255).astype(np.uint8)


def _moments(patch: npt.NDArray[np.uint8]) -> tuple[float, float]:
    """Mean and standard deviation from exact integer sums, the same on every machine."""
    values = patch.astype(np.int64)
    n, total, squares = values.size, int(values.sum()), int((values**2).sum())
    return total / n, float(np.sqrt((n * squares - total**2) / n**2))


def columns(count: int) -> dict[str, range]:
    """Divide a photograph's ``count`` columns of cells among the splits, with an unused one between them."""
    train, test = round((count - 2) * _TRAIN), round((count - 2) * _TEST)
    return {
        "train": range(train),
        "test": range(train + 1, train + 1 + test),
        "val": range(train + test + 2, count),
    }


def make_rows() -> list[Row]:
    """Choose the cells of each split: what the split file holds."""
    rows: list[Row] = []
    for label, photos in SOURCES.items():
        cells = {split: [cell for photo in photos for cell in _cells(photo, split)] for split in COUNTS}
        for split, count in COUNTS.items():
            for cell in shuffled(cells[split], "textures")[:count]:
                photo, x, y = cell.split("/")
                rows.append({"id": f"textures/{cell}", "split": split, "label": label, "photo": photo, "x": x, "y": y})
    return rows


def _cells(photo: str, split: str) -> list[str]:
    """Name the usable cells of a photograph's columns, ``photo/x/y``."""
    image = pixels(photo)
    names = []
    for column in columns(image.shape[1] // SIZE)[split]:
        for row in range(image.shape[0] // SIZE):
            x, y = column * SIZE, row * SIZE
            if _moments(image[y : y + SIZE, x : x + SIZE])[1] >= _MIN_SD:
                names.append(f"{photo}/{x}/{y}")
    return names
