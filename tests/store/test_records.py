"""Records on disk: whole or not at all, one per run, and damage that stays where it is."""

import errno
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from made_up import statuses
from sparsebench.common import files
from sparsebench.common.filenames import safe_name
from sparsebench.schema import SCHEMA_VERSION, ResultsError, RunError
from sparsebench.store import DamagedRecordWarning, Predictions, Store, ensure_writable
from sparsebench.store.recordfile import to_json


def tree(root):
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in Path(root).rglob("*") if p.is_file()}


def some_predictions(shift=0.0, n=4):
    logits = np.arange(n * 3, dtype=np.float32).reshape(n, 3) + shift
    return Predictions.of(tuple(f"bild/{i}ü" for i in range(n)), np.arange(n) % 3, logits)


def test_write_and_read_back(tmp_path, ok, failed):
    store = Store(tmp_path / "runs")
    assert store.read() == []
    records = [ok(seed=1), ok(seed=0), failed(seed=2), ok(mode="full")]
    for record in records:
        assert store.write(record) == record
    again = Store(tmp_path / "runs")
    assert sorted(again.read(), key=str) == sorted(records, key=str)
    assert statuses(again) == {r.record_key: r.status for r in records}
    name = f"records/mini.acdc_s90/digits/linear.sgd.seed1.{records[0].record_key}.json"
    assert name in tree(tmp_path / "runs")
    assert f"records/mini.acdc_s90/digits/full.seed0.{records[3].record_key}.json" in tree(tmp_path / "runs")


def test_predictions_are_kept_and_proved(tmp_path, ok):
    store = Store(tmp_path)
    stored = store.write(ok(), some_predictions())
    (record,) = store.read()
    assert record == stored
    back = store.predictions(record)
    assert back.ids == some_predictions().ids
    assert back.labels.tolist() == [0, 1, 2, 0]
    assert back.logits.dtype == np.float16
    assert np.array_equal(back.logits, some_predictions().logits)

    file = tmp_path / record.predictions
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(ResultsError, match="changed"):
        store.predictions(record)
    file.unlink()
    with pytest.raises(ResultsError, match="can't read"):
        store.predictions(record)
    with pytest.raises(ResultsError, match="kept no predictions"):
        store.predictions(ok())
    with pytest.raises(ResultsError, match="outside"):
        store.predictions(record.model_copy(update={"predictions": "../../etc/hostname"}))


def test_logits_beyond_half_precision_stay_finite():
    wild = Predictions.of(("a",), np.array([1]), np.array([[1e9, -1e9]]))
    back = Predictions.from_bytes(wild.to_bytes(), "here")
    assert back.logits.tolist() == [[65504.0, -65504.0]]
    with pytest.raises(ValueError, match="ids"):
        Predictions.of(("a",), np.array([1, 2]), np.zeros((2, 2))).to_bytes()


@pytest.mark.parametrize(
    ("labels", "logits", "what"),
    [
        ([0, 2], [[1.0, 2.0], [2.0, 1.0]], "logits of 2 classes, and a class beyond them"),
        ([0, -1], [[1.0, 2.0], [2.0, 1.0]], "a class is negative"),
        ([0, 1], [[1.0, float("nan")], [2.0, 1.0]], "NaN or infinity"),
    ],
)
def test_logits_that_no_measure_can_take_are_refused_where_they_are_read(labels, logits, what):
    data = Predictions(("a", "b"), np.array(labels), np.array([0, 1]), np.array(logits)).to_bytes()
    with pytest.raises(ResultsError, match=f"here is not a file of predictions: .*{what}"):
        Predictions.from_bytes(data, "here")


def test_predictions_never_unpickle(tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "boom"),)

    file = tmp_path / "evil.npz"
    np.savez(file, ids=np.array([Bomb()], dtype=object), id_lengths=[1], labels=[0], logits=[[0.0]])
    for data in (file.read_bytes(), b"", b"PK\x03\x04 nonsense", np.float16(1).tobytes()):
        with pytest.raises(ResultsError, match="not a file of predictions"):
            Predictions.from_bytes(data, "evil.npz")
    assert not (tmp_path / "boom").exists()


