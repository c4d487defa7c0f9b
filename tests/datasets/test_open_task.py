"""Dispatch, the checks that hold for every task, and torchvision's data sets."""

from __future__ import annotations

import hashlib
from collections import Counter
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import torchvision.datasets
from PIL import Image

from sparsebench.datasets import LOADERS, Split, TaskData, concatenate, open_task
from sparsebench.datasets.checks import assert_task
from sparsebench.schema import DatasetError, RegistryError, Task, UnknownNameError


def split(prefix: str, labels: list[int], hashes: list[str] | None = None) -> Split:
    ids = tuple(f"{prefix}{i}" for i in range(len(labels)))
    return Split(
        ids, np.array(labels, dtype=np.int64), tuple(hashes or ids), lambda i: Image.new("RGB", (4, 4), (i, 0, 0))
    )


def data(train=None, val=None, test=None, classes=("a", "b"), **fields) -> TaskData:
    task = Task(id="t", loader="digits", **fields)
    given = {"train": train, "val": val, "test": test}
    default = {"train": split("x", [0, 1]), "val": split("v", []), "test": split("y", [0, 1])}
    return TaskData(task, classes, **(default | {name: part for name, part in given.items() if part is not None}))


def test_unknown_loader_has_neighbours():
    with pytest.raises(UnknownNameError, match="imagefolder"):
        open_task(Task(id="t", loader="imagefolders"))


def test_every_loader_exists():
    for name in LOADERS:
        with pytest.raises((RegistryError, DatasetError)):  # each refuses a wrong option or a missing root by itself
            open_task(Task(id="t", loader=name, options={"no such option": 1}))


def test_checks():
    assert_task(data())
    with pytest.raises(DatasetError, match=r"1 class\(es\)"):
        assert_task(data(classes=("a",)))
    with pytest.raises(DatasetError, match="should be 3, found 2"):
        assert_task(data(sizes={"train": 3}))
    with pytest.raises(DatasetError, match="no test images"):
        assert_task(data(test=split("y", [])))
    with pytest.raises(DatasetError, match="no train images"):
        assert_task(data(train=split("x", [])))
    with pytest.raises(DatasetError, match="'x0' occurs twice"):
        assert_task(data(test=split("x", [0])))
    with pytest.raises(DatasetError, match=r"1 image\(s\) are in both train and test"):
        assert_task(data(test=split("y", [0, 1], ["new", "x1"])))


def test_fingerprint_sees_every_part():
    base = data().split_sha256
    changed = [
        data(train=split("x", [1, 0])),
        data(train=split("x", [0, 1], ["x0", "other"])),
        data(train=split("z", [0, 1], ["x0", "x1"])),
        data(test=split("y", [0])),
        data(classes=("a", "c")),
        data(val=split("v", [0])),
    ]
    assert len({base, *(other.split_sha256 for other in changed)}) == 7


def test_concatenate():
    both = concatenate(split("a", [0, 1]), split("b", [1]))
    assert both.ids == ("a0", "a1", "b0")
    assert both.labels.tolist() == [0, 1, 1]
    assert [both.load(i).getpixel((0, 0))[0] for i in range(3)] == [0, 1, 0]


class FakeCifar:
    """As much of torchvision's class as is read: one file on disk, of no bytes."""

    train_list = test_list = ()
    meta: ClassVar = {"filename": "batches.meta", "md5": hashlib.md5(b"").hexdigest()}

    def __init__(self, root, train, download):
        rng = np.random.default_rng(train)
        n = 400 if train else 40
        self.data = rng.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)
        self.data[1] = self.data[11]
        self.targets = [i % 10 for i in range(n)]
        self.classes = [f"class {i}" for i in range(10)]
        self.wanted = SimpleNamespace(root=root, download=download)


def test_cifar_val_is_a_fixed_tenth(monkeypatch, tmp_path):
    monkeypatch.setattr(torchvision.datasets, "CIFAR10", FakeCifar)
    for root in (tmp_path, tmp_path / "other"):
        (root / "cifar-10-batches-py").mkdir(parents=True)
        (root / "cifar-10-batches-py" / "batches.meta").touch()
    task = Task(id="cifar10", loader="torchvision", options={"dataset": "CIFAR10"}, classes=10)
    found = open_task(task, data_dir=tmp_path)
    assert [len(s) for s in found.splits.values()] == [360, 40, 40]
    assert set(Counter(found.val.labels.tolist()).values()) == {4}
    assert not set(found.train.hashes) & set(found.val.hashes)
    source = FakeCifar(tmp_path, True, False)
    for s in (found.train, found.val):
        for i in (0, len(s) - 1):
            part, number = s.ids[i].split("/")
            assert part == "train"
            np.testing.assert_array_equal(np.asarray(s.load(i)), source.data[int(number)])
            assert s.labels[i] == source.targets[int(number)]
    assert open_task(task, data_dir=tmp_path / "other").split_sha256 == found.split_sha256


def test_cifar_missing_says_where_and_how(tmp_path):
    task = Task(id="cifar10", loader="torchvision", options={"dataset": "CIFAR10"})
    with pytest.raises(DatasetError, match="--data DIR"):
        open_task(task)
    with pytest.raises(DatasetError, match=str(tmp_path)) as info:
        open_task(task, data_dir=tmp_path)
    assert "sparsebench fetch --task cifar10" in str(info.value)
    assert not list(tmp_path.iterdir())


def test_torchvision_options():
    with pytest.raises(RegistryError, match=r"options\.dataset"):
        open_task(Task(id="t", loader="torchvision", options={"dataset": "CIFAR11"}))
