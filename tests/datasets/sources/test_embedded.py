"""The embedded tasks: what is published about them, and that nothing is shared between splits."""

from __future__ import annotations

import hashlib
from collections import Counter
from itertools import combinations

import numpy as np
import pytest
import yaml

from sparsebench.common.paths import root_file
from sparsebench.datasets import open_task
from sparsebench.datasets.base import TaskData
from sparsebench.datasets.sources.embedded import digits as digits_module
from sparsebench.datasets.sources.embedded import glyphs as glyphs_module
from sparsebench.datasets.sources.embedded import textures as textures_module
from sparsebench.datasets.sources.embedded.index import index_path, read_index, write_index
from sparsebench.datasets.sources.embedded.make_index import MAKERS, main
from sparsebench.datasets.sources.embedded.variation import Variation, apply
from sparsebench.schema import DatasetError, RegistryError, Task

NAMES = ("digits", "glyphs", "textures")


def published(name: str) -> Task:
    return Task(**yaml.safe_load((root_file("tasks") / f"{name}.yaml").read_text()))


@pytest.fixture(scope="module")
def opened() -> dict[str, TaskData]:
    return {name: open_task(published(name)) for name in NAMES}


@pytest.fixture(scope="module")
def pixels(opened) -> dict[str, dict[str, list[np.ndarray]]]:
    return {
        name: {key: [np.asarray(split.load(i)) for i in range(len(split))] for key, split in data.splits.items()}
        for name, data in opened.items()
    }


@pytest.mark.parametrize("name", NAMES)
def test_published_fields_are_asserted(name):
    task = published(name)
    assert task.classes
    assert set(task.sizes or {}) == {"train", "val", "test"}
    assert task.split_sha256
    assert not task.augment.flip or name == "textures"  # mirrored letters and digits are other letters
    for change in ({"classes": 5}, {"sizes": {"train": 3}}, {"split_sha256": "0" * 64}):
        with pytest.raises(DatasetError, match="should be"):
            open_task(task.model_copy(update=change))


@pytest.mark.parametrize("name", NAMES)
def test_images_are_rgb_and_classes_balanced(name, opened, pixels):
    data = opened[name]
    for key, split in data.splits.items():
        assert {image.shape for image in pixels[name][key]} == {(32, 32, 3)}
        assert len(set(Counter(split.labels.tolist()).values())) == 1
        assert set(split.labels.tolist()) == set(range(len(data.classes)))
    assert min(image.std() for key in data.splits for image in pixels[name][key]) > 3


@pytest.mark.parametrize("name", NAMES)
def test_no_image_is_in_two_splits(name, opened, pixels):
    contents = {key: {image.tobytes() for image in images} for key, images in pixels[name].items()}
    for first, second in combinations(contents, 2):
        assert not contents[first] & contents[second]
        assert not set(opened[name].splits[first].hashes) & set(opened[name].splits[second].hashes)


@pytest.mark.parametrize("name", NAMES)
def test_split_files_are_what_the_rule_gives(name, tmp_path):
    made = tmp_path / f"{name}.csv"
    write_index(made, MAKERS[name]())
    assert made.read_bytes() == index_path(name).read_bytes()


def test_a_digit_is_used_once():
    images, labels = digits_module.source()
    rows = read_index(index_path("digits"), digits_module.COLUMNS)
    sources = [images[int(row["index"])].tobytes() for row in rows]
    assert len(set(sources)) == len(sources)
    assert all(labels[int(row["index"])] == int(row["label"]) for row in rows)


def test_font_families_are_held_out():
    rows = read_index(index_path("glyphs"), glyphs_module.COLUMNS)
    fonts = {split: {row["font"] for row in rows if row["split"] == split} for split in ("train", "val", "test")}
    assert all(font.startswith("DejaVu") for font in fonts["train"])
    assert all(font.startswith("STIX") for font in fonts["val"])
    assert all(font.startswith("cm") for font in fonts["test"])
    assert not any(word in font for group in fonts.values() for font in group for word in ("Siz", "Display", "NonUni"))


def test_letters_of_all_fonts_are_different_shapes():
    for fonts in glyphs_module.FAMILIES.values():
        for font in fonts:
            shapes = {glyphs_module.letter(font, name).tobytes() for name in glyphs_module.CLASSES}
            assert len(shapes) == 26


def test_letters_look_like_their_namesakes_in_another_family():
    """Each Computer Modern capital is nearest to its own letter in STIX, for nearly all letters."""

    def shape(font: str, name: str) -> np.ndarray:
        return np.asarray(glyphs_module.letter(font, name).resize((24, 24)), dtype=float).ravel() / 255

    ours = np.stack([shape("cmr10", name) for name in glyphs_module.CLASSES])
    theirs = np.stack([shape("STIXGeneral", name) for name in glyphs_module.CLASSES])
    nearest = ((ours[:, None] - theirs[None]) ** 2).sum(2).argmin(1)
    assert (nearest == np.arange(26)).sum() >= 24


def test_glyph_hashes_do_not_depend_on_rendering(opened, monkeypatch):
    def other(font: str, character: str):
        raise AssertionError("rendered")

    monkeypatch.setattr(glyphs_module, "letter", other)
    assert open_task(published("glyphs")).split_sha256 == opened["glyphs"].split_sha256


