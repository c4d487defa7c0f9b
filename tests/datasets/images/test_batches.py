"""Batches: order, augmentation and memory, whatever decodes them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sparsebench.datasets.base import Split
from sparsebench.datasets.images.batches import EpochBatches, evaluation_batches, sample_generator
from sparsebench.datasets.images.transforms import PUBLISHED, Transform
from sparsebench.schema import Augment, Preprocess

SHIFT = Augment(crop="shift", shift=3, flip=True)


class Counting:
    """A split of noise that counts how often each image is decoded."""

    def __init__(self, n: int, size: int = 12) -> None:
        pixels = np.random.default_rng(0).integers(0, 256, (n, size, size + 2, 3), dtype=np.uint8)
        self.loads = [0] * n

        def load(i: int) -> Image.Image:
            self.loads[i] += 1
            return Image.fromarray(pixels[i])

        names = tuple(f"{i}" for i in range(n))
        self.split = Split(names, np.arange(n, dtype=np.int64) % 3, names, load)


def transform(augment: Augment | None = None, size: int = 8) -> Transform:
    return Transform(Preprocess(input_size=size), augment)


def run(batches: EpochBatches, epoch: int) -> tuple[torch.Tensor, torch.Tensor]:
    images, labels = zip(*batches.epoch(epoch), strict=True)
    return torch.cat(images), torch.cat(labels)


@pytest.mark.parametrize("workers", [0, 3])
@pytest.mark.parametrize("n", [0, 1, 7, 8])
def test_evaluation_is_in_order(workers, n):
    split = Counting(n).split
    batches = list(evaluation_batches(split, transform(), 4, workers=workers))
    assert [len(batch) for batch in batches] == [min(4, n - start) for start in range(0, n, 4)]
    if n:
        expected = torch.stack([transform().evaluate(split.load(i)) for i in range(n)])
        assert torch.equal(torch.cat(batches), expected)


@given(n=st.integers(1, 50), seed=st.integers(0, 2**63), epoch=st.integers(0, 1000))
def test_an_epoch_is_a_permutation(n, seed, epoch):
    split = Counting(n, 4).split
    batches = EpochBatches(split, transform(size=2), 8, seed)
    assert sorted(batches.order(epoch).tolist()) == list(range(n))
    assert len(list(batches.epoch(epoch))) == len(batches)


def test_orders_differ_between_epochs_and_seeds():
    split = Counting(40).split
    orders = {tuple(EpochBatches(split, transform(), 8, seed).order(epoch)) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9


@pytest.mark.parametrize("augment", [None, SHIFT, PUBLISHED])
def test_numbers_depend_on_nothing_else(augment):
    """Not on threads, batch size, memory, or which epochs came before."""
    split = Counting(21).split
    images, labels = run(EpochBatches(split, transform(augment), 8, seed=5), 2)
    assert images.dtype == torch.uint8
    assert images.shape == (21, 3, 8, 8)
    for change in ({"workers": 3}, {"memory": 0}, {"memory": 1500, "workers": 2}, {"batch_size": 5}):
        other = EpochBatches(split, transform(augment), **({"batch_size": 8, "seed": 5} | change))
        for warm_up in (0, 1):
            run(other, warm_up)
        again, same = run(other, 2)
        assert torch.equal(again, images)
        assert torch.equal(same, labels)


@pytest.mark.parametrize("augment", [None, SHIFT, PUBLISHED])
def test_each_image_is_what_the_transform_makes_of_it(augment):
    split = Counting(10).split
    batches = EpochBatches(split, transform(augment), 4, seed=1)
    images, labels = run(batches, 3)
    order = batches.order(3)
    assert labels.tolist() == split.labels[order].tolist()
    for position, i in enumerate(order):
        expected = transform(augment).train(split.load(int(i)), sample_generator(1, 3, position))
        assert torch.equal(images[position], expected)


def test_small_splits_are_decoded_once():
    for augment in (None, SHIFT, PUBLISHED):
        counting = Counting(10)
        batches = EpochBatches(counting.split, transform(augment), 4, seed=0)
        for epoch in range(3):
            run(batches, epoch)
        assert counting.loads == [1] * 10


def test_memory_is_bounded():
    counting = Counting(10)  # 504 bytes per image
    batches = EpochBatches(counting.split, transform(PUBLISHED), 4, seed=0, memory=1100)
    for epoch in range(3):
        run(batches, epoch)
    assert sorted(counting.loads) == [1, 1] + [3] * 8


def test_the_last_batch_may_be_smaller():
    batches = EpochBatches(Counting(10).split, transform(), 4, seed=0)
    assert len(batches) == 3
    assert [len(labels) for _, labels in batches.epoch(0)] == [4, 4, 2]


def test_streams_do_not_meet():
    draws = {
        sample_generator(seed, epoch, position).integers(0, 2**62)
        for seed in range(5)
        for epoch in range(5)
        for position in range(5)
    }
    assert len(draws) == 125


def test_a_failing_image_is_raised():
    def load(i: int) -> Image.Image:
        raise OSError("disk gone")

    split = Split(("a",), np.zeros(1, dtype=np.int64), ("a",), load)
    for workers in (0, 2):
        with pytest.raises(OSError, match="disk gone"):
            list(evaluation_batches(split, transform(), 4, workers=workers))
