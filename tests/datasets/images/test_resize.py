"""The compiled resize gives the pixels of the installed Pillow, on every instruction set, or isn't used."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sparsebench.datasets.images import resize
from sparsebench.datasets.images.resampling import SUPPORT, axis_weights
from sparsebench.datasets.images.resize import instruction_sets, resize_part
from sparsebench.datasets.images.transforms import Transform
from sparsebench.runs.environment import VERSIONED, environment
from sparsebench.schema import Augment, Preprocess

built = pytest.mark.skipif(not instruction_sets(), reason="the resize is not built")
CACHED = (resize.library, resize.instruction_sets, resize.order)
sides = st.integers(1, 60)


def noise(width: int, height: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def as_pixels(image: npt.NDArray[np.uint8]) -> torch.Tensor:
    return torch.from_numpy(image).permute(2, 0, 1)


def by_pillow(image: npt.NDArray[np.uint8], new: tuple[int, int], interpolation: str) -> torch.Tensor:
    resized = Image.fromarray(image).resize(new, Image.Resampling[interpolation.upper()])
    return as_pixels(np.array(resized))


@pytest.fixture
def fresh() -> Iterator[None]:
    """What was found out about the library is found out again, and once more after the test."""
    for cached in CACHED:
        cached.cache_clear()
    yield
    for cached in CACHED:
        cached.cache_clear()


@built
@given(size=st.tuples(sides, sides), new=st.tuples(sides, sides), data=st.data())
def test_any_part_of_any_resize_is_pillows(size: tuple[int, int], new: tuple[int, int], data: st.DataObject) -> None:
    image = noise(*size, seed=sum(size))
    left, top = (data.draw(st.integers(0, side - 1)) for side in new)
    width, height = data.draw(st.integers(1, new[0] - left)), data.draw(st.integers(1, new[1] - top))
    for interpolation in SUPPORT:
        theirs = by_pillow(image, new, interpolation)[:, top : top + height, left : left + width]
        for isa in instruction_sets():
            ours = resize_part(as_pixels(image), new, (left, top, width, height), interpolation, isa)
            assert torch.equal(ours, theirs), (interpolation, isa)
            assert ours.is_contiguous()


@built
@pytest.mark.parametrize("size", [(500, 375), (1200, 90), (90, 1200), (3000, 20)])
@pytest.mark.parametrize("interpolation", SUPPORT)
def test_the_centre_of_a_large_image_is_pillows(size: tuple[int, int], interpolation: str) -> None:
    image = noise(*size)
    transform = Transform(Preprocess(input_size=40, crop_pct=0.875, interpolation=interpolation))  # type: ignore[arg-type]
    assert torch.equal(transform.evaluate(as_pixels(image)), transform.evaluate(Image.fromarray(image)))


@built
@pytest.mark.parametrize("interpolation", [*SUPPORT, "nearest"])
def test_training_views_are_pillows(interpolation: str) -> None:
    image = noise(70, 50)
    transform = Transform(
        Preprocess(input_size=24, interpolation=interpolation),  # type: ignore[arg-type]
        Augment(crop="random_resized", flip=True),
    )
    for seed in range(20):
        ours = transform.train(as_pixels(image), np.random.default_rng(seed))
        assert torch.equal(ours, transform.train(Image.fromarray(image), np.random.default_rng(seed)))


@built
def test_the_layout_of_the_pixels_does_not_matter() -> None:
    image = noise(31, 23)
    new, box = (17, 19), (2, 3, 11, 13)
    right = by_pillow(image, new, "bicubic")[:, 3:16, 2:13]
    planes = as_pixels(image).contiguous()
    wider = torch.from_numpy(noise(40, 30))
    wider[4:27, 5:36] = torch.from_numpy(image)
    for pixels in (planes, wider.permute(2, 0, 1)[:, 4:27, 5:36], as_pixels(image[:, ::-1].copy()).flip(2)):
        assert torch.equal(resize_part(pixels, new, box, "bicubic"), right)
    row = as_pixels(image)[:, :1].expand(3, 5, 31)
    assert torch.equal(
        resize_part(row, new, box, "bilinear"), by_pillow(np.repeat(image[:1], 5, 0), new, "bilinear")[:, 3:16, 2:13]
    )


@built
@pytest.mark.parametrize(
    ("pixels", "box", "said"),
    [
        (torch.zeros(3, 8, 8, dtype=torch.uint8), (0, 0, 5, 4), "not a part of 4 x 4"),
        (torch.zeros(3, 8, 8, dtype=torch.uint8), (-1, 0, 2, 2), "not a part of 4 x 4"),
        (torch.zeros(3, 8, 8, dtype=torch.uint8), (1, 1, 0, 2), "not a part of 4 x 4"),
        (torch.zeros(3, 8, 8), (0, 0, 4, 4), "not an RGB image"),
        (torch.zeros(1, 8, 8, dtype=torch.uint8), (0, 0, 4, 4), "not an RGB image"),
        (torch.zeros(3, 0, 8, dtype=torch.uint8), (0, 0, 4, 4), "not an RGB image"),
    ],
)
def test_what_would_read_or_write_elsewhere_is_refused(
    pixels: torch.Tensor, box: tuple[int, int, int, int], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        resize_part(pixels, (4, 4), box, "bilinear")


@given(size=st.integers(1, 300), new=st.integers(1, 300), interpolation=st.sampled_from(list(SUPPORT)))
def test_weights_lie_inside_and_add_up_to_one(size: int, new: int, interpolation: str) -> None:
    first, weights = axis_weights(size, new, 0, new, interpolation)
    assert (np.diff(first) >= 0).all()
    assert first[0] >= 0
    inputs = first[:, None] + np.arange(weights.shape[1])
    assert (weights[inputs >= size] == 0).all()
    assert np.abs(weights.sum(axis=1) - 2**22).max() <= weights.shape[1]


def test_without_the_library_torch_resizes_and_versions_say_so(
    fresh: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    image = noise(50, 40)
    transform = Transform(Preprocess(input_size=20))
    exact = transform.evaluate(Image.fromarray(image)).int()
    monkeypatch.setattr(resize, "PATH", tmp_path / "nothing.so")
    assert resize.resize_version() == f"torch {version('torch')}"
    assert not resize.can_resize("bilinear")
    assert 0 < int((transform.evaluate(as_pixels(image)).int() - exact).abs().max()) <= 2
    with pytest.raises(RuntimeError, match="can't be used"):
        resize_part(as_pixels(image), (20, 20), (0, 0, 20, 20), "bilinear")


@built
def test_a_pillow_that_resizes_otherwise_is_noticed(fresh: None, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Image.Image.resize
    monkeypatch.setattr(Image.Image, "resize", lambda self, new, how: plain(self, new, Image.Resampling.BOX))
    with pytest.warns(UserWarning, match="different pixels: torch resizes"):
        assert not resize.can_resize("bilinear")
    assert resize.resize_version().startswith("torch")


@built
@pytest.mark.parametrize("first", ["columns", "rows"])
def test_the_order_of_the_installed_pillow_is_found(fresh: None, monkeypatch: pytest.MonkeyPatch, first: str) -> None:
    plain = Image.Image.resize

    def as_pillow(self: Image.Image, new: tuple[int, int], how: Image.Resampling) -> Image.Image:
        rows_first = first == "rows" and new[1] < self.height and self.height - new[1] > 2 * (self.width - new[0])
        between = (self.width, new[1]) if rows_first else (new[0], self.height)
        return plain(plain(self, between, how), new, how)

    monkeypatch.setattr(Image.Image, "resize", as_pillow)
    assert resize.can_resize("bicubic")
    image = noise(40, 60)
    for new in ((39, 20), (20, 39)):
        assert torch.equal(
            resize_part(as_pixels(image), new, (0, 0, *new), "bicubic"), by_pillow(image, new, "bicubic")
        )


def test_records_say_what_resized() -> None:
    assert environment()["resize"] == resize.resize_version()
    assert "resize" in VERSIONED