@given(st.lists(st.text(), max_size=5))
def test_any_sample_id_survives(ids):
    archive = Predictions.of(tuple(ids), np.zeros(len(ids), dtype=int), np.zeros((len(ids), 2)))
    assert archive.to_bytes() == archive.to_bytes()
    assert Predictions.from_bytes(archive.to_bytes(), "here").ids == tuple(ids)


def test_a_rewrite_replaces_record_and_predictions(tmp_path, ok, failed):
    Store(tmp_path).write(failed())
    Store(tmp_path).write(ok(), some_predictions())
    first = set(tree(tmp_path))
    Store(tmp_path).write(ok(0.5), some_predictions(shift=1))
    second = set(tree(tmp_path))
    assert len(first) == len(second) == 2
    (record,) = Store(tmp_path).read()
    assert record.scores.top1 == 0.5
    assert Store(tmp_path).predictions(record).logits[0, 0] == 1


def test_a_rewrite_under_another_name_replaces_the_older(tmp_path, ok):
    old = ok(checkpoint="mine")
    Store(tmp_path).write(old, some_predictions())
    new = ok(checkpoint="renamed", started="2026-02-01")
    assert new.run_id == old.run_id
    stored = Store(tmp_path).write(new, some_predictions())
    assert Store(tmp_path).read() == [stored]
    assert [n for n in tree(tmp_path) if n.startswith("records/")] == [
        f"records/renamed/digits/linear.sgd.seed0.{new.record_key}.json"
    ]
    assert Store(tmp_path).predictions(stored).ids == some_predictions().ids


def test_two_writers_under_two_names_leave_one_file_the_later_one(tmp_path, ok, monkeypatch):
    early, late = ok(checkpoint="b", started="2026-01-01"), ok(checkpoint="a", started="2026-01-02")
    for order in ((early, late), (late, early)):
        root = tmp_path / order[0].spec.checkpoint
        stores = Store(root), Store(root)
        with monkeypatch.context() as patch:  # neither sees the other's file before it writes
            patch.setattr(Store, "_older", lambda *_: {})
            for store, record in zip(stores, order, strict=True):
                store.write(record, some_predictions(shift=float(record is late)))
        (record,) = Store(root).read()
        assert record.started == late.started
        assert Store(root).predictions(record).logits[0, 0] == 1
        assert len(tree(root)) == 2, "a record and its predictions"


def test_what_a_killed_writer_left_under_another_name_is_passed_over_and_goes(tmp_path, ok, failed):
    store = Store(tmp_path)
    store.write(ok(checkpoint="a", started="2026-01-01"))
    for other in (ok(checkpoint="b", started="2026-01-02"), failed(checkpoint="c", started="2026-01-03")):
        files.write_bytes(store.path_of(other), to_json(other))
    late = ok(checkpoint="b", started="2026-01-02")
    assert Store(tmp_path).read() == [late]
    assert statuses(Store(tmp_path)) == {late.record_key: "ok"}
    assert Store(tmp_path).find(ok(checkpoint="z").spec).record == late
    Store(tmp_path).write(ok(checkpoint="a", started="2026-01-04"))
    assert [n for n in tree(tmp_path) if n.startswith("records/")] == [
        f"records/a/digits/linear.sgd.seed0.{late.record_key}.json"
    ]


NO_SPACE = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("victim", ["records", "predictions"])
@pytest.mark.parametrize("when", ["write", "fsync", "replace"])
def test_a_full_disk_loses_nothing(tmp_path, ok, monkeypatch, victim, when):
    store = Store(tmp_path)
    store.write(ok(seed=7), some_predictions())
    store.write(ok(0.25), some_predictions())
    before = tree(tmp_path)

    def full(original):
        def fails(self, *args, **kwargs):
            # a descriptor, or the temporary file's path
            name = str(Path(f"/proc/self/fd/{self}").readlink()) if isinstance(self, int) else str(self)
            if f"/{victim}/" in name and name.endswith(".tmp"):
                raise NO_SPACE
            return original(self, *args, **kwargs)

        return fails

    with monkeypatch.context() as patch:
        if when == "replace":
            patch.setattr(Path, "replace", full(Path.replace))
        elif when == "fsync":
            patch.setattr(files.os, "fsync", full(os.fsync))
        else:
            patch.setattr(Path, "open", full(Path.open))
        for record in (ok(0.5), ok(0.5, seed=1), ok(0.5, checkpoint="new", seed=2)):
            with pytest.raises(RunError, match=r"can't write the record .*No space left") as caught:
                store.write(record, some_predictions(shift=1))
            assert caught.value.exit_code == 1
    assert tree(tmp_path) == before, "earlier records and predictions are intact, and there is no litter"
    store.write(ok(0.5), some_predictions(shift=1))
    assert {r.scores.top1 for r in Store(tmp_path).read()} == {0.75, 0.5}


