from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sparsebench.pruning.upstream import (
    Batches,
    Images,
    Normalise,
    UpstreamData,
    data_label,
    in_batches,
    open_upstream,
)
from sparsebench.schema import DatasetError

NORMALISE = Normalise((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
PLAIN = Normalise((0, 0, 0), (1, 1, 1))
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def lazy(upstream_file: Path) -> UpstreamData:
    """The same data set, decoded on demand."""
    return open_upstream(upstream_file, 32, memory_limit=0)


def numbered(count: int, size: int = 1) -> torch.Tensor:
    """Images of one grey each: their own number."""
    return torch.arange(count, dtype=torch.uint8).view(count, 1, 1, 1).expand(count, size, size, 3).contiguous()


def numbers(batch: torch.Tensor) -> list[int]:
    return [round(value) for value in batch.mul(255).mean((1, 2, 3)).tolist()]


def test_npz_of_jpegs(upstream: UpstreamData) -> None:
    assert upstream.name == "noise"
    assert upstream.train_images.shape == (64, 32, 32, 3)
    assert upstream.train_images[0:1].dtype == torch.uint8
    assert upstream.classes == ("a", "b", "c", "d")
    assert upstream.val_labels.tolist() == [i % 4 for i in range(32)]
    assert upstream.val_labels.dtype == torch.int64
    reds = upstream.train_images[0:64].float().mean((1, 2))[:, 0]
    assert float(reds[upstream.train_labels == 0].min()) > float(reds[upstream.train_labels == 1].max())


def test_what_is_no_data_set_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no data")
    for source in (tmp_path / "none", tmp_path / "none.npz", tmp_path / "notes.txt"):
        with pytest.raises(DatasetError, match=rf"no upstream data at .*{source.name} .*give a \.npz of JPEGs"):
            open_upstream(source, 32)


def test_the_data_sets_name_is_its_files_or_folders(
    upstream_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    capital = tmp_path / "Small.Noise.NPZ"
    capital.write_bytes(upstream_file.read_bytes())
    assert open_upstream(str(capital), 8).name == "Small.Noise"
    folder = tmp_path / "photos"
    for split in ("train", "val"):
        for name in "ab":
            (folder / split / name).mkdir(parents=True)
            Image.new("RGB", (8, 8)).save(folder / split / name / "1.png")
    monkeypatch.chdir(folder)
    assert [open_upstream(source, 8).name for source in (folder, ".")] == ["photos", "photos"]


def test_a_label_of_a_source_shows_no_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert data_label(f"{tmp_path}/noise.npz") == "noise.npz"
    assert data_label(tmp_path / "photos") == "photos"
    assert data_label(".") == tmp_path.name
    assert data_label("~/noise.npz") == "noise.npz"
    assert data_label(f"torchvision:CIFAR10:{tmp_path}/cifar") == "torchvision:CIFAR10:cifar"
    with pytest.raises(DatasetError, match="is not torchvision:NAME:FOLDER"):
        data_label("torchvision:CIFAR10")


def test_decoding_reports_its_progress(upstream_file: Path) -> None:
    seen: list[tuple[int, int]] = []
    open_upstream(upstream_file, 8, report=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (96, 96)
    assert seen == sorted(seen)
    seen.clear()
    open_upstream(upstream_file, 8, memory_limit=0, report=lambda done, total: seen.append((done, total)))
    assert seen == []


@pytest.mark.parametrize(("limit", "kept"), [(96 * 3 * 16 * 16, True), (96 * 3 * 16 * 16 - 1, False)])
def test_images_are_kept_up_to_the_limit(limit: int, kept: bool, upstream_file: Path) -> None:
    data = open_upstream(upstream_file, 16, memory_limit=limit)
    assert isinstance(data.train_images, torch.Tensor) is kept
    assert isinstance(data.val_images, torch.Tensor) is kept


def test_images_decoded_on_demand_are_those_in_memory(upstream: UpstreamData, lazy: UpstreamData) -> None:
    assert lazy.classes == upstream.classes
    assert torch.equal(lazy.train_labels, upstream.train_labels)
    for memory, demand in ((upstream.train_images, lazy.train_images), (upstream.val_images, lazy.val_images)):
        assert demand.shape == memory.shape
        assert len(demand) == len(memory)
        for index in (slice(0, None), slice(5, 17), slice(30, 10_000), slice(7, 7), torch.tensor([3, 31, 3, 0])):
            assert torch.equal(demand[index], memory[index])
        indices = [torch.randint(len(memory), (5,)) for _ in range(9)]
        for a, b in zip(in_batches(demand, indices), in_batches(memory, indices), strict=True):
            assert torch.equal(a, b)


def test_batches_are_the_same_from_memory_and_on_demand(upstream: UpstreamData, lazy: UpstreamData) -> None:
    def batches(data: UpstreamData) -> list[torch.Tensor]:
        made = Batches(data.train_images, data.train_labels, NORMALISE, batch_size=10, seed=1)
        drawn = [*made.epoch(0, CPU), *made.epoch(1, CPU), *made.sample(8, 10, 2, CPU)]
        return [tensor for pair in drawn for tensor in pair]

    once, again, memory = batches(lazy), batches(lazy), batches(upstream)
    assert len(once) == 2 * (6 + 6 + 8)
    for a, b, c in zip(once, again, memory, strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a, c)


def test_batches_that_nobody_takes_leave_the_images_usable(lazy: UpstreamData, upstream: UpstreamData) -> None:
    made = Batches(lazy.train_images, lazy.train_labels, NORMALISE, batch_size=4, seed=0)
    for _ in range(3):
        epoch = made.epoch(0, CPU)
        next(epoch)
        epoch.close()  # type: ignore[attr-defined]
    assert torch.equal(lazy.train_images[0:64], upstream.train_images[0:64])


def test_normalisation_is_that_of_the_formula(upstream: UpstreamData) -> None:
    normalise = Normalise((0.1, 0.2, 0.3), (0.5, 0.25, 2.0))
    batch = upstream.val_images[0:5]
    found = normalise(batch, CPU)
    assert found.shape == (5, 3, 32, 32)
    expected = (batch.numpy() / 255 - np.array([0.1, 0.2, 0.3])) / np.array([0.5, 0.25, 2.0])
    np.testing.assert_allclose(found.permute(0, 2, 3, 1).numpy(), expected, atol=1e-5)


def test_batches_depend_on_seed_and_epoch_alone(upstream: UpstreamData) -> None:
    def epoch(seed: int, number: int) -> list[torch.Tensor]:
        torch.rand(seed + number)  # what the global generator holds plays no part
        batches = Batches(upstream.train_images, upstream.train_labels, NORMALISE, batch_size=24, seed=seed)
        assert len(batches) == 2
        return [images for images, _ in batches.epoch(number, CPU)]

    assert all(torch.equal(a, b) for a, b in zip(epoch(1, 3), epoch(1, 3), strict=True))
    assert not torch.equal(epoch(1, 3)[0], epoch(1, 4)[0])
    assert not torch.equal(epoch(1, 3)[0], epoch(2, 3)[0])


@given(st.integers(1, 40), st.integers(1, 12), st.integers(0, 5))
def test_an_epoch_holds_no_image_twice_and_only_whole_batches(count: int, size: int, epoch: int) -> None:
    batches = Batches(numbered(count), torch.arange(count), PLAIN, batch_size=size, seed=0, shift=0)
    seen: list[int] = []
    made = list(batches.epoch(epoch, CPU))
    assert len(made) == len(batches) == count // size
    for images, labels in made:
        assert len(labels) == size
        assert numbers(images) == labels.tolist()
        seen += labels.tolist()
    assert len(set(seen)) == len(seen)


@given(st.integers(1, 20), st.integers(0, 12), st.integers(1, 25), st.integers(0, 2**62))
def test_a_sample_is_drawn_without_replacement(count: int, batches: int, size: int, seed: int) -> None:
    made = Batches(numbered(count), torch.arange(count), PLAIN, batch_size=4, seed=0)
    before = torch.get_rng_state()
    drawn = [(numbers(images), labels.tolist()) for images, labels in made.sample(batches, size, seed, CPU)]
    assert torch.equal(torch.get_rng_state(), before)
    assert len(drawn) == batches
    assert all(images == labels for images, labels in drawn)
    real = min(size, count)
    rows = [labels for _, labels in drawn]
    assert all(len(set(row)) == len(row) == real for row in rows)
    once = count // real  # batches until too few images are left for another
    for start in range(0, batches, once):
        together = [number for row in rows[start : start + once] for number in row]
        assert len(set(together)) == len(together)
    assert rows == [labels.tolist() for _, labels in made.sample(batches, size, seed, CPU)]


def test_samples_of_other_seeds_differ() -> None:
    made = Batches(numbered(200), torch.arange(200), PLAIN, batch_size=4, seed=0)
    first, second = ([labels.tolist() for _, labels in made.sample(3, 20, seed, CPU)] for seed in (0, 1))
    assert first != second


def test_a_batch_is_shifted_or_flipped_images_with_their_labels() -> None:
    rng = np.random.default_rng(0)
    size, shift = 6, 2
    images = rng.integers(0, 256, (12, size, size, 3), dtype=np.uint8)
    made = Batches(torch.from_numpy(images), torch.arange(12), PLAIN, batch_size=12, seed=0, shift=shift)
    views: set[tuple[int, int, bool]] = set()
    for epoch in range(20):
        ((batch, labels),) = made.epoch(epoch, CPU)
        assert sorted(labels.tolist()) == list(range(12))
        pixels = (batch * 255).round().permute(0, 2, 3, 1).numpy().astype(np.uint8)
        for image, label in zip(pixels, labels.tolist(), strict=True):
            padded = np.pad(images[label], ((shift, shift), (shift, shift), (0, 0)), mode="reflect")
            found = [
                (down, right, flip)
                for down in range(2 * shift + 1)
                for right in range(2 * shift + 1)
                for flip in (False, True)
                if np.array_equal(image, _view(padded, down, right, size, flip=flip))
            ]
            assert len(found) == 1
            views.add(found[0])
    assert len(views) == 2 * (2 * shift + 1) ** 2


def _view(padded: np.ndarray, down: int, right: int, size: int, *, flip: bool) -> np.ndarray:
    view = padded[down : down + size, right : right + size]
    return view[:, ::-1] if flip else view


def test_a_sample_is_not_augmented(upstream: UpstreamData) -> None:
    images: Images = upstream.train_images
    made = Batches(images, torch.arange(64), PLAIN, batch_size=4, seed=0)
    for batch, labels in made.sample(2, 8, 0, CPU):
        assert torch.equal((batch * 255).round().permute(0, 2, 3, 1).byte(), images[labels])
