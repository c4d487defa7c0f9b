from __future__ import annotations

import dataclasses
import json
import os
import shutil
import threading
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import small_world as world
from sparsebench.caching import entries as cache
from sparsebench.caching import stream
from sparsebench.datasets.base import Split
from sparsebench.schema import Numerics, RunError, UnknownNameError
from sparsebench.transfer.features import CacheWarning, extract, extraction


def run(cache_dir=None, *, backbone=None, split=None, numerics=None, **options):
    return extract(
        backbone or world.backbone(),
        split or world.split(21, 5),
        world.transform(),
        numerics or Numerics(),
        cache_dir=cache_dir,
        **options,
    )


def entries(cache_dir):
    return sorted(p.name for p in (cache_dir / "features").iterdir())


def test_features_are_the_modules_output_in_split_order():
    backbone, split, transform = world.backbone(), world.split(21, 5), world.transform()
    found = extract(backbone, split, transform, Numerics(), cache_dir=None, batch_size=8)
    images = torch.stack([transform.evaluate(split.load(i)) for i in range(len(split))])
    with torch.inference_mode():
        expected = backbone.module(transform.normalise(images)).numpy()
    np.testing.assert_allclose(found.x, expected, rtol=1e-4, atol=1e-5)
    assert found.x.dtype == np.float32
    assert found.x.flags.c_contiguous
    assert found.ids == split.ids
    np.testing.assert_array_equal(found.y, split.labels)
    assert not found.cached


def test_extraction_repeats_bit_for_bit_and_leaves_the_backbone_alone():
    backbone = world.backbone(sparsity=0.5)
    before = {name: value.clone() for name, value in backbone.module.state_dict().items()}
    first, second = run(backbone=backbone), run(backbone=backbone)
    np.testing.assert_array_equal(first.x, second.x)
    assert all(torch.equal(value, before[name]) for name, value in backbone.module.state_dict().items())


def test_workers_do_not_change_the_numbers():
    np.testing.assert_array_equal(run(workers=2).x, run().x)


def test_cached_array_is_the_fresh_one_bit_for_bit(tmp_path):
    fresh, cached = run(tmp_path), run(tmp_path)
    assert (fresh.cached, cached.cached) == (False, True)
    assert cached.seconds == fresh.seconds
    np.testing.assert_array_equal(cached.x, fresh.x)
    assert len(entries(tmp_path)) == 1


@pytest.mark.parametrize(
    "change",
    ["weights", "mask", "arch", "split", "precision", "threads", "batch_size", "transform"],
)
def test_anything_that_the_numbers_depend_on_makes_another_entry(tmp_path, change):
    backbone, split, options = world.backbone(), world.split(9, 5), {}
    transform, numerics = world.transform(), Numerics()
    extract(backbone, split, transform, numerics, cache_dir=tmp_path)
    fields = {"weights": "weights_sha256", "mask": "mask_sha256", "arch": "arch"}
    if change in fields:
        backbone = dataclasses.replace(backbone, info=dataclasses.replace(backbone.info, **{fields[change]: "c" * 64}))
    elif change == "split":
        split = world.split(9, 6)
    elif change == "batch_size":
        options["batch_size"] = 4
    elif change == "transform":
        transform = dataclasses.replace(transform, preprocess=world.PREPROCESS.model_copy(update={"crop_pct": 0.5}))
    else:
        numerics = Numerics(**{"precision": {"precision": "bf16"}, "threads": {"threads": 2}}[change])
    assert not extract(backbone, split, transform, numerics, cache_dir=tmp_path, **options).cached
    assert len(entries(tmp_path)) == 2


def test_a_name_is_not_part_of_the_key(tmp_path):
    backbone = world.backbone()
    run(tmp_path, backbone=backbone)
    renamed = dataclasses.replace(backbone, info=dataclasses.replace(backbone.info, head_name="classifier"))
    assert run(tmp_path, backbone=renamed).cached


def truncate(entry):
    file = entry / "array.npy"
    file.write_bytes(file.read_bytes()[:-50])


def flip_a_bit(entry):
    file = entry / "array.npy"
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(bytes(content))


def empty_meta(entry):
    (entry / "meta.json").write_text("")


def strange_meta(entry):
    (entry / "meta.json").write_text("[1, 2]")


def another_key(entry):
    meta = json.loads((entry / "meta.json").read_text())
    meta["key"]["arch"] = "another"
    (entry / "meta.json").write_text(json.dumps(meta))


def deep_meta(entry):
    (entry / "meta.json").write_text("[" * 100_000)


def huge_meta(entry):
    with (entry / "meta.json").open("r+b") as file:
        file.truncate(2**40)


