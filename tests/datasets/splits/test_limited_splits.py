"""A limit on the images of each split."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sparsebench.datasets import open_task
from sparsebench.datasets.base import Split, TaskData
from sparsebench.datasets.splits.limit import limited
from sparsebench.registry import load_tasks
from sparsebench.schema import InputError, Task


def split(counts: list[int], name: str) -> Split:
    labels = np.repeat(np.arange(len(counts)), counts)
    labels = labels[np.random.default_rng(0).permutation(len(labels))]
    ids = tuple(f"{name}{i}" for i in range(len(labels)))
    images = [Image.new("RGB", (1, 1), (i % 256, 0, 0)) for i in range(len(labels))]
    return Split(ids, labels, ids, lambda i: images[i], lambda i: Path(ids[i]))


def data(counts: list[int]) -> TaskData:
    task = Task(id="t", loader="imagefolder")
    names = tuple(f"c{i}" for i in range(len(counts)))
    return TaskData(task, names, split(counts, "a"), split([0] * len(counts), "b"), split(counts, "c"))


@given(st.lists(st.integers(1, 40), min_size=2, max_size=8), st.integers(0, 60))
def test_classes_get_equally_many_as_far_as_they_have_them(counts: list[int], more: int) -> None:
    limit = len(counts) + more
    few = limited(data(counts), limit).train
    kept = np.bincount(few.labels, minlength=len(counts))
    assert kept.sum() == min(limit, sum(counts))
    assert (kept >= 1).all()
    cut = kept < np.array(counts)
    if cut.any():  # no class that had more gets two less than another
        assert kept.max() <= kept[cut].min() + 1


def test_the_same_images_whatever_their_order_and_each_with_its_own_pixels_and_file() -> None:
    whole = data([9, 3, 30])
    few = limited(whole, 10).train
    turned = whole.train.take(np.arange(len(whole.train))[::-1].copy())
    again = limited(TaskData(whole.task, whole.classes, turned, whole.val, whole.test), 10).train
    assert set(few.ids) == set(again.ids)
    place = {name: i for i, name in enumerate(whole.train.ids)}
    assert [place[name] for name in few.ids] == sorted(place[name] for name in few.ids)
    for i, name in enumerate(few.ids):
        assert few.load(i).getpixel((0, 0)) == (place[name] % 256, 0, 0)
        assert few.file is not None
        assert few.file(i) == Path(name)


def test_a_limit_below_the_number_of_classes_is_refused() -> None:
    with pytest.raises(InputError, match="--limit 2 is too few for task 't', which has 3 classes; give at least 3"):
        raise_line(lambda: limited(data([5, 5, 5]), 2))


def raise_line(act) -> None:
    try:
        act()
    except InputError as error:
        raise InputError(error.line) from error


def test_a_limited_task_says_so_and_is_cut_after_the_checks() -> None:
    task = load_tasks().task("digits")
    few = open_task(task.with_limit(20))
    assert few.task.id == "digits-limit20"
    assert (len(few.train), len(few.val), len(few.test)) == (20, 20, 20)
    assert few.split_sha256 == open_task(task.with_limit(20)).split_sha256
    assert few.split_sha256 != open_task(task).split_sha256
    assert task.with_limit(20).without_limit() == task
