"""Predicted classes of many runs, aligned by image."""

import numpy as np
import pytest

from sparsebench.analysis import align, build_panels
from sparsebench.schema import ResultsError
from sparsebench.store import Predictions, Store
from sparsebench.store.classes import read_classes


def kept(ids, labels, predicted):
    return Predictions(tuple(ids), np.array(labels), np.array(predicted))


def test_each_image_has_one_column_whatever_a_runs_own_order():
    found = align(
        [
            ("digits", "a", kept("xyz", [0, 1, 2], [0, 1, 1])),
            ("digits", "b", kept("zxy", [2, 0, 1], [2, 300, 1])),
            ("glyphs", "a", kept("x", [0], [3])),
        ]
    )
    digits = found["digits"]
    assert digits.ids == ("x", "y", "z")
    assert digits.predicted.tolist() == [[0, 1, 1], [300, 1, 2]]
    assert digits.predicted.dtype == np.uint16
    assert digits.wrong(["b", "a"]).tolist() == [[True, False, False], [False, False, True]]
    assert found["glyphs"].predicted.dtype == np.uint8


@pytest.mark.parametrize(
    "second",
    [
        kept("xyq", [0, 1, 2], [0, 1, 1]),
        kept("xy", [0, 1], [0, 1]),
        kept("xyz", [0, 1, 1], [0, 1, 1]),
        kept("zyx", [0, 1, 2], [0, 1, 1]),
        kept("xxz", [0, 1, 2], [0, 1, 1]),
    ],
)
def test_runs_on_other_images_or_labels_are_refused(second):
    with pytest.raises(ResultsError, match="the run b on digits"):
        align([("digits", "a", kept("xyz", [0, 1, 2], [0, 1, 1])), ("digits", "b", second)])


def test_an_image_named_twice_is_refused_in_the_first_run_too():
    with pytest.raises(ResultsError, match="twice"):
        align([("digits", "a", kept("xx", [0, 0], [0, 1]))])


def test_classes_are_read_without_logits_and_share_their_ids(tmp_path, ok):
    store = Store(tmp_path)
    ids, labels = ("b\0", "ä"), np.array([1, 0])
    logits = np.array([[0.0, 1.0], [0.0, 1.0]], dtype=np.float32)
    records = [store.write(ok(seed=seed), Predictions.of(ids, labels, logits)) for seed in range(12)]
    read = list(read_classes(tmp_path, records))
    assert [record.spec.seed for record, _ in read] == list(range(12))
    assert all(own.ids is read[0][1].ids for _, own in read)
    assert read[0][1].ids == ids
    assert read[3][1].predicted.tolist() == [1, 1]
    assert read[3][1].logits is None


def test_changed_missing_and_foreign_predictions_are_refused(tmp_path, ok):
    store = Store(tmp_path)
    record = store.write(ok(), kept("xy", [0, 1], [0, 1]))
    (tmp_path / record.predictions).write_bytes(b"other")
    with pytest.raises(ResultsError, match="have changed"):
        list(read_classes(tmp_path, [record]))
    (tmp_path / record.predictions).unlink()
    with pytest.raises(ResultsError, match="can't read"):
        list(read_classes(tmp_path, [record]))
    with pytest.raises(ResultsError, match="kept no predictions"):
        list(read_classes(tmp_path, [ok()]))
    with pytest.raises(ResultsError, match="outside of its folder"):
        list(read_classes(tmp_path, [record.model_copy(update={"predictions": "../x.npz"})]))


def test_panels_group_replicates_and_clusters():
    import pandas as pd

    classes = align(
        [
            ("digits", "k0", kept("xyz", [0, 1, 1], [0, 0, 1])),
            ("digits", "k1", kept("xyz", [0, 1, 1], [1, 1, 1])),
        ]
    )
    runs = pd.DataFrame(
        {
            "model": ["m", "m"],
            "replicate": [0, 1],
            "task": ["digits"] * 2,
            "metric": ["mean_per_class"] * 2,
            "seed": [0, 0],
            "record_key": ["k0", "k1"],
        }
    )
    (panel,) = build_panels(runs, classes, {"digits": {"y": "one", "z": "one"}})
    assert panel.models["m"].levels == ((0, 0), (1, 0))
    assert panel.error("m") == pytest.approx((0.25 + 0.5) / 2)
    assert panel.clusters.tolist() == [0, 1, 1]
    with pytest.raises(ValueError, match="twice"):
        build_panels(runs.assign(replicate=0), classes)
