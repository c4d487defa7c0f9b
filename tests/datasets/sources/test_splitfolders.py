"""Split folders however they are spelt, layouts that look like them, and what a folder holds besides images."""

from __future__ import annotations

import os
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sparsebench.common.progress import listening
from sparsebench.datasets import open_task
from sparsebench.datasets.sources.splitnames import split_of
from sparsebench.schema import DatasetError, Task


def paint(path: Path) -> Path:
    """Write a small image whose content depends on its path's last three parts alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = zlib.crc32("/".join(path.parts[-3:]).encode())
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)).save(path, "PNG")
    return path


def build(root: Path, *folders: str, n: int = 3) -> Path:
    for folder in folders:
        for i in range(n):
            paint(root / folder / f"{i}.png")
    return root


def two(root: Path, *splits: str) -> Path:
    return build(root, *(f"{split}/{name}" for split in splits for name in ("cat", "dog")))


def opened(root: Path):
    return open_task(Task(id="mine", loader="imagefolder", root=str(root)))


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train", "train"), ("Training", "train"), ("TRAIN", "train"), ("train_set", "train"), ("trainset", "train"),
        ("Train_split", "train"), ("01-train", "train"), ("train2017", "train"), ("training_images", "train"),
        ("trainval", "train"), ("TrainingData", "train"), ("val", "val"), ("Valid", "val"), ("validation", "val"),
        ("dev", "val"), ("valset", "val"), ("eval", "val"), ("test", "test"), ("Testing", "test"), ("test set", "test"),
        ("TestImages", "test"), ("testdata", "test"),
        ("cat", None), ("trainer", None), ("contest", None), ("steam_train", None), ("seg_train", None),
        ("invalid", None), ("train_test", None), ("Übungstest", None), ("テストtest", None), ("images", None),
    ],
)  # fmt: skip
def test_names_of_splits(name, split):
    assert split_of(name) == split


def test_names_with_other_words():
    assert split_of("seg_train", loosely=True) == "train"
    assert split_of("asl_alphabet_test", loosely=True) == "test"
    assert split_of("trainer", loosely=True) is None


@pytest.mark.parametrize(
    "splits",
    [
        ("Training", "Testing"), ("training_set", "test_set"), ("Train_split", "Test_split"), ("TRAIN", "TEST"),
        ("seg_train", "seg_test"), ("01_train", "02_test"), ("trainset", "testset"), ("train", "Validation"),
    ],
)  # fmt: skip
def test_two_splits_are_read(tmp_path, splits):
    data = opened(two(tmp_path, *splits))
    assert data.classes == ("cat", "dog")
    assert {name.split("/")[0] for name in data.train.ids} == {splits[0]}
    assert {name.split("/")[0] for name in data.test.ids} == {splits[1]}
    assert len(data.val) == 0


def test_three_splits_are_read_and_told(tmp_path):
    lines: list[str] = []
    with listening(lines.append):
        data = opened(two(tmp_path, "Training", "valid", "test"))
    assert [len(split) for split in data.splits.values()] == [6, 6, 6]
    assert data.val.ids[0].startswith("valid/")
    assert len(lines) == 1
    assert "Training/ is read as train, valid/ is read as val" in lines[0]


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        (("test", "val"), "has test/ and val/ but no train/"),
        (("train",), "neither test/ nor val/"),
        (("train", "Training", "test"), "2 folders for train"),
        (("train", "val", "valid", "test"), "2 folders for val"),
        (("train", "test", "test_set"), "2 folders for test"),
    ],
)
def test_unclear_splits_are_refused(tmp_path, splits, message):
    with pytest.raises(DatasetError, match=message):
        opened(two(tmp_path, *splits))


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (("train", "test"), "test/ and train/ hold images without class folders"),
        (("train_images", "test_images"), "without class folders"),
        (("train/cat", "train/dog", "val/cat", "val/dog", "test"), "test: holds no class folders"),
        (("test/cat", "test/dog", "bird"), "has test/ but no train/"),
        (("train/cat", "train/dog", "bird"), "neither test/ nor val/"),
        (("cat/train", "cat/test", "dog/train", "dog/test"), "cat: holds split folders"),
        (("photos/cat", "photos/dog"), r"only one class, 'photos' \(.*is .*/photos meant"),
        (("train/cat", "train/dog", "test/Cat", "test/dog"), r"no class .*'Cat' and 'cat' are written differently"),
        (("train/é", "train/b", "test/e\u0301", "test/b"), r"are written differently"),
    ],
)
def test_layouts_that_are_not_understood_are_refused(tmp_path, folders, message):
    with pytest.raises(DatasetError, match=message) as caught:
        opened(build(tmp_path, *folders))
    assert caught.value.hint


@pytest.mark.parametrize(
    ("folders", "classes"),
    [
        (("car", "test", "train"), ("car", "test", "train")),
        (("seg_train", "seg_test"), ("seg_test", "seg_train")),
        (("A/cat", "A/dog", "B/cat", "B/dog"), ("A", "B")),
    ],
)
def test_classes_that_look_like_splits_are_warned_of(tmp_path, folders, classes):
    with pytest.warns(UserWarning, match="taken for"):
        assert opened(build(tmp_path, *folders)).classes == classes


@pytest.mark.parametrize("folders", [("train", "car"), ("valid", "invalid"), ("steam_train", "test_tube", "car")])
def test_ordinary_classes_are_not_warned_of(tmp_path, folders):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(opened(build(tmp_path, *folders)).classes) == len(folders)


def test_what_is_left_out_is_counted(tmp_path):
    root = build(tmp_path, "cat", "dog", n=6)
    paint(root / "loose.png")
    paint(root / "cat" / "UPPER.JPG")  # taken: endings in any case
    for name in ("labels.csv", "cat/a.heic", "cat/b.HEIC", "cat/noending", "dog/.hidden.png", ".DS_Store"):
        (root / name).write_bytes(b"x")
    paint(root / "dog" / ".thumbs" / "1.png")
    paint(root / "dog" / "@eaDir" / "thumb.jpg")
    paint(root / "__MACOSX" / "cat" / "._1.png")
    (root / "dog" / "back").symlink_to(root)
    with pytest.warns(UserWarning, match="left out") as caught:
        data = opened(root)
    assert sum(len(split) for split in data.splits.values()) == 13
    text = str(caught[0].message)
    for part in (
        "1 image outside class folders, such as loose.png",
        "4 files with an ending that is no image's (2 .heic, ",
        "1 no ending",
        "1 link to folders read already, such as dog/back",
        "5 hidden files or folders",
        "labels.csv was not read",
    ):
        assert part in text


def test_folders_beside_splits_are_counted(tmp_path):
    root = build(two(tmp_path, "train", "test"), "extra/cat", n=5)
    paint(root / "train" / "loose.png")
    (root / "notes").mkdir()
    with pytest.warns(UserWarning, match="left out") as caught:
        assert len(opened(root).train) == 6
    text = str(caught[0].message)
    assert "extra/, which is no split, with 5 images" in text
    assert "notes/, which is no split, with 0 images" in text
    assert "such as train/loose.png" in text


def test_a_class_of_other_files_says_what_it_has(tmp_path):
    root = build(tmp_path, "cat", "dog")
    (root / "emu").mkdir()
    (root / "emu" / "1.heic").write_bytes(b"x")
    with pytest.raises(DatasetError, match=r"emu: the class has no images; it has 1 file .*1 \.heic"):
        opened(root)


def test_images_beside_a_table_of_labels(tmp_path):
    paint(tmp_path / "1.png")
    (tmp_path / "labels.csv").write_text("1.png,cat\n")
    with pytest.raises(DatasetError, match=r"holds no class folders .*labels\.csv"):
        opened(tmp_path)


def test_an_archive_is_no_folder(tmp_path):
    (tmp_path / "photos.zip").write_bytes(b"PK")
    with pytest.raises(DatasetError, match=r"photos\.zip is a file, not a folder"):
        opened(tmp_path / "photos.zip")


def test_nested_folders_are_told(tmp_path):
    lines: list[str] = []
    with listening(lines.append):
        opened(build(tmp_path, "animal/cat", "animal/dog", "plant"))
    assert "6 of 9 images lie in folders inside class folders" in lines[0]


def test_a_dangling_link_to_a_class_is_refused(tmp_path):
    root = build(tmp_path / "a", "cat", "dog")
    (root / "emu").symlink_to(tmp_path / "gone")
    with pytest.raises(DatasetError, match="emu: a link to what isn't there"):
        opened(root)


def test_a_pipe_called_like_an_image_is_refused(tmp_path):
    root = build(tmp_path, "cat", "dog")
    os.mkfifo(root / "cat" / "9.png")
    with pytest.raises(DatasetError, match=r"9\.png: (not a file|can't be read)"):
        opened(root)
