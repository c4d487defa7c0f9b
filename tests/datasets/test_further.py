"""Further test sets of a task: folders, other versions of the embedded data, corruptions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sparsebench.datasets import open_task
from sparsebench.datasets.further import fingerprint_of, open_further
from sparsebench.registry import load_tasks
from sparsebench.schema import DatasetError, FurtherSet, RegistryError, Task
from tasks_quick import image_folder

FOLDER = FurtherSet(root="more")


@pytest.fixture
def task(tmp_path: Path) -> Task:
    image_folder(tmp_path / "own")
    return Task(id="own", loader="imagefolder", root="own")


def write(folder: Path, *labels: str, count: int = 2) -> None:
    for number, label in enumerate(labels):
        (folder / label).mkdir(parents=True)
        for i in range(count):
            Image.new("RGB", (8, 8), (20 * number, 10 * i, 5)).save(folder / label / f"{i}.png")


def test_all_images_of_a_folder_are_for_testing_by_their_class_s_name(task: Task, tmp_path: Path) -> None:
    write(tmp_path / "more", "class2", "class0")
    data = open_task(task, tmp_path)
    split = open_further(data, "more", FOLDER, tmp_path)
    assert split.ids == ("class0/0.png", "class0/1.png", "class2/0.png", "class2/1.png")
    assert split.labels.tolist() == [0, 0, 2, 2]  # a task's class may have no image
    assert split.file is not None
    assert split.file(3) == tmp_path / "more" / "class2" / "1.png"
    assert fingerprint_of(data.split_sha256, FOLDER, split) == split.sha256


@pytest.mark.parametrize(("splits", "taken"), [(("train", "test"), "test"), (("train", "val"), "val")])
def test_of_a_folder_with_splits_the_test_images_count(
    task: Task, tmp_path: Path, splits: tuple[str, ...], taken: str
) -> None:
    for name in splits:
        write(tmp_path / "more" / name, "class0", "class1")
    split = open_further(open_task(task, tmp_path), "more", FOLDER, tmp_path)
    assert [name.split("/")[0] for name in split.ids] == [taken] * 4


def test_a_class_that_the_task_does_not_have_is_named(task: Task, tmp_path: Path) -> None:
    write(tmp_path / "more", "class0", "clas1")
    with pytest.raises(DatasetError, match=r"task 'own', test set 'more': 1 of its classes.*'clas1'.*'class1'"):
        open_further(open_task(task, tmp_path), "more", FOLDER, tmp_path)
    write(tmp_path / "most", "zebra", "horse")
    with pytest.raises(DatasetError, match=r"2 of its classes aren't the task's: 'horse', 'zebra'.*'class0'"):
        open_further(open_task(task, tmp_path), "most", FurtherSet(root="most"), tmp_path)


def test_a_folder_that_is_not_there_or_has_no_classes(task: Task, tmp_path: Path) -> None:
    data = open_task(task, tmp_path)
    with pytest.raises(DatasetError, match="no folder"):
        open_further(data, "more", FOLDER, tmp_path)
    (tmp_path / "more").mkdir()
    with pytest.raises(DatasetError, match="holds no class folders"):
        open_further(data, "more", FOLDER, tmp_path)
    with pytest.raises(RegistryError, match="leave its options out"):
        open_further(data, "more", FurtherSet(root="own", options={"fractions": [0.5, 0, 0.5]}), tmp_path)


def test_a_limited_task_limits_its_further_test_sets(task: Task, tmp_path: Path) -> None:
    data = open_task(task.with_limit(6), tmp_path)
    split = open_further(data, "same", FurtherSet(root="own"), tmp_path)
    assert np.bincount(split.labels).tolist() == [2, 2, 2]
    assert len(open_further(data, "noisy", FurtherSet(corruption="fog", severity=1), tmp_path)) == 6


def test_the_fingerprint_of_a_corruption_follows_from_the_data_and_what_is_done_to_it() -> None:
    fog, more = (FurtherSet(corruption="fog", severity=severity) for severity in (1, 2))
    assert len({fingerprint_of("a", fog), fingerprint_of("b", fog), fingerprint_of("a", more)}) == 3
    assert fingerprint_of("a", fog) == fingerprint_of("a", FurtherSet(corruption="fog", severity=1, title="fog"))


EMBEDDED = [(task.id, name) for task in load_tasks().tasks.values() for name in task.tests]


def test_each_embedded_task_has_shifts_of_its_own() -> None:
    assert {task for task, _ in EMBEDDED} == {"digits", "glyphs", "textures"}
    assert ("glyphs", "calligraphic") in EMBEDDED
    assert ("digits", "slanted") in EMBEDDED


@pytest.mark.parametrize(("name", "test"), EMBEDDED)
def test_shifts_of_the_embedded_tasks_change_the_test_images_alone(name: str, test: str) -> None:
    task = load_tasks().task(name)
    data = open_task(task)
    assert data.split_sha256 == task.split_sha256
    source = task.tests[test]
    split, again = (open_further(data, test, source) for _ in range(2))
    assert split.sha256 == again.sha256
    assert source.on_request
    assert np.bincount(split.labels).tolist() == np.bincount(data.test.labels).tolist()
    assert not set(split.hashes) & set(data.test.hashes + data.train.hashes + data.val.hashes)
    k = int(np.flatnonzero(split.labels == data.test.labels[3])[0])
    changed, clean = (np.asarray(image, dtype=int) for image in (split.load(k), data.test.load(3)))
    assert changed.shape == clean.shape
    assert np.abs(changed - clean).mean() > 3
