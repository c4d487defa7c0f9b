"""No probe adds several values to one place in one call: a GPU does that in any order, to other bits."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from examples import probe_data, protocol
from torch.utils._python_dispatch import TorchDispatchMode

from sparsebench import probes


class Scatters(TorchDispatchMode):
    """Counts the calls that add by index, and those among them that add to one place twice."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = self.collisions = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__.strip("_")
        if name in ("index_add", "scatter_add", "scatter_reduce", "index_reduce"):
            dimension, index = args[1], args[2]
            along = (
                index.movedim(dimension if index.dim() > 1 else 0, 0).flatten(1) if index.dim() > 1 else index[:, None]
            )
            ordered = along.sort(0).values
            self.calls += 1
            self.collisions += int((ordered[1:] == ordered[:-1]).any())
        elif name == "index_put" and (args[3:4] == (True,) or (kwargs or {}).get("accumulate")):
            self.collisions += 1
        return func(*args, **(kwargs or {}))


def test_a_collision_is_seen() -> None:
    with Scatters() as seen:
        torch.zeros(3).index_add_(0, torch.tensor([0, 2]), torch.ones(2))
        assert (seen.calls, seen.collisions) == (1, 0)
        torch.zeros(2, 3).scatter_add_(1, torch.tensor([[0, 1], [1, 1]]), torch.ones(2, 2))
    assert (seen.calls, seen.collisions) == (2, 1)


@pytest.mark.parametrize("name", ["cvpr22", "lbfgs", "ridge", "knn", "fewshot"])
def test_no_probe_adds_twice_to_one_place_at_once(name: str) -> None:
    changes = {"epochs": 2} if name == "cvpr22" else {}
    settings = protocol(f"{name}-linear", **changes)
    with Scatters() as seen:
        (fitted,) = probes.get(settings.probe)(probe_data(60, 30), settings, [0])
    assert fitted.test_logits.shape == (60, 5)
    assert seen.collisions == 0
    assert (seen.calls > 0) == (name in ("cvpr22", "lbfgs", "knn", "fewshot"))
