"""The small file of predicted classes beside a curated table."""

import json

import numpy as np
import pytest

from sparsebench.schema import ResultsError
from sparsebench.store import Predictions
from sparsebench.store.classes import classes_reader
from sparsebench.store.curated import FILE, read_curated_classes, write_classes


def kept(seed: int, n: int = 30, classes: int = 300, name: str = "x") -> Predictions:
    rng = np.random.default_rng(seed)
    ids = tuple(f"{name}/{i}" for i in range(n))
    labels = np.arange(n, dtype=np.int64) % classes
    return Predictions(ids, labels, rng.integers(0, classes, n))


def test_it_reads_back_equal_and_equal_runs_give_equal_bytes(tmp_path):
    runs = [("b", kept(1)), ("a", kept(2)), ("c", kept(3, name="y", classes=5))]
    assert write_classes(tmp_path / FILE, runs) == 3
    write_classes(tmp_path / "again.npz", runs[::-1])
    assert (tmp_path / FILE).read_bytes() == (tmp_path / "again.npz").read_bytes()
    found = dict(read_curated_classes(tmp_path / FILE, {"a", "c", "other"}))
    assert found.keys() == {"a", "c"}
    for key, own in runs[1:]:
        assert found[key].ids == own.ids
        np.testing.assert_array_equal(found[key].labels, own.labels)
        np.testing.assert_array_equal(found[key].predicted, own.predicted)
        assert found[key].logits is None


def test_results_without_predictions_give_none(tmp_path):
    assert list(classes_reader(tmp_path / "runs.csv", strict=True)({"a"})) == []
    (tmp_path / "records").mkdir()
    assert list(classes_reader(tmp_path)({"a"})) == []


def with_index(index: object, **arrays: object) -> dict[str, np.ndarray]:
    return {
        "index": np.frombuffer(json.dumps(index).encode(), np.uint8),
        **{k: np.asarray(v) for k, v in arrays.items()},
    }


@pytest.mark.parametrize(
    "arrays",
    [
        {"other": np.zeros(3)},
        with_index([{"ids": ["a"], "runs": ["r"]}]),
        with_index([{"ids": ["a", "b"], "runs": ["r"]}], labels_0=[0], predicted_0=[[0]]),
        with_index([{"ids": ["a"], "runs": ["r", "s"]}], labels_0=[0], predicted_0=[[0]]),
        with_index([{"ids": ["a"], "runs": ["r"]}], labels_0=[0.5], predicted_0=[[0]]),
        with_index([["a"]], labels_0=[0], predicted_0=[[0]]),
        with_index(7),
        {"index": np.frombuffer(b"[" * 100_000, np.uint8)},
        {"index": np.array([object()], dtype=object)},
    ],
)
def test_what_is_no_such_file_is_said(tmp_path, arrays):
    np.savez(tmp_path / FILE, allow_pickle=True, **arrays)
    with pytest.raises(ResultsError, match="not a file of predicted classes"):
        list(read_curated_classes(tmp_path / FILE, {"r"}))


def test_a_damaged_file_is_said(tmp_path):
    write_classes(tmp_path / FILE, [("a", kept(1))])
    data = bytearray((tmp_path / FILE).read_bytes())
    for content in (data[: len(data) // 2], b"", b"no archive"):
        (tmp_path / FILE).write_bytes(content)
        with pytest.raises(ResultsError, match="not a file of predicted classes"):
            list(classes_reader(tmp_path / "runs.csv", strict=True)({"a"}))
