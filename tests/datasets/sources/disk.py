"""Small copies of published data sets on disk, in the layout that torchvision or the paper gives them."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

_values: Iterator[int] = iter(range(10**9))


def paint(path: Path, *, mode: str = "RGB") -> Path:
    """Write a small image that no other one equals."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(next(_values)).integers(0, 256, (6, 7, 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)
    return path


def lines(path: Path, *rows: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(rows) + "\n")


def dtd(data: Path) -> Path:
    root = data / "dtd" / "dtd"
    for part in ("train", "val", "test"):
        names = [f"{label}/{label}_{part}_{i}.jpg" for label in ("woven", "banded") for i in range(2)]
        lines(root / "labels" / f"{part}1.txt", *names)
        lines(root / "labels" / f"{part}2.txt", *names[::2])
        for name in names:
            paint(root / "images" / name)
    return root


def flowers102(data: Path) -> Path:
    root = data / "flowers-102"
    for i in range(1, 13):
        paint(root / "jpg" / f"image_{i:05d}.jpg")
    savemat(root / "imagelabels.mat", {"labels": [[1, 1, 1, 1, 77, 77, 77, 77, 2, 2, 2, 2]]})
    savemat(root / "setid.mat", {"trnid": [[5, 1, 9]], "valid": [[2, 10, 6]], "tstid": [[3, 4, 7, 8, 11, 12]]})
    return root


def aircraft(data: Path) -> Path:
    root = data / "fgvc-aircraft-2013b"
    lines(root / "data" / "variants.txt", "Yak-42", "707-320", "A340-300", "DHC-8 100")
    number = 0
    for part in ("train", "val", "test"):
        rows = []
        for label in ("DHC-8 100", "707-320"):
            for _ in range(2):
                number += 1
                rows.append(f"{number:07d} {label}")
                paint(root / "data" / "images" / f"{number:07d}.jpg")
        lines(root / "data" / f"images_variant_{part}.txt", *rows)
    return root


def pets(data: Path) -> Path:
    root = data / "oxford-iiit-pet"
    breeds = (("Bengal", 1, 1), ("american_bulldog", 2, 2))
    for name, numbers in (("trainval.txt", range(1, 11)), ("test.txt", range(11, 14))):
        rows = [f"{breed}_{i} {label} {species} 1" for breed, label, species in breeds for i in numbers]
        lines(root / "annotations" / name, *rows)
        for breed, _, _ in breeds:
            for i in numbers:
                paint(root / "images" / f"{breed}_{i}.jpg")
    return root


def food101(data: Path) -> Path:
    root = data / "food-101"
    for part, numbers in (("train", range(10)), ("test", range(10, 13))):
        table = {label: [f"{label}/{i}" for i in numbers] for label in ("waffles", "apple_pie")}
        (root / "meta").mkdir(parents=True, exist_ok=True)
        (root / "meta" / f"{part}.json").write_text(json.dumps(table))
        for names in table.values():
            for name in names:
                paint(root / "images" / f"{name}.jpg")
    return root


def caltech101(data: Path) -> Path:
    root = data / "caltech101"
    for label, count in (("yin_yang", 34), ("BACKGROUND_Google", 3), ("Faces", 31)):
        for i in range(1, count + 1):
            paint(root / "101_ObjectCategories" / label / f"image_{i:04d}.jpg", mode="L" if i == 31 else "RGB")
    return root


def caltech256(data: Path) -> Path:
    root = data / "caltech256"
    for number, label, count in ((1, "ak47", 62), (2, "clutter", 61)):
        for i in range(1, count + 1):
            paint(root / "256_ObjectCategories" / f"{number:03d}.{label}" / f"{number:03d}_{i:04d}.jpg")
    lines(root / "256_ObjectCategories" / "001.ak47" / "RENAME2", "not an image")
    return root


def cars(data: Path) -> Path:
    root = data / "stanford_cars"
    savemat_cars(root, root)
    return root


def savemat_cars(root: Path, test_annotations: Path) -> None:
    """Write the devkit and its images; the test images' labels go into a folder of one's choice."""
    names = np.array(["Jeep Wrangler", "Acura RL", "Audi S4"], dtype=object)
    devkit = root / "devkit"
    devkit.mkdir(parents=True, exist_ok=True)
    savemat(devkit / "cars_meta.mat", {"class_names": names[None]})
    for file, folder, count in (
        (devkit / "cars_train_annos.mat", "cars_train", 20),
        (test_annotations / "cars_test_annos_withlabels.mat", "cars_test", 4),
    ):
        rows = np.zeros((1, count), dtype=[("class", object), ("fname", object)])
        for i in range(count):
            rows[0, i] = (1 + 2 * (i % 2), f"{i + 1:05d}.jpg")
            paint(root / folder / f"{i + 1:05d}.jpg")
        savemat(file, {"annotations": rows})


def sun397(data: Path) -> Path:
    root = data / "SUN397"
    for part, numbers in (("Training", range(10)), ("Testing", range(10, 13))):
        names = [f"/{label}/sun_{i:02d}.jpg" for label in ("b/bazaar/indoor", "a/abbey") for i in numbers]
        lines(root / f"{part}_01.txt", *names)
        for name in names:
            paint(root / name[1:])
    lines(root / "ClassName.txt", "/a/abbey", "/b/bazaar/indoor")
    return root


def class_folders(root: Path, parts: dict[str, int], labels: tuple[str, ...] = ("kite", "auk")) -> Path:
    for part, count in parts.items():
        for label in labels:
            for i in range(count):
                paint(root / part / label / f"{part}{i}.jpg")
    return root


def birdsnap(data: Path) -> Path:
    return class_folders(data / "birdsnap", {"train": 10, "test": 3})


def cifar10(data: Path, *, protocol: int = 2) -> Path:
    root = data / "cifar-10-batches-py"
    root.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for k, name in enumerate([*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"]):
        pixels = rng.integers(0, 256, (20, 3072), dtype=np.uint8)
        content = {"data": pixels, "labels": [(i + k) % 2 for i in range(20)]}
        (root / name).write_bytes(pickle.dumps(content, protocol=protocol))
    (root / "batches.meta").write_bytes(pickle.dumps({"label_names": ["airplane", "bird"]}, protocol=protocol))
    return root
