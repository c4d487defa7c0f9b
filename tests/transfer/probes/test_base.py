from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsebench.transfer.probes import base, rows


def test_logits_are_the_affine_map_over_any_number_of_rows(monkeypatch):
    monkeypatch.setattr(rows, "CHUNK", 4)
    rng = np.random.default_rng(0)
    head = base.LinearHead(rng.normal(size=(3, 5)).astype(np.float32), rng.normal(size=3).astype(np.float32))
    x = rng.normal(size=(11, 5)).astype(np.float32)
    logits = head.logits(x)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, x @ head.weight.T + head.bias, rtol=1e-5, atol=1e-6)
    assert head.logits(x[:0]).shape == (0, 3)


def test_accuracy_of_all_and_by_class():
    logits = np.eye(3, dtype=np.float32)[[0, 0, 0, 1]]
    found = base.evaluate(logits, np.array([0, 0, 0, 2]), 3)
    assert found.top1 == pytest.approx(0.75)
    assert found.mean_per_class == pytest.approx(0.5)


def test_cross_entropy_of_equal_logits_is_the_log_of_the_classes():
    assert base.cross_entropy(np.zeros((4, 7), np.float32), np.arange(4)) == pytest.approx(np.log(7))


@given(seed=st.integers(0, 2**40), other=st.integers(0, 2**40))
def test_streams_are_stable_and_distinct(seed, other):
    assert base.stream_seed(seed, "head") == base.stream_seed(seed, "head")
    assert base.stream_seed(seed, "head") != base.stream_seed(seed, "order")
    assert (base.stream_seed(seed, "head") == base.stream_seed(other, "head")) == (seed == other)
