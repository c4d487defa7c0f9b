from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sparsebench.pruning.upstream import Batches, Normalise, UpstreamData, open_upstream
from sparsebench.schema import DatasetError

NORMALISE = Normalise((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


def test_npz_of_jpegs(upstream: UpstreamData) -> None:
    assert upstream.train_images.shape == (64, 32, 32, 3)
    assert upstream.train_images.dtype == torch.uint8
    assert upstream.classes == ("a", "b", "c", "d")
    assert upstream.val_labels.tolist() == [i % 4 for i in range(32)]


def test_folder(tmp_path: Path) -> None:
    for split in ("train", "val"):
        for name, colour in (("red", (200, 0, 0)), ("blue", (0, 0, 200))):
            (tmp_path / split / name).mkdir(parents=True)
            Image.new("RGB", (50, 40), colour).save(tmp_path / split / name / "1.png")
    data = open_upstream(tmp_path, 16)
    assert data.classes == ("blue", "red")
    assert data.train_images.shape == (2, 16, 16, 3)
    assert data.train_images[1, 0, 0].tolist() == [200, 0, 0]


def test_mistakes(tmp_path: Path, upstream_file: Path) -> None:
    with pytest.raises(DatasetError, match="no upstream data"):
        open_upstream(tmp_path / "none", 32)
    (tmp_path / "bad.npz").write_bytes(upstream_file.read_bytes()[:500])
    with pytest.raises(DatasetError, match=r"not a readable \.npz"):
        open_upstream(tmp_path / "bad.npz", 32)
    np.savez(tmp_path / "less.npz", classes=np.array(["a", "b"]))
    with pytest.raises(DatasetError, match="has no array 'train_jpeg'"):
        open_upstream(tmp_path / "less.npz", 32)
    np.savez(tmp_path / "objects.npz", classes=np.array([{}], dtype=object))
    with pytest.raises(DatasetError, match=r"not a readable \.npz"):
        open_upstream(tmp_path / "objects.npz", 32)
    for split in ("train", "val"):
        (tmp_path / "one" / split / "a").mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "one" / split / "a" / "1.png")
    with pytest.raises(DatasetError, match="has 1 class"):
        open_upstream(tmp_path / "one", 32)


def test_batches_depend_on_seed_and_epoch_alone(upstream: UpstreamData) -> None:
    def epoch(seed: int, number: int) -> list[torch.Tensor]:
        batches = Batches(upstream.train_images, upstream.train_labels, NORMALISE, batch_size=24, seed=seed)
        assert len(batches) == 2
        return [images for images, _ in batches.epoch(number, torch.device("cpu"))]

    assert all(torch.equal(a, b) for a, b in zip(epoch(1, 3), epoch(1, 3), strict=True))
    assert not torch.equal(epoch(1, 3)[0], epoch(1, 4)[0])
    assert not torch.equal(epoch(1, 3)[0], epoch(2, 3)[0])


def test_a_batch_is_shifted_or_flipped_images_with_their_labels() -> None:
    images = torch.arange(5, dtype=torch.uint8).view(5, 1, 1, 1).expand(5, 8, 8, 3).contiguous()
    batches = Batches(images, torch.arange(5), Normalise((0, 0, 0), (1, 1, 1)), batch_size=5, seed=0, shift=2)
    for batch, labels in batches.epoch(0, torch.device("cpu")):
        assert torch.equal((batch * 255).round().mean((1, 2, 3)).long(), labels)
        assert sorted(labels.tolist()) == list(range(5))
