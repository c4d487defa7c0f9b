"""A JPEG is called plain only where decoding it is all there is to do."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sparsebench.datasets.images.jpeg import is_plain_jpeg

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 13, 3), dtype=np.uint8))


def saved(image: Image.Image = PICTURE, kind: str = "JPEG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def turned() -> bytes:
    exif = Image.Exif()
    exif[274] = 6
    return saved(exif=exif)


@pytest.mark.parametrize(
    "data",
    [
        saved(),
        saved(PICTURE.convert("L")),
        saved(progressive=True),
        saved(comment=b"a comment", icc_profile=b"p" * 70000, restart_marker_blocks=1),
    ],
    ids=["rgb", "grey", "progressive", "profile-and-comment"],
)
def test_what_needs_only_decoding_is_plain(data: bytes) -> None:
    assert is_plain_jpeg(data)


@pytest.mark.parametrize(
    "data",
    [
        turned(),
        saved(PICTURE.convert("CMYK")),
        saved(kind="PNG"),
        b"",
        b"\xff\xd8",
        b"\xff\xd8\xff\xda\0\x02",
        b"hello",
    ],
    ids=["turned", "cmyk", "png", "empty", "cut", "without-a-frame", "text"],
)
def test_anything_else_is_for_pillow_to_open(data: bytes) -> None:
    assert not is_plain_jpeg(data)


def test_too_many_pixels_are_for_pillow_to_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 9 * 13)
    assert is_plain_jpeg(saved())
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 9 * 13 - 1)
    assert not is_plain_jpeg(saved())


@given(cut=st.integers(0, len(saved())), at=st.integers(0, 400), value=st.integers(0, 255))
def test_damage_is_never_an_error(cut: int, at: int, value: int) -> None:
    data = bytearray(saved())
    data[at] = value
    assert is_plain_jpeg(bytes(data[:cut])) in (True, False)
