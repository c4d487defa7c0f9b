"""Every mode of image to upright RGB, and every broken file to an error that names it."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from sparsebench.datasets.images.decode import check_image, is_image, read_rgb
from sparsebench.schema import DatasetError


def ramp(width: int = 20, height: int = 12) -> np.ndarray:
    return np.linspace(0, 255, width * height * 3).astype(np.uint8).reshape(height, width, 3)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_png_modes_become_rgb(tmp_path, mode):
    path = tmp_path / "a.png"
    if mode == "I;16":
        Image.fromarray(np.arange(0, 65536, 274, dtype=np.uint16).reshape(-1, 12)).save(path)
    else:
        Image.fromarray(ramp()).convert(mode).save(path)
    check_image(path)
    image = read_rgb(path)
    assert image.mode == "RGB"
    assert np.asarray(image).std() > 40


def test_sixteen_bits_are_scaled_not_clipped(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(np.array([[0, 257, 32896, 65535]], dtype=np.uint16)).save(path)
    assert np.asarray(read_rgb(path))[0, :, 0].tolist() == [0, 1, 128, 255]


def test_transparency_lies_over_white(tmp_path):
    rgba = np.zeros((2, 2, 4), dtype=np.uint8)
    rgba[0, 0] = (200, 0, 0, 255)
    rgba[0, 1] = (200, 0, 0, 0)
    rgba[1, 0] = (0, 0, 0, 128)
    Image.fromarray(rgba).save(tmp_path / "a.png")
    pixels = np.asarray(read_rgb(tmp_path / "a.png"))
    assert pixels[0, 0].tolist() == [200, 0, 0]
    assert pixels[0, 1].tolist() == [255, 255, 255]
    assert pixels[1, 0].tolist() == pytest.approx([127, 127, 127], abs=1)
    palette = Image.new("P", (2, 1), 0)
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putpixel((1, 0), 1)
    palette.save(tmp_path / "p.png", transparency=1)
    assert np.asarray(read_rgb(tmp_path / "p.png"))[0].tolist() == [[10, 20, 30], [255, 255, 255]]


def test_cmyk_jpeg(tmp_path):
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=95)
    check_image(tmp_path / "a.jpg")
    assert np.asarray(read_rgb(tmp_path / "a.jpg"))[8, 8].tolist() == pytest.approx([255, 0, 0], abs=6)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, orientation):
    upright = np.zeros((16, 32, 3), dtype=np.uint8)
    upright[:8, :16] = 255  # white in the upper left corner
    stored = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1],
        5: upright.transpose(1, 0, 2), 6: np.rot90(upright, 1), 7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(np.asarray(read_rgb(tmp_path / "a.png")), upright)


def test_animation_gives_its_first_frame(tmp_path):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert np.asarray(read_rgb(tmp_path / "a.gif"))[0, 0].tolist() == [255, 0, 0]


def encoded(kind: str) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["jpeg", "png", "bmp", "webp", "gif", "tiff"])
def test_truncated_files_are_found(tmp_path, kind):
    whole = encoded(kind)
    path = tmp_path / f"a.{kind}"
    path.write_bytes(whole)
    check_image(path)
    path.write_bytes(whole[: len(whole) * 6 // 10])
    for read in (check_image, read_rgb):
        with pytest.raises(DatasetError, match=rf"a\.{kind}"):
            read(path)


def test_other_broken_files(tmp_path):
    bad = {
        "empty.png": b"",
        "text.jpg": b"<html>not here</html>",
        "random.png": encoded("png")[:16] + bytes(200),
    }
    for name, data in bad.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(DatasetError, match=name) as info:
            check_image(tmp_path / name)
        assert "\n" not in str(info.value)
    with pytest.raises(DatasetError, match="not found"):
        check_image(tmp_path / "none.png")
    Image.fromarray(np.ones((4, 4), dtype=np.float32)).save(tmp_path / "float.tif")
    with pytest.raises(DatasetError, match="mode F"):
        check_image(tmp_path / "float.tif")


def test_bombs_are_refused(tmp_path, monkeypatch):
    Image.new("L", (100, 100)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(DatasetError, match="too many pixels"):
        check_image(tmp_path / "a.png")


def test_permission_denied_is_said(tmp_path, monkeypatch):
    def refuse(self):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr("pathlib.Path.read_bytes", refuse)
    with pytest.raises(DatasetError, match=r"a\.png: permission denied"):
        check_image(tmp_path / "a.png")


def test_which_names_are_images():
    assert all(is_image(name) for name in ("a.JPG", "b.c.jpeg", "x.Png", "y.tif"))
    assert not any(is_image(name) for name in (".a.jpg", "notes.txt", "jpg", "Thumbs.db", "._x.png"))
