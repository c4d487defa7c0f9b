"""The published pipeline, pixel for pixel, and augmentation that depends on its generator alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision import transforms as tv

from sparsebench.datasets.images.pixels import random_area
from sparsebench.datasets.images.transforms import PUBLISHED, Transform, resolve_transform
from sparsebench.schema import Augment, Preprocess, Protocol, RegistryError, Task

MODES = {name: tv.InterpolationMode(name) for name in ("bilinear", "bicubic", "nearest")}
STATS = [(0.485, 0.229), (0.456, 0.224), (0.406, 0.225)]


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@given(
    width=st.integers(1, 90),
    height=st.integers(1, 90),
    size=st.integers(1, 48),
    crop_pct=st.sampled_from([0.875, 0.9, 1.0, 0.5]),
    interpolation=st.sampled_from(sorted(MODES)),
)
def test_evaluation_equals_torchvision(width, height, size, crop_pct, interpolation):
    preprocess = Preprocess(input_size=size, crop_pct=crop_pct, interpolation=interpolation)
    reference = tv.Compose(
        [tv.Resize(preprocess.resize_size, MODES[interpolation]), tv.CenterCrop(size), tv.PILToTensor()]
    )
    image = noise(width, height)
    assert torch.equal(Transform(preprocess).evaluate(image), reference(image))


@pytest.mark.parametrize("size", [(500, 375), (333, 501), (256, 256), (224, 300)])
def test_published_size(size):
    image = noise(*size)
    reference = tv.Compose([tv.Resize(256), tv.CenterCrop(224), tv.ToTensor(), tv.Normalize(*zip(*STATS, strict=True))])
    transform = Transform(Preprocess())
    out = transform.normalise(transform.evaluate(image).unsqueeze(0))
    torch.testing.assert_close(out[0], reference(image), rtol=0, atol=0)


def test_normalise_leaves_its_input_alone():
    batch = torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    before = batch.clone()
    transform = Transform(Preprocess(input_size=8))
    out = transform.normalise(batch)
    assert torch.equal(batch, before)
    assert out.dtype == torch.float32
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert transform.normalise(batch, channels_last=False).is_contiguous()
    half = transform.normalise(batch, dtype=torch.bfloat16)
    assert torch.equal(half, out.to(torch.bfloat16))
    floats = batch.float()
    transform.normalise(floats)
    assert torch.equal(floats, before.float())


@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 10**6))
def test_random_area_is_inside_and_of_its_shape(width, height, seed):
    left, top, w, h = random_area((width, height), (0.08, 1.0), rng(seed))
    assert 0 <= left <= left + w <= width
    assert 0 <= top <= top + h <= height
    assert w >= 1
    assert h >= 1


def test_random_area_is_distributed_as_torchvisions():
    image = noise(120, 90)
    torch.manual_seed(0)
    theirs = np.array([tv.RandomResizedCrop.get_params(image, [0.08, 1.0], [3 / 4, 4 / 3]) for _ in range(4000)])
    generator = rng()
    ours = np.array([random_area(image.size, (0.08, 1.0), generator) for _ in range(4000)])
    theirs = theirs[:, [1, 0, 3, 2]]  # top, left, height, width
    for column in range(4):
        a, b = ours[:, column], theirs[:, column]
        assert abs(a.mean() - b.mean()) < 5 * np.hypot(a.std(), b.std()) / np.sqrt(4000)
        assert np.abs(np.quantile(a, [0.1, 0.5, 0.9]) - np.quantile(b, [0.1, 0.5, 0.9])).max() <= 4


@pytest.mark.parametrize(("size", "expected"), [((400, 4), (197, 0, 5, 4)), ((4, 400), (0, 197, 4, 5))])
def test_random_area_of_a_strip_is_its_centre(size, expected):
    assert random_area(size, (0.9, 1.0), rng()) == expected


def test_shift_moves_by_whole_pixels_and_reflects():
    image = noise(9, 9)
    transform = Transform(Preprocess(input_size=9, crop_pct=1), Augment(crop="shift", shift=3))
    padded = np.pad(np.asarray(image), ((3, 3), (3, 3), (0, 0)), mode="reflect").transpose(2, 0, 1)
    views = {padded[:, y : y + 9, x : x + 9].tobytes() for y in range(7) for x in range(7)}
    found = {transform.train(image, rng(seed)).numpy().tobytes() for seed in range(400)}
    assert found == views


def test_flip_happens_half_the_time():
    image = noise(8, 8)
    transform = Transform(Preprocess(input_size=8, crop_pct=1), Augment(flip=True))
    straight = transform.evaluate(image)
    views = [transform.train(image, rng(seed)) for seed in range(400)]
    flipped = sum(torch.equal(view, straight.flip(2)) for view in views)
    assert sum(torch.equal(view, straight) for view in views) == 400 - flipped
    assert 140 < flipped < 260


@pytest.mark.parametrize(
    "augment", [None, Augment(), Augment(crop="shift", shift=2), Augment(crop="shift", shift=40, flip=True), PUBLISHED]
)
def test_equal_generators_give_equal_views(augment):
    transform = Transform(Preprocess(input_size=16), augment)
    image = noise(30, 22)
    view = transform.train(image, rng(3))
    assert view.shape == (3, 16, 16)
    assert view.dtype == torch.uint8
    assert torch.equal(view, transform.train(image, rng(3)))


@given(shift=st.integers(0, 40), flip=st.booleans(), n=st.integers(1, 6), size=st.integers(1, 12))
def test_batched_variation_equals_one_by_one(shift, flip, n, size):
    augment = Augment(crop="shift" if shift else "none", shift=shift, flip=flip)
    transform = Transform(Preprocess(input_size=size, crop_pct=1), augment)
    images = [noise(size, size, seed) for seed in range(n)]
    together = transform.vary(torch.stack([transform.evaluate(i) for i in images]), [rng(s) for s in range(n)])
    assert torch.equal(together, torch.stack([transform.train(i, rng(s)) for s, i in enumerate(images)]))


def test_digest_sees_every_setting():
    transforms = [
        Transform(Preprocess()),
        Transform(Preprocess(input_size=32)),
        Transform(Preprocess(mean=(0.5, 0.5, 0.5))),
        Transform(Preprocess(interpolation="bicubic")),
        Transform(Preprocess(crop_pct=0.9)),
        Transform(Preprocess(), PUBLISHED),
        Transform(Preprocess(), Augment(crop="shift", shift=2)),
    ]
    assert len({transform.sha256 for transform in transforms}) == len(transforms)
    assert Transform(Preprocess()).sha256 == transforms[0].sha256


def protocol(**fields) -> Protocol:
    return Protocol(name="p", mode="full", lr=0.1, epochs=1, **fields)


def test_resolve():
    own = Preprocess(input_size=64, mean=(0.1, 0.2, 0.3), interpolation="bicubic")
    shift = Augment(crop="shift", shift=1)
    task = Task(id="t", loader="digits", mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2), augment=shift)
    assert resolve_transform(own, task, protocol()) == Transform(own, None)
    assert resolve_transform(own, task, protocol(augment="task")) == Transform(own, shift)
    resolved = resolve_transform(own, task, protocol(augment="published", normalisation="task"))
    assert resolved.augment == PUBLISHED
    assert (resolved.preprocess.mean, resolved.preprocess.std) == ((0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
    assert (resolved.preprocess.input_size, resolved.preprocess.interpolation) == (64, "bicubic")
    with pytest.raises(RegistryError, match="'bare' has none"):
        resolve_transform(own, Task(id="bare", loader="digits"), protocol(normalisation="task"))
