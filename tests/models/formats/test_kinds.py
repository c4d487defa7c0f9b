"""Kinds of tensors: what loses nothing is made plain, the rest is refused in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from files import assert_is, loaded, saved, small_state
from torch import Tensor

from sparsebench.schema import CheckpointError

pytestmark = pytest.mark.filterwarnings("ignore")  # torch's, of kinds that it deprecates or still changes
STATE = small_state()


def changed(change: Callable[[Tensor], Tensor], ndim: int) -> dict[str, Tensor]:
    return {name: change(value) if value.ndim == ndim else value for name, value in STATE.items()}


@pytest.mark.parametrize(
    "state",
    [
        changed(Tensor.to_sparse, 4),
        changed(Tensor.to_sparse_csr, 2),
        changed(Tensor.to_sparse_csc, 2),
        changed(Tensor.double, 4),
        changed(torch.nn.Parameter, 4),
        changed(lambda value: value.to(memory_format=torch.channels_last), 4),
    ],
)
def test_layouts_and_wider_types_lose_nothing(tmp_path: Path, state: dict[str, Tensor]) -> None:
    assert_is(loaded(saved(tmp_path / "m.pth", state), head=True), STATE)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (changed(lambda v: torch.quantize_per_tensor(v, 0.01, 0, torch.qint8), 4), "is quantised"),
        (changed(lambda v: torch.complex(v, v), 4), "is complex"),
        (changed(lambda v: v.to("meta"), 2), "has no values"),
        (changed(lambda v: torch.nested.nested_tensor([v[0], v[1][:2]]), 2), "is nested"),
        (changed(lambda v: (v * 99).to(torch.int8), 4), r"holds whole numbers \(int8\)"),
        ({**STATE, "fc.weight": torch.tensor(1.0)}, r"of another shape \(fc.weight: \(\)"),
        ({**STATE, "fc.weight": torch.zeros(0, 256)}, "of another shape"),
    ],
)
def test_other_kinds_are_refused(tmp_path: Path, state: dict[str, Tensor], message: str) -> None:
    saved(tmp_path / "m.pth", state)
    with pytest.raises(CheckpointError, match=message) as caught:
        loaded(tmp_path / "m.pth")
    assert "m.pth" in caught.value.message
