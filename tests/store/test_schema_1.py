"""Folders of schema 1: read as they are, kept where their numbers are untouched, and rewritten by one command."""

from __future__ import annotations

import json

import numpy as np
import pytest

from made_up import statuses
from sparsebench.cli import main
from sparsebench.schema import digest
from sparsebench.store import Predictions, Store, read_results


def old(folder, record, *, microbatch=None):
    """Write a record as schema 1 did: its id had neither microbatch nor metric in it, and named its file."""
    data = record.model_dump(mode="json")
    spec = data["spec"]
    for field in ("record_key", "replicate", "head_sha256"):
        spec.pop(field)
    spec["suite"] = "mini"
    spec["protocol"].pop("select_by", None)
    spec["numerics"]["microbatch"] = microbatch
    spec["numerics"].pop("processes")
    names = {
        "weights": "weights_sha256",
        "mask": "mask_sha256",
        "split": "split_sha256",
        "transform": "transform_sha256",
    }
    content = {key: spec[field] for key, field in names.items()}
    content |= {field: spec[field] for field in ("arch", "mode", "probe", "protocol", "seed")}
    spec["run_id"] = data["run_id"] = digest(content)[:16]
    data.pop("record_key")
    data["schema_version"] = 1
    path = (
        folder
        / "records"
        / spec["checkpoint"]
        / spec["task"]
        / f"{spec['mode']}.seed{spec['seed']}.{data['run_id']}.json"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data))
    return data["run_id"]


def test_an_untouched_run_keeps_its_id_and_counts(tmp_path, ok):
    record = ok()
    assert old(tmp_path, record) == record.run_id
    store = Store(tmp_path)
    assert store.find(record.spec).record == record
    assert store.read([record.record_key]) == store.read([record.run_id]) == [record]
    assert statuses(store) == {record.record_key: "ok"}


def test_a_microbatch_is_part_of_the_run(tmp_path, ok):
    plain = ok(mode="full", protocol={"batch_size": 64})
    old(tmp_path, plain, microbatch=16)
    (found,) = Store(tmp_path).read()
    assert found.run_id != plain.run_id
    assert found.spec.protocol["microbatch"] == 16
    assert found.spec.protocol_name.endswith("+microbatch=16")
    assert Store(tmp_path).find(plain.spec) is None
    assert Store(tmp_path).find(found.spec).record == found


def test_what_was_selected_by_a_metric_names_it(tmp_path, ok):
    grid = {"lr": [0.1, 0.2], "weight_decay": [0.0]}
    for k, protocol in enumerate(({"grid": grid}, {"l2": {"count": 45}}, {"neighbours": {"k": [1, 5]}})):
        old(tmp_path / str(k), ok(protocol=protocol, metric="mean_per_class"))
        (found,) = Store(tmp_path / str(k)).read()
        assert found.spec.protocol["select_by"] == "mean_per_class"


def test_a_new_record_replaces_the_old_file(tmp_path, ok):
    old(tmp_path, ok(0.5))
    Store(tmp_path).write(ok(0.7))
    (found,) = Store(tmp_path).read()
    assert found.scores.top1 == 0.7
    assert len(list(tmp_path.rglob("records/**/*.json"))) == 1


def test_one_command_rewrites_a_folder_and_loses_nothing(tmp_path, ok, failed, capsys):
    store = Store(tmp_path)
    predictions = Predictions.of(("a", "b"), np.array([0, 1]), np.array([[2.0, 1.0], [0.0, 3.0]]))
    whole = store.write(ok(seed=0), predictions)
    store.path_of(whole).unlink()
    old(tmp_path, whole)
    old(tmp_path, ok(seed=1, mode="full", protocol={"batch_size": 64}), microbatch=8)
    old(tmp_path, failed(seed=2))
    before = Store(tmp_path).read()
    table = read_results(tmp_path)
    assert main(["migrate", str(tmp_path)]) == 0
    assert "3 record(s) rewritten" in capsys.readouterr().out
    assert Store(tmp_path).read() == before
    assert read_results(tmp_path).equals(table)
    for record in before:
        assert json.loads(Store(tmp_path).path_of(record).read_text())["schema_version"] == 2
    kept = Store(tmp_path).predictions(next(r for r in before if r.predictions))
    assert kept.predicted.tolist() == [0, 1]
    assert main(["migrate", str(tmp_path)]) == 0
    assert "nothing to rewrite" in capsys.readouterr().out


def test_a_curated_file_gets_keys(tmp_path, ok):
    from sparsebench.store import frame, write_curated

    record = ok()
    table = frame([record]).drop(columns=["record_key", "numerics"])
    path = tmp_path / "runs.csv"
    write_curated(table, path)
    text = path.read_text().splitlines()
    at = text[0].split(",").index("record_key")
    path.write_text("\n".join(",".join(f for i, f in enumerate(line.split(",")) if i != at) for line in text) + "\n")
    assert main(["migrate", str(path)]) == 0
    assert read_results(path)["record_key"].tolist() == [record.record_key]


def test_archives_of_schema_1_are_read(tmp_path):
    import io

    buffer = io.BytesIO()
    logits = np.array([[1.0, 2.0]], dtype=np.float16)
    ids = np.frombuffer(b"a", dtype=np.uint8)
    np.savez_compressed(buffer, ids=ids, id_lengths=np.array([1]), labels=np.array([0]), logits=logits)
    assert Predictions.from_bytes(buffer.getvalue(), "it").predicted.tolist() == [1]


def test_rounding_does_not_change_what_was_predicted():
    near = np.array([[1.0, 1.0001]])
    kept = Predictions.from_bytes(Predictions.of(("a",), np.array([1]), near).to_bytes(), "it")
    assert kept.logits.argmax() == 0
    assert kept.predicted.tolist() == [1]


@pytest.mark.parametrize("path", ["nothing", "an empty folder"])
def test_nothing_to_migrate_is_an_error(tmp_path, path, capsys):
    (tmp_path / "an empty folder").mkdir()
    assert main(["migrate", str(tmp_path / path)]) == 2
    assert "results folder" in capsys.readouterr().err
