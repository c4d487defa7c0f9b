"""Crops are decoded once; the cache never changes a pixel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sparsebench.datasets.base import Split
from sparsebench.datasets.images.crops import evaluation_views
from sparsebench.datasets.images.decode import read_rgb
from sparsebench.datasets.images.transforms import Transform
from sparsebench.schema import Preprocess

TRANSFORM = Transform(Preprocess(input_size=16))


@pytest.fixture
def split(tmp_path: Path) -> Split:
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{k}.png" for k in range(7)]
    for path in paths:
        Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)).save(path)
    names = tuple(path.name for path in paths)
    return Split(names, np.arange(7), names, lambda i: read_rgb(paths[i]), lambda i: paths[i])


def views(split: Split, cache: Path | None, transform: Transform = TRANSFORM, **options: object) -> torch.Tensor:
    given = {"decoder": "fast", "decoder_version": "1", "cache_dir": cache} | options
    return torch.cat(list(evaluation_views(split, transform, 3, **given)))  # type: ignore[arg-type]


def test_what_is_cached_is_what_was_decoded(split: Split, tmp_path: Path) -> None:
    plain = views(split, None)
    assert torch.equal(views(split, tmp_path / "cache"), plain)
    for k in range(7):
        (tmp_path / f"{k}.png").unlink()
    assert torch.equal(views(split, tmp_path / "cache"), plain)
    normalised = Transform(Preprocess(input_size=16, mean=(0.5, 0.5, 0.5)))
    assert torch.equal(views(split, tmp_path / "cache", normalised), plain)


def test_another_size_decoder_or_image_is_another_entry(split: Split, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    views(split, cache)
    views(split, cache, Transform(Preprocess(input_size=8)))
    views(split, cache, decoder_version="2")
    views(Split(split.ids, split.labels, ("x", *split.hashes[1:]), split.load, split.file), cache)
    assert len(list(cache.rglob("*.npy"))) == 4


@pytest.mark.parametrize("damage", ["flip", "cut", "json"])
def test_damage_is_found_and_mended(split: Split, tmp_path: Path, damage: str) -> None:
    plain = views(split, tmp_path / "cache")
    (entry,) = (tmp_path / "cache").rglob("*.npy")
    content = bytearray(entry.read_bytes())
    if damage == "json":
        (entry.parent / "meta.json").write_text("{")
    elif damage == "cut":
        entry.write_bytes(content[:-100])
    else:
        content[-1] ^= 1
        entry.write_bytes(content)
    with pytest.warns(UserWarning, match="are damaged"):
        assert torch.equal(views(split, tmp_path / "cache"), plain)
    assert torch.equal(views(split, tmp_path / "cache"), plain)


def test_what_is_too_large_left_early_or_unwritable_leaves_nothing(split: Split, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    views(split, cache, budget=100)
    started = evaluation_views(split, TRANSFORM, 3, decoder="fast", decoder_version="1", cache_dir=cache)
    next(started)
    started.close()  # type: ignore[attr-defined]
    assert not [path for path in cache.rglob("*") if path.is_file()]
    (tmp_path / "file").write_text("in the way")
    with pytest.warns(UserWarning, match="can't be cached"):
        assert len(views(split, tmp_path / "file")) == 7


def test_rendered_images_are_kept_under_what_renders_them(tmp_path: Path) -> None:
    rendered: list[int] = []

    def load(i: int) -> Image.Image:
        rendered.append(i)
        return Image.new("RGB", (8, 8), (i, 0, 0))

    def views(renderer: str | None) -> torch.Tensor:
        split = Split(("a", "b"), np.zeros(2, np.int64), ("1", "2"), load, rendered=renderer)
        transform = Transform(Preprocess(input_size=8, crop_pct=1.0))
        options = {"decoder": "fast", "decoder_version": "1", "cache_dir": tmp_path}
        return torch.cat(list(evaluation_views(split, transform, 1, **options)))  # type: ignore[arg-type]

    first = views("pillow 1")
    assert torch.equal(views("pillow 1"), first)
    assert rendered == [0, 1]
    views("pillow 2")
    assert rendered == [0, 1, 0, 1]
    views(None)
    views(None)
    assert rendered == [0, 1, 0, 1, 0, 1, 0, 1]
