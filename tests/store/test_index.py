"""The index: the same table with it, without it, and with a damaged one; never older than the records."""

import hashlib
import os
import warnings
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsebench import files
from sparsebench.schema import SCHEMA_VERSION, ResultsError, Scores
from sparsebench.store import DamagedRecordWarning, Store, frame, gather, index
from sparsebench.store.recordfile import to_json


def put(store, record, age=100.0):
    """Write a record's file without flushing it, dated in the past."""
    path = store.path_of(record)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(to_json(record))
    date = path.stat().st_mtime_ns - int(age * 1e9)
    os.utime(path, ns=(date, date))


def same(results):
    expected = frame(Store(results).read())
    pd.testing.assert_frame_equal(gather(results), expected, check_exact=True)
    assert Store(results).statuses() == dict(zip(expected["record_key"], expected["status"], strict=True))
    return expected


@pytest.fixture
def many(tmp_path, ok, failed):
    """A folder with an index: 60 records in 6 cells, of which one failed."""
    store = Store(tmp_path)
    for seed in range(10):
        for task in ("digits", "é"):
            for checkpoint in ("a", "b", "c"):
                put(store, ok(seed / 10, checkpoint=checkpoint, task=task, seed=seed, split_sha256=task + checkpoint))
    put(store, failed("disk\nfull \ud800", seed=99))
    same(tmp_path)
    assert (tmp_path / "index.npz").is_file()
    return tmp_path


def count_reads(monkeypatch):
    read = []
    load = index.load
    monkeypatch.setattr(index, "load", lambda path: read.append(path) or load(path))
    return read


def test_a_small_folder_has_no_index(tmp_path, ok):
    put(Store(tmp_path), ok())
    assert len(same(tmp_path)) == 1
    assert not (tmp_path / "index.npz").exists()


def test_what_has_not_changed_is_not_read_again(many, monkeypatch, ok):
    read = count_reads(monkeypatch)
    gather(many)
    assert read == []
    new = ok(0.123, checkpoint="new", weights_sha256="new")
    Store(many).write(new)
    path = Store(many).path_of(ok(checkpoint="a", split_sha256="digitsa"))
    path.unlink()
    table = gather(many)
    assert [p.name for p in read] == [Store(many).path_of(new).name]
    assert len(table) == 61
    monkeypatch.undo()
    same(many)


def test_a_record_that_has_changed_is_seen(many, ok):
    record = ok(0.8, checkpoint="a", split_sha256="digitsa", seed=6)
    path = Store(many).path_of(record)
    before = path.stat()
    put(Store(many), record)
    assert path.stat().st_size == before.st_size, "only its date tells"
    same(many)
    os.utime(path, ns=(before.st_mtime_ns, before.st_mtime_ns))
    text = path.read_bytes()
    path.write_bytes(text + b" ")
    os.utime(path, ns=(before.st_mtime_ns, before.st_mtime_ns))
    same(many)


def test_a_file_written_just_before_it_was_read_is_read_again(tmp_path, ok, monkeypatch):
    for seed in range(60):
        put(Store(tmp_path), ok(0.25, seed=seed), age=0.0 if seed == 7 else 100.0)
    gather(tmp_path)
    path = Store(tmp_path).path_of(ok(seed=7))
    date = path.stat().st_mtime_ns
    path.write_bytes(path.read_bytes().replace(b"0.25", b"0.75"))
    os.utime(path, ns=(date, date))  # a coarse clock
    read = count_reads(monkeypatch)
    assert gather(tmp_path)["accuracy"].max() == 0.75
    assert read == [path]


DAMAGE = {
    "gone": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-200]),
    "half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "text": lambda path: path.write_text("index"),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_index_is_made_again_without_a_word(many, kind):
    expected = gather(many)
    DAMAGE[kind](many / "index.npz")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pd.testing.assert_frame_equal(gather(many), expected)
    if kind != "a folder":
        assert (many / "index.npz").stat().st_size > 1000


