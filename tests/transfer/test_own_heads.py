"""A head scored batch by batch is the network's own logits, scored at once."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch import nn

import small_world
from sparsebench.analysis.metrics import in_top
from sparsebench.schema import Numerics, RunError
from sparsebench.transfer import upstream
from sparsebench.transfer.upstream import HeadScores, score_head

CLASSES = 11


def with_head(classes: int = CLASSES) -> Any:
    bare = small_world.backbone()
    head = nn.Linear(8, classes)
    with torch.no_grad():
        head.weight.normal_(generator=torch.Generator().manual_seed(3))
    return SimpleNamespace(module=nn.Sequential(bare.module, head).eval(), info=bare.info)


def scored(backbone: Any, count: int = 40, **more: Any) -> HeadScores:
    options: dict[str, Any] = {"classes": CLASSES, "workers": 0} | more
    return score_head(backbone, small_world.split(count, 5), small_world.transform(), Numerics(), **options)


@torch.inference_mode()
def direct(backbone: Any, count: int = 40) -> np.ndarray:
    images, transform = small_world.split(count, 5), small_world.transform()
    batch = torch.stack([transform.evaluate(images.load(i)) for i in range(count)])
    logits: np.ndarray = backbone.module(transform.normalise(batch)).numpy()
    return logits


def test_scores_are_those_of_all_logits_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream, "BATCH", 16)
    backbone = with_head()
    logits, labels = direct(backbone), small_world.split(40, 5).labels
    found = scored(backbone, keep_logits=True)
    assert found.predicted.tolist() == logits.argmax(axis=1).tolist()
    assert found.top1 == np.mean(logits.argmax(axis=1) == labels)
    ranked = np.argsort(-logits, axis=1, kind="stable")[:, :5]
    assert found.top5 == np.mean((ranked == labels[:, None]).any(axis=1))
    recalls = [np.mean(logits.argmax(axis=1)[labels == k] == k) for k in range(small_world.CLASSES)]
    assert found.mean_per_class == pytest.approx(np.mean(recalls))
    assert found.top1 < found.top5 < 1
    assert found.logits is not None
    assert found.logits.dtype == np.float16
    np.testing.assert_allclose(found.logits, logits, rtol=1e-2, atol=1e-2)


def test_logits_are_kept_on_request_alone() -> None:
    assert scored(with_head()).logits is None


def test_a_head_of_other_classes() -> None:
    with pytest.raises(RunError, match=r"gave logits of shape \(40, 7\) for 40 images, not \(40, 11\)"):
        scored(with_head(7))


def test_a_broken_head() -> None:
    backbone = with_head()
    with torch.no_grad():
        backbone.module[1].bias[0] = float("nan")
    with pytest.raises(RunError, match="logits of tiny are not finite"):
        scored(backbone)


@given(
    arrays.arrays(
        np.float32, st.tuples(st.integers(1, 5), st.integers(1, 9)), elements=st.sampled_from([-1.0, 0.0, 2.0])
    ),
    st.integers(0, 8),
    st.integers(1, 6),
)
def test_ties_rank_as_in_argmax(logits: np.ndarray, label: int, count: int) -> None:
    labels = np.full(len(logits), min(label, logits.shape[1] - 1))
    ranked = np.argsort(-logits, axis=1, kind="stable")[:, :count]
    assert in_top(logits, labels, count).tolist() == (ranked == labels[:, None]).any(axis=1).tolist()
    assert in_top(logits, labels, 1).tolist() == (logits.argmax(axis=1) == labels).tolist()