def no_array(entry):
    (entry / "array.npy").unlink()


def a_folder(entry):
    (entry / "array.npy").unlink()
    (entry / "array.npy").mkdir()


def a_pipe(entry):
    (entry / "array.npy").unlink()
    os.mkfifo(entry / "array.npy")


def a_pipe_for_meta(entry):
    (entry / "meta.json").unlink()
    os.mkfifo(entry / "meta.json")


def petabytes(entry):
    file = entry / "array.npy"
    content = file.read_bytes()
    file.write_bytes(content.replace(b"(21, 8), }            ", b"(500000000000000, 8), "))
    assert file.read_bytes() != content


def deep_header(entry):
    described = b"{'descr': " + b"(" * 60_000 + b"}"
    (entry / "array.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(described).to_bytes(2, "little") + described)


class Touch:
    """Leaves a file behind if it is ever unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (type(self.path).touch, (self.path,))


def pickled_array(entry):
    np.save(entry / "array.npy", np.array([Touch(entry.parent.parent / "ran")], dtype=object), allow_pickle=True)


@pytest.mark.parametrize(
    "damage",
    [
        truncate, flip_a_bit, empty_meta, strange_meta, deep_meta, huge_meta, another_key, no_array, a_folder, a_pipe,
        a_pipe_for_meta, petabytes, deep_header, pickled_array,
    ],
)  # fmt: skip
def test_a_damaged_entry_is_reported_and_made_again(tmp_path, damage):
    fresh = run(tmp_path)
    damage(tmp_path / "features" / entries(tmp_path)[0])
    with pytest.warns(CacheWarning, match="damaged"):
        again = run(tmp_path)
    assert not again.cached
    np.testing.assert_array_equal(again.x, fresh.x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert run(tmp_path).cached
    assert len(entries(tmp_path)) == 1
    assert not (tmp_path / "ran").exists()


def test_a_cache_that_cannot_be_written_is_only_a_warning(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    with pytest.warns(CacheWarning, match="can't be cached"):
        found = run(blocked)
    np.testing.assert_array_equal(found.x, run().x)


def full(*_args, **_kwargs):
    raise OSError(28, "No space left on device")


def test_a_full_disk_is_only_a_warning_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(stream.os, "fsync", full)
    with pytest.warns(CacheWarning, match="No space left"):
        run(tmp_path)
    assert entries(tmp_path) == []


def test_of_two_writers_one_wins_silently(tmp_path, monkeypatch):
    first = run(tmp_path)
    monkeypatch.setattr("sparsebench.transfer.features.extraction.read", lambda *_: None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        second = run(tmp_path)
    monkeypatch.undo()
    assert len(entries(tmp_path)) == 1
    assert run(tmp_path).cached
    np.testing.assert_array_equal(first.x, second.x)


def test_leftovers_of_killed_writers_are_swept_when_old(tmp_path):
    run(tmp_path)
    old, young = tmp_path / "features" / ".tmp-old", tmp_path / "features" / ".tmp-young"
    old.mkdir()
    young.mkdir()
    os.utime(old, (0, 0))
    run(tmp_path, split=world.split(4, 9))
    assert not old.exists()
    assert young.exists()
    shutil.rmtree(young)


class Broken(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.shape = shape

    def forward(self, x):
        return torch.full((len(x), *self.shape), float("inf"))


def test_non_finite_features_are_counted():
    with pytest.raises(RunError, match="168 of 168 features of tiny are not finite") as caught:
        run(backbone=world.FakeBackbone(Broken((8,))))
    assert "inspect" in caught.value.hint


def test_unpooled_features_are_refused():
    with pytest.raises(RunError, match=r"\(21, 8, 2, 2\)"):
        run(backbone=world.FakeBackbone(Broken((8, 2, 2))))


def test_an_unknown_engine_is_refused_before_any_work():
    with pytest.raises(UnknownNameError, match="torhc"):
        run(numerics=Numerics(engine="torhc"))


def test_progress_ends_at_the_number_of_images():
    seen = []
    run(batch_size=4, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (21, 21)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


@pytest.fixture
def streamed(monkeypatch):
    for module in (extraction, cache):
        monkeypatch.setattr(module, "MAPPED_ABOVE", 0)


def test_large_features_are_streamed_and_mapped(tmp_path, streamed):
    fresh, cached = run(tmp_path), run(tmp_path)
    assert isinstance(fresh.x, np.memmap)
    assert cached.cached
    np.testing.assert_array_equal(fresh.x, run().x)
    np.testing.assert_array_equal(cached.x, fresh.x)
    assert len(entries(tmp_path)) == 1


def test_damage_to_streamed_features_is_found(tmp_path, streamed):
    plain = np.array(run(tmp_path).x)
    (path,) = tmp_path.rglob("array.npy")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.warns(CacheWarning, match="damaged"):
        again = run(tmp_path)
    assert not again.cached
    np.testing.assert_array_equal(again.x, plain)


@pytest.mark.parametrize("taken", [0, 1, 2])
def test_large_features_are_held_in_memory_where_the_disk_is_full(tmp_path, streamed, monkeypatch, taken):
    appended = []

    def append(self, rows):
        if len(appended) == taken and self.open:
            self._give_up(OSError(28, "No space left on device"))
        appended.append(rows)
        original(self, rows)

    original = stream.Stream.append
    monkeypatch.setattr(stream.Stream, "append", append)
    with pytest.warns(CacheWarning, match="No space left on device"):
        found = run(tmp_path, batch_size=8)
    np.testing.assert_array_equal(found.x, run(batch_size=8).x)
    assert entries(tmp_path) == []


def test_large_features_are_held_in_memory_where_the_end_cant_be_written(tmp_path, streamed, monkeypatch):
    monkeypatch.setattr(stream.os, "fsync", full)
    with pytest.warns(CacheWarning, match="No space left on device"):
        found = run(tmp_path)
    np.testing.assert_array_equal(found.x, run().x)
    assert entries(tmp_path) == []


def test_large_features_need_no_folder_to_write_to(tmp_path, streamed):
    (tmp_path / "file").write_text("not a folder")
    with pytest.warns(CacheWarning, match="can't be cached"):
        np.testing.assert_array_equal(run(tmp_path / "file").x, run().x)


def test_another_version_of_the_engine_is_another_entry(monkeypatch):
    def key(engine):
        numerics = Numerics(engine=engine)
        return extraction.cache_key(world.backbone().info, world.split(3, 2), world.transform(), numerics, 8)

    monkeypatch.setattr(extraction, "version", lambda name: f"{name} 1")
    before = {engine: key(engine) for engine in ("torch", "onnxruntime")}
    monkeypatch.setattr(extraction, "version", lambda name: f"{name} {1 + (name == 'onnxruntime')}")
    assert key("torch") == before["torch"]
    assert key("onnxruntime") != before["onnxruntime"]


def test_a_probe_reads_mapped_features(tmp_path, streamed):
    import sparsebench

    options = {"checkpoint": "mini.acdc_s90", "task": "textures", "mode": "linear", "seed": 0}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mapped = sparsebench.run(**options, results=tmp_path / "a", cache_dir=tmp_path / "cache")
        plain = sparsebench.run(**options, results=tmp_path / "b", cache_dir=None)
    assert list(mapped["accuracy"]) == list(plain["accuracy"])


class Meeting:
    """A decoder and a backbone that note whether the next batch is being decoded while one is computed."""

    def __init__(self, batch: int, patience: float) -> None:
        self.batch, self.patience = batch, patience
        self.decoding = [threading.Event() for _ in range(4)]
        self.overlapped: list[bool] = []

    def split(self, *, files: bool) -> Split:
        images = world.split(3 * self.batch, 5)

        def load(i: int) -> Image.Image:
            self.decoding[i // self.batch].set()
            return images.load(i)

        def file(i: int) -> Path:
            raise AssertionError("the decoder is pillow")

        return dataclasses.replace(images, load=load, file=file if files else None)

    def run(self, batch: torch.Tensor) -> torch.Tensor:
        """Compute, and wait a while for the next batch's first image to be asked for."""
        following = self.decoding[len(self.overlapped) + 1]
        self.overlapped.append(following.wait(self.patience if len(self.overlapped) < 2 else 0))
        return torch.zeros(len(batch), 8)


@pytest.mark.parametrize(
    ("workers", "files", "overlaps"),
    [(1, False, True), (3, False, True), (None, True, True), (None, False, False), (0, True, False)],
)
def test_the_next_batch_is_decoded_while_the_backbone_runs(workers, files, overlaps, monkeypatch):
    meeting = Meeting(4, 20.0 if overlaps else 0.05)
    monkeypatch.setattr(extraction, "KeptEngine", lambda: SimpleNamespace(prepare=lambda *_: meeting.run))
    extract(
        world.backbone(),
        meeting.split(files=files),
        world.transform(),
        Numerics(decoder="pillow"),
        cache_dir=None,
        batch_size=4,
        workers=workers,
    )
    assert meeting.overlapped == [overlaps, overlaps, False]  # nothing follows the last batch
