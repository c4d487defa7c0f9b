from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from sparsebench.pruning.upstream import UpstreamData, open_upstream
from sparsebench.pruning.upstream.images import Part
from sparsebench.schema import DatasetError

Arrays = dict[str, Any]


@pytest.fixture
def arrays(upstream_file: Path) -> Arrays:
    with np.load(upstream_file) as archive:
        return {key: archive[key] for key in archive.files}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A training and a validation folder of three classes, some images deeper than others."""
    root = tmp_path / "photos"
    for split, count in (("train", 3), ("val", 2)):
        for name, colour in (("red", (200, 0, 0)), ("blue", (0, 0, 200)), ("Green", (0, 200, 0))):
            for i in range(count):
                place = root / split / name / ("deep/er" if i == 1 else "")
                place.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (50, 40), colour).save(place / f"{i}.png")
    return root


def less(name: str, amount: int = 1) -> Callable[[Arrays], Arrays]:
    return lambda arrays: arrays | {name: arrays[name][:-amount]}


def put(name: str, at: int, value: int) -> Callable[[Arrays], Arrays]:
    def change(arrays: Arrays) -> Arrays:
        changed = arrays[name].copy()
        changed[at] = value
        return arrays | {name: changed}

    return change


def no_val_images_of_d(arrays: Arrays) -> Arrays:
    labels = arrays["val_label"]
    return arrays | {"val_label": np.where(labels == 3, 0, labels)}


def broken_jpeg(arrays: Arrays) -> Arrays:
    jpeg = arrays["train_jpeg"].copy()
    start, end = arrays["train_offset"][3:5]
    jpeg[start:end] = 0
    return arrays | {"train_jpeg": jpeg}


def cut_jpeg(arrays: Arrays) -> Arrays:
    return less("val_jpeg", 100)(arrays) | {
        "val_offset": np.append(arrays["val_offset"][:-1], arrays["val_offset"][-1] - 100)
    }


DAMAGE: dict[str, tuple[Callable[[Arrays], Arrays], str]] = {
    "jpeg of another type": (
        lambda a: a | {"train_jpeg": a["train_jpeg"].astype(np.int16)},
        "train_jpeg is not a row of bytes",
    ),
    "jpeg in a table": (lambda a: a | {"val_jpeg": a["val_jpeg"][None]}, "val_jpeg is not a row of bytes"),
    "offsets with a point": (
        lambda a: a | {"val_offset": a["val_offset"].astype(float)},
        "val_offset is not a row of integers",
    ),
    "offsets in a table": (
        lambda a: a | {"train_offset": a["train_offset"][:, None]},
        "train_offset is not a row of integers",
    ),
    "labels with a point": (
        lambda a: a | {"train_label": a["train_label"].astype(np.float32)},
        "train_label is not a row of integers",
    ),
    "labels as names": (
        lambda a: a | {"train_label": a["classes"][a["train_label"]]},
        "train_label is not a row of integers",
    ),
    "labels one hot": (lambda a: a | {"val_label": np.eye(4, dtype=int)[a["val_label"]]}, "val_label is not a row of"),
    "an offset too few": (less("train_offset"), "train_offset has 64 positions for 64 labels"),
    "a label too few": (less("val_label"), "val_offset has 33 positions for 31 labels"),
    "bytes too few": (less("train_jpeg", 9), r"train_offset doesn't fit train_jpeg, which has \d+ bytes"),
    "a negative offset": (put("val_offset", 0, -1), "val_offset doesn't fit val_jpeg"),
    "an offset beyond the end": (put("train_offset", -1, 10**9), "train_offset doesn't fit train_jpeg"),
    "falling offsets": (put("train_offset", 5, 1), "train_offset doesn't fit train_jpeg"),
    "an empty image": (lambda a: put("val_offset", 5, int(a["val_offset"][4]))(a), "val_offset doesn't fit val_jpeg"),
    "a label too high": (put("train_label", 7, 4), "the train label 4 is none of the 4 classes .labels are 0 to 3"),
    "a negative label": (put("val_label", 0, -1), "the val label -1 is none of the 4 classes"),
    "a class never seen": (lambda a: a | {"classes": np.array([*"abcde"])}, "no train images of 'e'"),
    "a class without val": (no_val_images_of_d, "no val images of 'd' .every class needs train and val images"),
    "one class": (
        lambda a: a | {"classes": a["classes"][:1]} | {f"{s}_label": a[f"{s}_label"] * 0 for s in ("train", "val")},
        r"has 1 class\(es\) .training needs at least two",
    ),
    "no images": (
        lambda a: a | {"val_label": a["val_label"][:0], "val_offset": a["val_offset"][:1]},
        "no val images of 'a', 'b', 'c', 'd'",
    ),
    "an image of zeros": (broken_jpeg, r"train image 3 can't be decoded: not an image.*replace or remove"),
    "a cut image": (cut_jpeg, "val image 31 can't be decoded: image file is truncated"),
    "objects": (lambda a: a | {"classes": np.array([{}] * 4, dtype=object)}, r"is not a readable \.npz"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_npz_is_refused_naming_file_and_fault(damage: str, arrays: Arrays, tmp_path: Path) -> None:
    change, message = DAMAGE[damage]
    np.savez(tmp_path / "a.npz", **change(arrays))
    with pytest.raises(DatasetError, match=rf"a\.npz.*{message}"):
        open_upstream(tmp_path / "a.npz", 32)


@pytest.mark.parametrize(
    "name", ["classes", *(f"{s}_{p}" for s in ("train", "val") for p in ("jpeg", "offset", "label"))]
)
def test_an_npz_without_one_of_its_arrays_is_refused(name: str, arrays: Arrays, tmp_path: Path) -> None:
    arrays.pop(name)
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(DatasetError, match=rf"a\.npz has no array '{name}' .it needs classes and train_jpeg"):
        open_upstream(tmp_path / "a.npz", 32)


@given(part=st.floats(0, 1, exclude_max=True))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_truncated_npz_is_refused(part: float, upstream_file: Path, tmp_path: Path) -> None:
    whole = upstream_file.read_bytes()
    (tmp_path / "a.npz").write_bytes(whole[: int(part * len(whole))])
    with pytest.raises(DatasetError, match=r"a\.npz is not a readable \.npz: .*get the file again"):
        open_upstream(tmp_path / "a.npz", 32)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize(("offset", "label"), [("int32", "uint8"), ("uint64", "int64"), ("int64", "uint16")])
def test_any_integers_do(
    save: Callable[..., None], offset: str, label: str, arrays: Arrays, upstream: UpstreamData, tmp_path: Path
) -> None:
    for split in ("train", "val"):
        arrays[f"{split}_offset"] = arrays[f"{split}_offset"].astype(offset)
        arrays[f"{split}_label"] = arrays[f"{split}_label"].astype(label)
    save(tmp_path / "a.npz", **arrays)
    data = open_upstream(tmp_path / "a.npz", 32)
    assert data.classes == upstream.classes
    assert torch.equal(data.val_labels, upstream.val_labels)
    assert torch.equal(data.train_images[0:64], upstream.train_images[0:64])


def test_a_broken_image_is_named_when_it_is_decoded_on_demand(arrays: Arrays, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **broken_jpeg(arrays))
    data = open_upstream(tmp_path / "a.npz", 32, memory_limit=0)
    assert len(data.train_images[4:20]) == 16
    with pytest.raises(DatasetError, match=r"a\.npz: train image 3 can't be decoded"):
        data.train_images[0:8]
    assert len(data.train_images[4:20]) == 16


def test_a_folders_classes_are_sorted_and_its_images_found_however_deep(folder: Path) -> None:
    data = open_upstream(folder, 16)
    assert data.name == "photos"
    assert data.classes == ("Green", "blue", "red")
    assert data.train_images.shape == (9, 16, 16, 3)
    assert data.train_labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert data.val_labels.tolist() == [0, 0, 1, 1, 2, 2]
    colours = torch.tensor([[0, 200, 0], [0, 0, 200], [200, 0, 0]], dtype=torch.uint8)
    for images, labels in ((data.train_images, data.train_labels), (data.val_images, data.val_labels)):
        assert torch.equal(images[0 : len(labels)], colours[labels][:, None, None].expand(-1, 16, 16, -1))


def test_a_folder_decoded_on_demand_is_the_same(folder: Path) -> None:
    memory, demand = open_upstream(folder, 16), open_upstream(folder, 16, memory_limit=0)
    assert torch.equal(demand.train_images[0:9], memory.train_images[0:9])
    assert torch.equal(demand.val_labels, memory.val_labels)


def test_files_that_are_no_images_are_ignored(folder: Path) -> None:
    (folder / "train" / "red" / "notes.txt").write_text("no image")
    (folder / "train" / "red" / ".hidden.png").write_bytes(b"no image")
    (folder / "train" / ".git").mkdir()
    (folder / "README.md").write_text("no image")
    assert len(open_upstream(folder, 16).train_images) == 9


def remove(*parts: str) -> Callable[[Path], None]:
    return lambda root: shutil.rmtree(root.joinpath(*parts))


def empty_class(root: Path) -> None:
    (root / "train" / "none").mkdir()


def class_of_its_own(root: Path) -> None:
    shutil.copytree(root / "val" / "red", root / "val" / "pink")


def one_class(root: Path) -> None:
    for split in ("train", "val"):
        for name in ("red", "blue"):
            shutil.rmtree(root / split / name)


def no_classes(root: Path) -> None:
    shutil.rmtree(root / "val")
    (root / "val").mkdir()


def cut_image(root: Path) -> None:
    image = root / "val" / "blue" / "deep" / "er" / "1.png"
    image.write_bytes(image.read_bytes()[:-30])


BAD: dict[str, tuple[Callable[[Path], None], str]] = {
    "no train": (remove("train"), r"photos has no train/ folder .put each split's classes into train/ and val/"),
    "no val": (remove("val"), "photos has no val/ folder"),
    "no train images of a class": (remove("train", "red"), "train has no class 'red', which val/ has"),
    "no val images of a class": (remove("val", "Green"), "val has no class 'Green', which train/ has"),
    "a class of val alone": (class_of_its_own, "train has no class 'pink', which val/ has"),
    "an empty class": (empty_class, "none: the class has no images"),
    "one class": (one_class, "train: only one class, 'Green' .*at least two"),
    "no classes": (no_classes, "val: holds no class folders"),
    "a cut image": (cut_image, r"blue/deep/er/1\.png: broken image"),
}


@pytest.mark.parametrize("problem", BAD)
def test_a_folder_that_cannot_be_trained_on_is_refused(problem: str, folder: Path) -> None:
    spoil, message = BAD[problem]
    spoil(folder)
    with pytest.raises(DatasetError, match=message):
        open_upstream(folder, 16)


def test_a_broken_file_is_named_when_it_is_decoded_on_demand(folder: Path) -> None:
    cut_image(folder)
    data = open_upstream(folder, 16, memory_limit=0)
    assert len(data.val_images[0:2]) == 2
    with pytest.raises(DatasetError, match=r"blue/deep/er/1\.png: broken image"):
        data.val_images[0:6]


@given(st.integers(1, 70), st.integers(1, 70), st.integers(1, 20))
def test_an_image_of_any_shape_fills_the_square(width: int, height: int, size: int) -> None:
    picture = Image.new("RGB", (width, height), (10, 100, 200))
    square = Part(torch.zeros(1, dtype=torch.int64), lambda _: picture).decode(0, size)
    assert square.shape == (size, size, 3)
    assert (square == [10, 100, 200]).all()


@pytest.mark.parametrize("wide", [True, False])
def test_the_centre_is_cropped(wide: bool, folder: Path) -> None:
    centre = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    pixels = np.zeros((16, 36, 3) if wide else (36, 16, 3), dtype=np.uint8)
    pixels[(slice(None), slice(10, 26)) if wide else (slice(10, 26), slice(None))] = centre
    Image.fromarray(pixels).save(folder / "train" / "Green" / "0.png")
    assert np.array_equal(open_upstream(folder, 16).train_images[0:1][0].numpy(), centre)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "1", "I;16"])
def test_images_of_any_mode_become_rgb(mode: str, folder: Path) -> None:
    shade = {"P": 0, "RGBA": (0, 0, 0, 0), "1": 1, "I;16": 65535}.get(mode, 255)
    image = Image.new(mode, (16, 16), shade)
    if mode == "P":
        image.putpalette([255, 255, 255])
    image.save(folder / "train" / "Green" / "0.png")
    assert (open_upstream(folder, 16).train_images[0:1] == 255).all()