@pytest.fixture(scope="module")
def settled(tmp_path_factory, ok):
    """A folder with an index that the tests leave as it was, and its table."""
    root = tmp_path_factory.mktemp("settled")
    for seed in range(55):
        put(Store(root), ok(seed / 100, seed=seed))
    return root, gather(root)


@settings(max_examples=25, deadline=None)
@given(at=st.integers(0, 10**6), junk=st.binary(min_size=1, max_size=8))
def test_no_damage_to_the_index_changes_the_table(settled, at, junk):
    root, expected = settled
    path = root / "index.npz"
    data = path.read_bytes()
    at %= len(data)
    path.write_bytes(data[:at] + junk + data[at + len(junk) :])
    pd.testing.assert_frame_equal(gather(root), expected)
    path.write_bytes(data)


def test_an_index_of_another_version_is_not_used(many, monkeypatch):
    monkeypatch.setattr(index, "_FORMAT", 0)
    read = count_reads(monkeypatch)
    gather(many)
    assert len(read) == 61


def test_an_index_runs_no_code(many, tmp_path):
    import numpy as np

    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "boom"),)

    expected = gather(many)
    with np.load(many / "index.npz") as archive:
        arrays = dict(archive)
    np.savez(many / "index.npz", **(arrays | {"run_id.codes": np.array([Bomb()], dtype=object)}))
    data = (many / "index.npz").read_bytes()
    (many / "index.npz").write_bytes(data + hashlib.sha256(data).digest())
    pd.testing.assert_frame_equal(gather(many), expected)
    assert not (tmp_path / "boom").exists()


def test_damaged_records_are_named_every_time_and_newer_ones_refused(many, ok):
    path = Store(many).path_of(ok(checkpoint="a", split_sha256="digitsa"))
    path.write_bytes(b"{")
    for _ in range(2):
        with pytest.warns(DamagedRecordWarning, match=path.name):
            assert len(gather(many)) == 60
    path.write_text(f'{{"schema_version": {SCHEMA_VERSION + 1}}}')
    with pytest.raises(ResultsError, match="upgrade"):
        gather(many)


def test_one_row_a_run_also_where_it_has_two_files(many, ok):
    later = ok(0.875, started="2027-01-01", checkpoint="renamed", split_sha256="digitsa")
    put(Store(many), later)
    table = same(many)
    assert table["run_id"].is_unique
    assert table.set_index("run_id").loc[later.run_id, "accuracy"] == 0.875


def test_a_folder_that_cannot_be_written_is_gathered_all_the_same(many, monkeypatch):
    (many / "index.npz").unlink()

    def refuse(*_):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(files, "write_bytes", refuse)
    assert len(gather(many)) == 61
    assert not (many / "index.npz").exists()


numbers = st.none() | st.floats(allow_nan=False, allow_infinity=False)


@settings(max_examples=6, deadline=None)
@given(st.lists(st.tuples(st.text(min_size=1, max_size=5), numbers, st.integers(0, 2**62)), min_size=55, max_size=60))
def test_the_table_survives_the_index_exactly(tmp_path_factory, ok, values):
    root = tmp_path_factory.mktemp("exact")
    for text, number, seed in values:
        record = ok(0.5, variant=text, seed=seed, task=text)
        scores = Scores(**record.scores.model_dump() | {"train_loss": number})
        put(Store(root), record.model_copy(update={"scores": scores}))
    first = same(root)
    pd.testing.assert_frame_equal(gather(root), first, check_exact=True)


def test_a_relative_results_folder(many, monkeypatch):
    expected = gather(many)
    monkeypatch.chdir(many)
    pd.testing.assert_frame_equal(gather(Path()), expected)
    monkeypatch.chdir(many.parent)
    pd.testing.assert_frame_equal(gather(Path(many.name)), expected)
