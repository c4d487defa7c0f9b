"""``sparsebench.probes.fit``: what it takes, what it refuses, what it returns."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from examples import problem, protocol

from sparsebench import probes
from sparsebench.schema import InputError, Protocol, UnknownNameError
from sparsebench.transfer.probes import checks
from sparsebench.transfer.probes.rows import Rows

ALL = ("lbfgs-linear", "ridge-linear", "knn-linear", "fewshot-linear")
SGD = Protocol(name="quick", mode="linear", probe="sgd", lr=0.05, epochs=40)


def arrays():
    return [*problem(60, seed=1), *problem(40, seed=3)]


def test_one_row_a_probe_and_seed():
    results = probes.fit(*arrays(), protocol=[SGD, *ALL], seeds=[3, 8])
    names = [p for p in ("sgd", "lbfgs", "ridge", "knn", "fewshot") for _ in range(2)]
    assert [r.probe for r in results] == names
    assert [r.seed for r in results] == [3, 8] * 5
    for result in results:
        assert result.test_logits.shape == (40, 5)
        assert 0.3 < result.accuracy <= 1
        assert result.accuracy == result.top1
        assert result.seconds > 0
        assert (result.chosen is None) == (result.probe in ("sgd", "fewshot"))
    by_probe = {r.probe: r for r in results}
    assert by_probe["knn"].chosen.settings["k"] in (1, 5, 10, 20)
    assert by_probe["lbfgs"].head.weight.shape == (5, 20)
    table = probes.table(results)
    assert len(table) == 10
    assert table.loc[table["probe"] == "ridge", "chosen_l2"].notna().all()


def test_tensors_arrays_and_files_give_the_same(tmp_path):
    x, y, t, u = arrays()
    expected = probes.fit(x, y, t, u, protocol=["ridge-linear", SGD])
    tensors = probes.fit(*(torch.from_numpy(a) for a in (x, y, t, u)), protocol=["ridge-linear", SGD])
    np.save(tmp_path / "x.npy", x)
    mapped = probes.fit(np.load(tmp_path / "x.npy", mmap_mode="r"), y.tolist(), t, u, protocol=["ridge-linear", SGD])
    for a, b, c in zip(expected, tensors, mapped, strict=True):
        np.testing.assert_array_equal(a.test_logits, b.test_logits)
        np.testing.assert_array_equal(a.test_logits, c.test_logits)


def test_memory_mapped_features_are_not_copied(tmp_path):
    np.save(tmp_path / "x.npy", arrays()[0])
    x = np.load(tmp_path / "x.npy", mmap_mode="r")
    checked = checks.features(x, "x")
    rows = Rows([checked, checked[:7]])
    assert np.shares_memory(checked, x)
    assert all(np.shares_memory(block, x) for block in (*rows.blocks, *rows.head(63).blocks))
    assert np.shares_memory(rows.where(np.arange(67) < 50).blocks[0], x)
    assert len(rows.head(63)) == 63


def test_validation_images_are_chosen_on_and_trained_on():
    x, y, t, u = arrays()
    v, w = problem(30, seed=2)
    (given,) = probes.fit(x, y, t, u, x_val=v, y_val=w, protocol="ridge-linear", metric="mean_per_class")
    (cut,) = probes.fit(x, y, t, u, protocol="ridge-linear")
    assert not np.array_equal(given.test_logits, cut.test_logits)
    assert given.accuracy == given.mean_per_class
    (joined,) = probes.fit(np.concatenate([x, v]), np.concatenate([y, w]), t, u, protocol=SGD)
    (blocks,) = probes.fit(x, y, t, u, x_val=v, y_val=w, protocol=SGD)
    np.testing.assert_array_equal(joined.test_logits, blocks.test_logits)


def test_progress_goes_to_the_end():
    seen: list[float] = []
    probes.fit(*arrays(), protocol=[SGD, *ALL], progress=lambda done, total: seen.append(done / total))
    assert seen == sorted(seen)
    assert seen[-1] == pytest.approx(1.0)


def broken(**changes):
    x, y, t, u = arrays()
    return {"x_train": x, "y_train": y, "x_test": t, "y_test": u} | {
        name: change(x, y, t, u) if callable(change) else change for name, change in changes.items()
    }


def with_nan(x, *_):
    bad = x.copy()
    bad[7, 3] = np.nan
    return bad


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x_train": lambda x, *_: x[0]}, r"x_train has shape \(20,\)"),
        ({"x_train": lambda x, *_: x[:0], "y_train": lambda x, y, *_: y[:0]}, "there is nothing in it"),
        ({"x_train": with_nan}, r"x_train\[7, 3\] is nan"),
        ({"x_test": lambda x, y, t, u: t * np.float64(1e60)}, r"x_test\[\d+, \d+\] is inf"),
        ({"x_test": lambda x, y, t, u: t[:, :9]}, "x_train: 20, x_test: 9"),
        ({"x_train": "features.npy"}, "x_train"),
        ({"y_train": lambda x, y, *_: y[:-1]}, "y_train has shape .59,., x_train has 60 rows"),
        ({"y_train": lambda x, y, *_: y.astype(float)}, "not whole numbers"),
        ({"y_train": lambda x, y, *_: y - 1}, "y_train holds -1"),
        ({"y_train": lambda x, y, *_: y * 0}, r"y_train has one class \(0\)"),
        ({"y_test": lambda x, y, t, u: u + 3}, r"y_test has 3 classes that y_train doesn't have \(5, 6, 7\)"),
        ({"num_classes": 4}, "a label is 4"),
        ({"x_val": lambda x, *_: x}, "x_val and y_val go together"),
        ({"seeds": []}, "seeds"),
        ({"seeds": [1, 1]}, "each once"),
        ({"seeds": -1}, "-1 is not a seed"),
        ({"protocol": "lbfgs"}, "did you mean lbfgs-linear"),
        ({"protocol": "mini-full"}, "is for mode full"),
        ({"metric": "top5"}, "unknown metric 'top5'"),
    ],
)
def test_what_cannot_be_used_is_named(changes, message):
    with pytest.raises(InputError, match=message):
        probes.fit(**broken(**changes))


def test_unknown_probes_name_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean lbfgs"):
        probes.get("lbgfs")


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("lbfgs-linear", {"lr": 0.1}),
        ("lbfgs-linear", {"l2": None}),
        ("lbfgs-linear", {"l2": {"low": 1.0, "high": 0.1, "count": 3}}),
        ("lbfgs-linear", {"l2": {"low": 1.0, "high": 1.0, "count": 3}}),
        ("lbfgs-linear", {"train_on": "train"}),
        ("ridge-linear", {"neighbours": {}}),
        ("knn-linear", {"neighbours": {"k": [5, 1]}}),
        ("knn-linear", {"epochs": 3}),
        ("fewshot-linear", {"few_shot": {"shots": [0]}}),
        ("fewshot-linear", {"few_shot": {"draws": 1}}),
        ("cvpr22-linear", {"l2": {}}),
        ("cvpr22-linear", {"lr": 0.0}),
        ("cvpr22-linear", {"epochs": 0}),
    ],
)
def test_protocols_that_make_no_sense(name, changes):
    protocol(name)
    with pytest.raises(ValueError, match="validation error"):
        protocol(name, **changes)


def test_only_what_a_probe_uses_is_part_of_its_runs():
    assert set(protocol("knn-linear").resolved()) == {
        "mode", "probe", "train_on", "normalisation", "augment", "neighbours", "select_by"
    }  # fmt: skip
    assert "l2" not in protocol("cvpr22-linear").resolved()
    assert protocol("lbfgs-linear").resolved() != protocol("ridge-linear").resolved()
