"""The user's own images: layouts, splits, checks, and each mistake named."""

from __future__ import annotations

import json
import os
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sparsebench.datasets import open_task
from sparsebench.datasets.images import scan
from sparsebench.datasets.sources.folders import list_images
from sparsebench.schema import DatasetError, RegistryError, Task


def paint(path: Path, value: int) -> Path:
    """Write a small image whose content depends on ``value`` alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(value).integers(0, 256, (6, 6, 3), dtype=np.uint8)).save(path)
    return path


def flat(root: Path, classes=("cat", "dog"), n: int = 12) -> Path:
    for c, name in enumerate(classes):
        for i in range(n):
            paint(root / name / f"{i}.png", 1000 * c + i)
    return root


def task(root: Path | str | None, **fields) -> Task:
    return Task(id="mine", loader="imagefolder", root=None if root is None else str(root), **fields)


def content(data) -> dict[str, set[str]]:
    return {name: set(split.hashes) for name, split in data.splits.items()}


def test_flat_folder_is_split(tmp_path):
    data = open_task(task(flat(tmp_path / "a")))
    assert data.classes == ("cat", "dog")
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 14, "val": 4, "test": 6}
    for split in data.splits.values():
        assert all(name.startswith(data.classes[label]) for name, label in zip(split.ids, split.labels, strict=True))
        assert split.load(0).mode == "RGB"
    image = np.asarray(Image.open(tmp_path / "a" / data.test.ids[2]))
    np.testing.assert_array_equal(np.asarray(data.test.load(2)), image)


def test_split_follows_content_not_names(tmp_path):
    first = open_task(task(flat(tmp_path / "a")))
    moved = tmp_path / "elsewhere" / "b"
    shutil.copytree(tmp_path / "a", moved)
    assert open_task(task(moved)).split_sha256 == first.split_sha256
    for i in range(12):
        (moved / "cat" / f"{i}.png").rename(moved / "cat" / f"renamed {11 - i}.png")
    assert content(open_task(task(moved))) == content(first)


def test_fractions(tmp_path):
    root = flat(tmp_path / "a")
    data = open_task(task(root, options={"fractions": [0.5, 0.0, 0.5]}))
    assert [len(split) for split in data.splits.values()] == [12, 0, 12]
    for wrong in ([0.5, 0.5], [0.5, 0.6, 0.1], [1.0, 0.0, 0.0], "half", [float("nan"), 0.5, 0.5]):
        with pytest.raises(RegistryError, match=r"options\.fractions"):
            open_task(task(root, options={"fractions": wrong}))
    with pytest.raises(RegistryError, match=r"options\.fraction: "):
        open_task(task(root, options={"fraction": [0.5, 0.0, 0.5]}))


def test_duplicates_stay_together(tmp_path):
    root = flat(tmp_path / "a")
    for i in range(12):
        shutil.copy(root / "cat" / f"{i}.png", root / "cat" / f"copy-{i}.png")
    data = open_task(task(root))
    for split in data.splits.values():
        cats = [name.split("/")[1].removeprefix("copy-") for name in split.ids if name.startswith("cat")]
        assert all(cats.count(name) == 2 for name in cats)


def test_image_under_two_classes(tmp_path):
    root = flat(tmp_path / "a")
    shutil.copy(root / "cat" / "3.png", root / "dog" / "same.png")
    with pytest.warns(UserWarning, match=r"1 image\(s\) occur under more than one class"):
        data = open_task(task(root))
    where = [name for name, split in data.splits.items() for i in split.ids if i in ("cat/3.png", "dog/same.png")]
    assert len(where) == 2
    assert where[0] == where[1]


def test_own_splits(tmp_path):
    root = tmp_path / "a"
    for part, start in (("train", 0), ("val", 1), ("test", 2)):
        for c, name in enumerate(("x", "y")):
            for i in range(4 - start):
                paint(root / part / name / "deeper" / f"{i}.png", 100 * start + 10 * c + i)
    data = open_task(task(root))
    assert [len(split) for split in data.splits.values()] == [8, 6, 4]
    assert data.train.ids[0] == "train/x/deeper/0.png"
    shutil.rmtree(root / "val")
    assert [len(split) for split in open_task(task(root)).splits.values()] == [8, 0, 4]
    (root / "test").rename(root / "val")
    assert [len(split) for split in open_task(task(root)).splits.values()] == [8, 0, 4]


def test_own_split_with_shared_image_warns(tmp_path):
    root = tmp_path / "a"
    for part in ("train", "test"):
        for c, name in enumerate(("x", "y")):
            paint(root / part / name / "0.png", c + (part == "test") * c)
    with pytest.warns(UserWarning, match="in both train and test"):
        open_task(task(root))


def test_classes_named_train_and_test(tmp_path):
    """Folders of that name which hold images are classes (vehicles, say), not splits."""
    assert open_task(task(flat(tmp_path, ("car", "test", "train")))).classes == ("car", "test", "train")


def test_roots(tmp_path, monkeypatch):
    flat(tmp_path / "data" / "a")
    assert len(open_task(task("a"), data_dir=tmp_path / "data").train) == 14
    monkeypatch.chdir(tmp_path / "data")
    assert len(open_task(task("a")).train) == 14
    assert len(open_task(task(tmp_path / "data" / "a"), data_dir=Path("/elsewhere")).train) == 14
    with pytest.raises(DatasetError, match="no folder"):
        open_task(task("b"))
    with pytest.raises(DatasetError, match="too long"):
        open_task(task("b" * 300))
    with pytest.raises(RegistryError, match="needs a root"):
        open_task(task(None))


def test_other_files_are_ignored(tmp_path):
    root = flat(tmp_path / "a")
    before = open_task(task(root)).split_sha256
    (root / "cat" / "notes.txt").write_text("x")
    (root / "cat" / ".hidden.png").write_bytes(b"")
    (root / "cat" / ".git").mkdir()
    paint(root / "cat" / ".git" / "0.png", 5)
    paint(root / ".cache" / "0.png", 5)
    (root / "README.md").write_text("x")
    assert open_task(task(root)).split_sha256 == before


def test_link_loops_end(tmp_path):
    root = flat(tmp_path / "a")
    before = [entry.name for entry in list_images(root)]
    (root / "cat" / "up").symlink_to(root)
    (root / "cat" / "self").symlink_to(root / "cat")
    assert [entry.name for entry in list_images(root)] == before
    paint(tmp_path / "far" / "z.png", 77)
    (root / "dog" / "far").symlink_to(tmp_path / "far")
    assert "dog/far/z.png" in [entry.name for entry in list_images(root)]


@pytest.mark.parametrize("own", [False, True])
def test_structural_mistakes(tmp_path, own):
    root = tmp_path / "a"
    folders = [flat(root / part) for part in ("train", "test")] if own else [flat(root)]
    (folders[-1] / "empty").mkdir()
    with pytest.raises(DatasetError, match="empty: the class has no images"):
        open_task(task(root))
    (folders[-1] / "empty").rmdir()
    for folder in folders:
        shutil.rmtree(folder / "dog")
    with pytest.raises(DatasetError, match="only one class, 'cat'"):
        open_task(task(root))
    shutil.rmtree(folders[-1])
    folders[-1].mkdir()
    with pytest.raises(DatasetError, match="holds no class folders"):
        open_task(task(root))


def test_splits_with_other_classes(tmp_path):
    flat(tmp_path / "train", ("a", "b", "c"), 2)
    flat(tmp_path / "test", ("a", "b"), 2)
    with pytest.raises(DatasetError, match="the test images have no class 'c'"):
        open_task(task(tmp_path))
    shutil.rmtree(tmp_path / "test")
    with pytest.raises(DatasetError, match="neither test/ nor val/"):
        open_task(task(tmp_path))


def test_class_too_small(tmp_path):
    root = flat(tmp_path)
    paint(root / "rare" / "0.png", 99)
    with pytest.raises(DatasetError, match=r"rare: 1 image\(s\), too few"):
        open_task(task(root))
    shutil.copy(root / "rare" / "0.png", root / "rare" / "again.png")
    with pytest.raises(DatasetError, match=r"rare: 2 image\(s\), too few"):
        open_task(task(root))
    paint(root / "rare" / "1.png", 98)
    assert len(open_task(task(root)).classes) == 3


def test_broken_image_is_named_and_nothing_written(tmp_path):
    root = flat(tmp_path / "a")
    whole = (root / "dog" / "7.png").read_bytes()
    (root / "dog" / "7.png").write_bytes(whole[:-30])
    cache = tmp_path / "cache"
    with pytest.raises(DatasetError, match=r"dog/7\.png: broken image"):
        open_task(task(root), cache_dir=cache)
    assert not cache.exists()
    (root / "cat" / "1.png").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"cat/1\.png.*and 1 more files"):
        open_task(task(root))


def test_unreadable_folder_is_named(tmp_path, monkeypatch):
    root = flat(tmp_path)

    def refuse(self):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(DatasetError, match="can't be listed: Permission denied"):
        open_task(task(root))


def test_dangling_link_is_named(tmp_path):
    root = flat(tmp_path)
    (root / "cat" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(DatasetError, match=r"gone\.png"):
        open_task(task(root))


def test_checks_are_remembered(tmp_path, monkeypatch):
    root, cache = flat(tmp_path / "a"), tmp_path / "cache"
    calls: list[Path] = []
    original = scan.check_image
    monkeypatch.setattr(scan, "check_image", lambda path: calls.append(path) or original(path))
    first = open_task(task(root), cache_dir=cache).split_sha256
    assert len(calls) == 24
    assert open_task(task(root), cache_dir=cache).split_sha256 == first
    assert len(calls) == 24
    paint(root / "cat" / "1.png", 555)
    changed = open_task(task(root), cache_dir=cache).split_sha256
    assert len(calls) == 25
    assert changed != first
    (memory,) = (cache / "imagefolder").iterdir()
    for damage in (b"", b"{", b"[]", b'{"files": 3}', b'{"files": {"cat/1.png": [1, 2]}}', memory.read_bytes()[:-40]):
        memory.write_bytes(damage)
        assert open_task(task(root), cache_dir=cache).split_sha256 == changed
        assert len(json.loads(memory.read_text())["files"]) == 24


def test_unwritable_cache_only_warns(tmp_path):
    root = flat(tmp_path / "a")
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.warns(UserWarning, match="can't remember"):
        open_task(task(root), cache_dir=tmp_path / "cache")


def test_no_warnings_for_an_ordinary_folder(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(open_task(task(flat(tmp_path))).train) > 0


def test_split_folders_in_capitals(tmp_path):
    for start, split in enumerate(("Train", "VAL", "Test")):
        for label, name in enumerate(("cat", "dog")):
            for i in range(3):
                paint(tmp_path / split / name / f"{i}.png", 100 * start + 10 * label + i)
    small = open_task(task(tmp_path))
    assert small.classes == ("cat", "dog")
    assert [len(s) for s in (small.train, small.val, small.test)] == [6, 6, 6]


def test_two_spellings_of_a_split_are_refused(tmp_path):
    for split in ("train", "Train", "test"):
        flat(tmp_path / split, n=3)
    with pytest.raises(DatasetError, match=r"has Train/ and train/"):
        open_task(task(tmp_path))


def test_names_that_are_not_text_are_refused(tmp_path):
    root = flat(tmp_path / "a")
    bad = os.fsdecode(os.fsencode(root / "cat") + b"/\xff\xfe.png")
    try:
        paint(Path(bad), 1)
    except OSError:
        pytest.skip("this file system has no such names")
    with pytest.raises(DatasetError, match="not UTF-8"):
        open_task(task(root))