def test_an_interrupted_write_leaves_nothing(tmp_path, ok, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        Store(tmp_path).write(ok())
    assert tree(tmp_path) == {}


def test_a_finished_run_without_a_number_is_refused(tmp_path, ok):
    with pytest.raises(RunError, match="has no accuracy"):
        Store(tmp_path).write(ok(float("nan")))
    assert tree(tmp_path) == {}
    record = ok()
    diverged = record.model_copy(update={"scores": record.scores.model_copy(update={"train_loss": float("inf")})})
    Store(tmp_path).write(diverged)
    assert Store(tmp_path).read()[0].scores.train_loss is None


DAMAGE = {
    "empty": lambda text: b"",
    "truncated": lambda text: text[: len(text) // 2],
    "binary": lambda text: b"\xff\xfe\x00" + text,
    "another type": lambda text: b"[1, 2]",
    "a field missing": lambda text: json.dumps({**json.loads(text), "spec": {}}).encode(),
    "a status that isn't one": lambda text: text.replace(b'"ok"', b'"fine"'),
    "finished without scores": lambda text: json.dumps({**json.loads(text), "scores": None}).encode(),
    "nested without end": lambda text: b"[" * 100_000,
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_record_is_missing_but_named_and_kept(tmp_path, ok, kind):
    store = Store(tmp_path)
    good, bad = ok(seed=0), ok(seed=1)
    store.write(good)
    store.write(bad)
    path = store.path_of(bad)
    path.write_bytes(DAMAGE[kind](path.read_bytes()))
    damaged = path.read_bytes()
    with pytest.warns(DamagedRecordWarning, match=path.name):
        assert Store(tmp_path).read() == [good]
    with pytest.warns(DamagedRecordWarning, match=path.name):
        assert statuses(Store(tmp_path)) == {good.record_key: "ok"}
    assert path.read_bytes() == damaged
    Store(tmp_path).write(bad)
    assert len(Store(tmp_path).read()) == 2


@given(st.integers(0, 10_000), st.binary(max_size=4))
def test_no_damage_stops_the_rest(tmp_path_factory, ok, at, junk):
    root = tmp_path_factory.mktemp("damage")
    store = Store(root)
    store.write(ok(seed=0))
    store.write(ok(seed=1))
    path = store.path_of(ok(seed=1))
    text = path.read_bytes()
    at %= len(text)
    path.write_bytes(text[:at] + junk)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DamagedRecordWarning)
        assert ok(seed=0) in Store(root).read()


def test_strangers_in_the_folder_are_passed_over(tmp_path, ok):
    store = Store(tmp_path)
    store.write(ok())
    folder = store.path_of(ok()).parent
    (folder / ".x.json").write_text("temporary")
    (folder / "notes.txt").write_text("notes")
    (tmp_path / "records" / "README").write_text("notes")
    assert store.read() == [ok()]


def test_later_fields_are_read_leniently_and_later_versions_refused(tmp_path, ok):
    store = Store(tmp_path)
    store.write(ok())
    path = store.path_of(ok())
    data = json.loads(path.read_text())
    path.write_text(json.dumps(data | {"colour": "red"}))
    assert store.read() == [ok()]
    path.write_text(json.dumps({"schema_version": SCHEMA_VERSION + 1, "everything": "else"}))
    with pytest.raises(ResultsError, match=rf"schema version {SCHEMA_VERSION + 1}.*upgrade"):
        statuses(store)


def test_two_processes_writing_one_run_leave_one_valid_record(tmp_path, ok):
    program = """
import sys
from pathlib import Path
import numpy as np
from sparsebench.schema import RunRecord
from sparsebench.store import Predictions, Store
record = RunRecord.model_validate_json(sys.stdin.read())
for i in range(40):
    logits = np.full((2, 2), float(sys.argv[2]))
    Store(Path(sys.argv[1])).write(record, Predictions.of(("a", "b"), np.array([0, 1]), logits))
"""
    environment = os.environ | {"PYTHONPATH": str(Path(files.__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", program, str(tmp_path)]
    writers = []
    for number in range(2):
        pipes = {"stdin": subprocess.PIPE, "stderr": subprocess.PIPE}
        writer = subprocess.Popen([*command, str(number)], **pipes, text=True, env=environment)
        writer.stdin.write(ok(0.1 * number).model_dump_json())
        writer.stdin.close()
        writers.append(writer)
    for writer in writers:
        assert writer.wait(60) == 0, writer.stderr.read()
        writer.stderr.close()
    (record,) = Store(tmp_path).read()
    assert record.scores.top1 in (0.0, 0.1)
    assert [n for n in tree(tmp_path) if n.startswith("records/")] == [
        Store(tmp_path).path_of(record).relative_to(tmp_path).as_posix()
    ]


def test_check_writable_leaves_nothing(tmp_path):
    target = tmp_path / "a" / "b"
    Store(target).check_writable()
    assert list(tmp_path.iterdir()) == []
    target.mkdir(parents=True)
    Store(target).check_writable()
    assert list(target.iterdir()) == []


@pytest.mark.parametrize(
    "kind", ["below a file", "a file", "records is a file", "dangling link", "proc", "NUL", "too long"]
)
def test_check_writable_refuses(tmp_path, kind):
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "records").write_text("x")
    target = {
        "below a file": tmp_path / "file" / "runs",
        "a file": tmp_path / "file",
        "records is a file": tmp_path / "half",
        "dangling link": tmp_path / "link",
        "proc": Path("/proc/sparsebench"),
        "NUL": tmp_path / "a\0b",
        "too long": tmp_path / ("x" * 300),
    }[kind]
    before = tree(tmp_path)
    with pytest.raises(ResultsError, match="can't write to") as caught:
        Store(target).check_writable()
    assert caught.value.exit_code == 2
    assert tree(tmp_path) == before


def test_check_writable_notices_a_full_disk(tmp_path, monkeypatch):
    class Full:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        def write(self, _):
            raise NO_SPACE

    monkeypatch.setattr("tempfile.TemporaryFile", lambda **_: Full())
    with pytest.raises(ResultsError, match="No space left"):
        ensure_writable(tmp_path)


def test_a_records_folder_that_is_a_file(tmp_path):
    (tmp_path / "records").write_text("x")
    with pytest.raises(ResultsError, match="can't list"):
        Store(tmp_path).read()


@given(st.text(), st.text())
def test_safe_names_are_safe_and_distinct(one, other):
    name = safe_name(one)
    assert 0 < len(name) <= 80
    assert name.strip(".") == name
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.+-")
    if one != other:
        assert name != safe_name(other)


@pytest.mark.parametrize("name", ["mini.acdc_s90", "resnet50.rigl_erk5x_s95", "a+b-c"])
def test_ordinary_names_stay(name):
    assert safe_name(name) == name


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".", "..", "CON", "aux.txt", "x" * 200, "é", "a b", ".hidden"])
def test_odd_names_change_and_stay_in_their_folder(tmp_path, ok, name):
    assert safe_name(name) != name
    store = Store(tmp_path / "runs")
    store.write(ok(checkpoint=name, task=name or "t"))
    assert [r.spec.checkpoint for r in store.read()] == [name]
    assert [p.name for p in tmp_path.iterdir()] == ["runs"]


def test_importing_the_store_is_light():
    program = "import sys, sparsebench.store; print(sorted({'torch', 'pandas', 'numpy'} & set(sys.modules)))"
    environment = os.environ | {"PYTHONPATH": str(Path(files.__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.strip() == "[]"


def test_old_temporary_files_are_swept_and_nothing_else(tmp_path, ok):
    store = Store(tmp_path)
    store.write(ok(0.5), some_predictions())
    before = tree(tmp_path)
    for name in ("old", "new"):
        (store.records_dir / f".{name}.tmp").write_text("half a rec")
    os.utime(store.records_dir / ".old.tmp", (0, 0))
    assert store.sweep() == 1
    assert (store.records_dir / ".new.tmp").exists()
    (store.records_dir / ".new.tmp").unlink()
    assert tree(tmp_path) == before