def test_regions_of_different_splits_are_a_patch_apart():
    rows = read_index(index_path("textures"), textures_module.COLUMNS)
    for photo in textures_module.PHOTOS:
        here = [(row["split"], int(row["x"]), int(row["y"])) for row in rows if row["photo"] == photo]
        height, width = textures_module.pixels(photo).shape
        assert all(0 <= x <= width - 32 and 0 <= y <= height - 32 for _, x, y in here)
        for (split, x, y), (other, x2, y2) in combinations(here, 2):
            assert max(abs(x - x2), abs(y - y2)) >= 32  # no overlap at all
            if split != other:
                assert abs(x - x2) >= 64  # a whole patch in between


def test_every_photograph_shows_in_every_split():
    rows = read_index(index_path("textures"), textures_module.COLUMNS)
    assert {(row["photo"], row["split"]) for row in rows} == {
        (photo, split) for photo in textures_module.PHOTOS for split in ("train", "val", "test")
    }


def test_brightness_and_contrast_tell_nothing():
    dull = textures_module.pixels("brick")[:32, :32]
    patch = np.clip(dull.astype(int) // 2 + 10, 0, 255).astype(np.uint8)
    for image in (dull, patch):
        out = textures_module.normalised(image).astype(float)
        assert abs(out.mean() - 128) < 6
        assert abs(out.std() - 50) < 8


def test_texture_patches_are_normalised(pixels):
    """Clipping at black and white moves the moments of few patches, and not far."""
    means = np.array([image.mean() for images in pixels["textures"].values() for image in images])
    deviations = np.array([image.std() for images in pixels["textures"].values() for image in images])
    assert np.abs(np.median(means) - 128) < 1
    assert np.abs(np.median(deviations) - 50) < 2
    assert np.ptp(means) < 25


def test_another_photograph_under_the_name_is_refused(monkeypatch, tmp_path):
    fake = tmp_path / "brick.png"
    fake.write_bytes(b"not the photograph")
    textures_module._verified.cache_clear()
    monkeypatch.setattr(textures_module, "photo_path", lambda photo: fake)
    with pytest.raises(DatasetError, match=r"brick\.png"):
        open_task(published("textures"))
    monkeypatch.undo()
    textures_module._verified.cache_clear()


def test_missing_font_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(glyphs_module, "font_path", lambda font: tmp_path / f"{font}.ttf")
    glyphs_module._font_sha256.cache_clear()
    with pytest.raises(DatasetError, match="DejaVuSans"):
        open_task(published("glyphs"))
    monkeypatch.undo()
    glyphs_module._font_sha256.cache_clear()


def test_options_are_refused():
    with pytest.raises(RegistryError, match=r"options\.shots"):
        open_task(Task(id="digits", loader="digits", options={"shots": 5}))


def test_variation_moves_ink_as_it_says():
    character = textures_module.Image.new("L", (96, 96), 255)
    plain = np.asarray(apply(character, Variation(16, 0, 0, 0, 0, 200, 10)))[..., 0]
    assert (plain[8:24, 8:24] == 200).all()
    assert (plain[:8] == 10).all()
    assert (plain[:, 24:] == 10).all()
    moved = np.asarray(apply(character, Variation(16, 0, 0, 3, -2, 200, 10)))[..., 0]
    np.testing.assert_array_equal(moved[6:22, 11:27], plain[8:24, 8:24])
    turned = np.asarray(apply(character, Variation(16, 90, 0, 0, 0, 200, 10)))[..., 0]
    assert np.abs(turned.astype(int) - plain).mean() < 4
    slanted = np.asarray(apply(character, Variation(16, 0, 0.5, 0, 0, 200, 10)))[..., 0]
    top, bottom = (np.flatnonzero(slanted[row] > 100).mean() for row in (9, 22))
    assert bottom - top == pytest.approx(6.5, abs=1)  # 13 rows at half a pixel a row


def test_damaged_split_file_is_an_error(tmp_path, monkeypatch):
    path = tmp_path / "digits.csv"
    lines = index_path("digits").read_text().splitlines()
    monkeypatch.setattr(digits_module, "index_path", lambda name: path)
    task = Task(id="digits", loader="digits")
    for text, message in (
        ("\n".join(["a,b", "1,2"]), "columns"),
        ("\n".join([lines[0], lines[1].rsplit(",", 3)[0]]), "line 2"),
        ("\n".join([lines[0], lines[1].replace(",train,", ",trial,")]), "line 2"),
        ("\n".join([lines[0], lines[1].replace(",0,", ",x,", 1)]), "unknown labels"),
    ):
        path.write_text(text)
        with pytest.raises(DatasetError, match=message):
            open_task(task)
    path.unlink()
    with pytest.raises(DatasetError, match="can't be read"):
        open_task(task)


def test_make_index_needs_a_folder(tmp_path, capsys):
    assert main([]) == 2
    assert "FOLDER" in capsys.readouterr().err
    assert main([str(tmp_path)]) == 0
    assert {path.stem for path in tmp_path.iterdir()} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_loading_does_not_depend_on_the_order_of_access(name, opened, pixels):
    again = open_task(published(name))
    for i in (len(again.test) - 1, 0):
        np.testing.assert_array_equal(np.asarray(again.test.load(i)), pixels[name]["test"][i])


def test_hashes_are_sha256(opened):
    assert all(len(h) == hashlib.sha256().digest_size * 2 for d in opened.values() for h in d.train.hashes)
