"""Stanford Cars: ``cars_train/`` and ``cars_test/`` with the devkit's annotations, as torchvision reads it.

``cars_test_annos_withlabels.mat`` may lie beside the devkit, where torchvision wants it, or in it. Paper and mirrors
have class folders instead, ``train/<class>/`` and ``test/<class>/``, which are read too.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ....schema import DatasetError
from ...splits.splitting import SplitName
from ..folders import Entry
from .base import Layout, LayoutOptions, Listing, in_order, inside, read_mat

_TEST = "cars_test_annos_withlabels.mat"


def read(folder: Path, options: LayoutOptions) -> Listing:
    """List the images; classes in the order of ``cars_meta.mat``."""
    devkit = folder / "devkit"
    (names,) = read_mat(devkit / "cars_meta.mat", "class_names")
    classes = [str(name) for name in np.atleast_1d(names)]
    test = devkit / _TEST if not (folder / _TEST).exists() and (devkit / _TEST).exists() else folder / _TEST
    files: dict[SplitName, tuple[Path, str]] = {
        "train": (devkit / "cars_train_annos.mat", "cars_train"),
        "test": (test, "cars_test"),
    }
    entries: list[Entry] = []
    for part, (path, images) in files.items():
        (annotations,) = read_mat(path, "annotations")
        if not {"fname", "class"} <= set(annotations.dtype.names or ()):
            raise DatasetError(
                f"{path}: holds no file names and classes",
                hint="the test images' labels are in cars_test_annos_withlabels.mat",
            )
        for row, annotation in enumerate(np.atleast_1d(annotations), start=1):
            number = int(annotation["class"])
            if not 1 <= number <= len(classes):
                raise DatasetError(f"{path}: class {number} is not in cars_meta.mat", hint="get the devkit again")
            entries.append(Entry(f"{images}/{inside(str(annotation['fname']), path, row)}", classes[number - 1], part))
    return in_order(classes, entries)


CARS = Layout(
    folders=("stanford_cars",),
    needs=("devkit",),
    read=read,
    obtain="its own download is gone (pytorch/vision issue 7545); get a copy, such as Kaggle"
    " jessicali9530/stanford-cars-dataset, GitHub cyizhuo/Stanford-Cars-dataset or Hugging Face mteb/StanfordCars, and"
    " make it DIR/stanford_cars/train/<class>/ and test/<class>/, or torchvision's layout with devkit/",
)
