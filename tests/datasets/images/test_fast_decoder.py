"""The fast decoder gives Pillow's picture of any file that Pillow reads, or nearly, where torch resizes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage import data

from sparsebench.datasets.images.decode import read_pixels, read_rgb
from sparsebench.datasets.images.resize import order
from sparsebench.datasets.images.transforms import Transform
from sparsebench.schema import Augment, DatasetError, Preprocess


@pytest.fixture(params=["compiled", "torch"])
def resizing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What resizes; torch, as where there was no C compiler."""
    if request.param == "torch":
        monkeypatch.setattr("sparsebench.datasets.images.pixels.can_resize", lambda interpolation: False)
    elif order() is None:
        pytest.skip("the resize is not built")
    return str(request.param)


def photograph() -> Image.Image:
    return Image.fromarray(data.astronaut()).resize((500, 375))


def save(folder: Path, image: Image.Image, name: str, **options: object) -> Path:
    image.save(folder / name, **options)
    return folder / name


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "nearest"])
def test_a_photograph_differs_by_a_grey_level_at_most_here_and_there(
    tmp_path: Path, interpolation: str, resizing: str
) -> None:
    path = save(tmp_path, photograph(), "a.jpg", quality=90)
    transform = Transform(Preprocess(interpolation=interpolation))  # type: ignore[arg-type]
    exact, fast = transform.evaluate(read_rgb(path)).int(), transform.evaluate(read_pixels(path)).int()
    assert fast.shape == (3, 224, 224)
    assert int((exact - fast).abs().max()) <= 2
    assert float((exact - fast).abs().float().mean()) < 0.01


@given(
    width=st.integers(20, 90),
    height=st.integers(20, 90),
    size=st.integers(8, 40),
    crop_pct=st.floats(0.5, 1.0),
    interpolation=st.sampled_from(["bilinear", "bicubic", "nearest"]),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_geometry_is_that_of_pillow(
    resizing: str, width: int, height: int, size: int, crop_pct: float, interpolation: str
) -> None:
    ramp = np.add.outer(np.linspace(0, 120, height), np.linspace(0, 120, width))
    pixels = np.stack([ramp, ramp[::-1], ramp[:, ::-1]], -1).astype(np.uint8)
    transform = Transform(
        Preprocess(input_size=size, crop_pct=crop_pct, interpolation=interpolation)  # type: ignore[arg-type]
    )
    exact = transform.evaluate(Image.fromarray(pixels)).int()
    fast = transform.evaluate(torch.from_numpy(pixels).permute(2, 0, 1)).int()
    assert int((exact - fast).abs().max()) <= (2 if resizing == "torch" else 0)


def test_training_views_are_cut_from_the_same_place(tmp_path: Path, resizing: str) -> None:
    path = save(tmp_path, photograph(), "a.jpg", quality=90)
    transform = Transform(Preprocess(input_size=64), Augment(crop="random_resized", flip=True))
    for seed in range(5):
        exact = transform.train(read_rgb(path), np.random.default_rng(seed)).int()
        fast = transform.train(read_pixels(path), np.random.default_rng(seed)).int()
        assert float((exact - fast).abs().float().mean()) < 0.05


@pytest.mark.parametrize("kind", ["png", "grey", "cmyk", "rotated", "palette", "progressive"])
def test_other_files_are_pillows_pictures(tmp_path: Path, kind: str) -> None:
    image = photograph().resize((60, 40))
    if kind == "png":
        path = save(tmp_path, image, "a.png")
    elif kind == "grey":
        path = save(tmp_path, image.convert("L"), "a.jpg")
    elif kind == "cmyk":
        path = save(tmp_path, image.convert("CMYK"), "a.jpg")
    elif kind == "palette":
        path = save(tmp_path, image.convert("P"), "a.gif")
    elif kind == "progressive":
        path = save(tmp_path, image, "a.jpg", progressive=True)
    else:
        exif = Image.Exif()
        exif[274] = 6
        path = save(tmp_path, image, "a.jpg", exif=exif)
    exact = torch.from_numpy(np.array(read_rgb(path))).permute(2, 0, 1).int()
    assert int((read_pixels(path).int() - exact).abs().max()) <= 1


@pytest.mark.parametrize("content", [b"", b"\xff\xd8\xff\xe0 no jpeg", b"hello"])
def test_broken_files_are_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "broken.jpg").write_bytes(content)
    with pytest.raises(DatasetError, match=r"broken\.jpg"):
        read_pixels(tmp_path / "broken.jpg")


def test_a_truncated_jpeg_is_named(tmp_path: Path) -> None:
    path = save(tmp_path, photograph(), "cut.jpg")
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(DatasetError, match=r"cut\.jpg"):
        read_pixels(path)
