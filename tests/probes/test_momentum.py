"""One pass over the weights is the same step as two."""

from __future__ import annotations

import pytest
import torch

from sparsebench.probes.momentum import Momentum, OnePass, TwoPasses, momentum
from sparsebench.schema import Protocol


def point(**changes) -> Protocol:
    fixed = {"name": "test", "mode": "linear", "probe": "sgd", "epochs": 6, "milestones": (2, 4)}
    return Protocol.model_validate(fixed | changes)


def descended(steps: Momentum, bowl: torch.Tensor) -> torch.Tensor:
    """Return the weights after steps down a bowl, whose gradient is known at each of them."""
    for epoch in range(6):
        steps.begin(epoch)
        for _ in range(60):
            gradient = (steps.scale * steps.weights - 1) * bowl
            steps.state.mul_(steps.keep).add_(gradient, alpha=steps.gain)
            steps.move()
        steps.end()
    return steps.weights


@pytest.mark.parametrize(
    ("mu", "rate", "decay", "gamma"),
    [(0.9, 0.01, 5e-4, 0.1), (0.9, 0.1, 0.02, 0.1), (0.0, 0.1, 2.0, 0.5), (0.9, 0.01, 0.0, 0.1), (0.5, 0.01, 0.1, 3.0)],
)
def test_one_pass_takes_the_same_steps_as_two(mu, rate, decay, gamma):
    points = [point(momentum=mu, lr=rate, weight_decay=decay, gamma=gamma)]
    source = torch.Generator().manual_seed(0)
    start = torch.randn(2, 3, 8, generator=source, dtype=torch.float64)
    bowl = torch.rand(2, 3, 8, generator=source, dtype=torch.float64)
    assert OnePass.possible(points)
    one, two = descended(OnePass(start.clone(), points), bowl), descended(TwoPasses(start.clone(), points), bowl)
    assert not torch.allclose(two, start, rtol=1e-2)
    torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "points",
    [
        [point(lr=0.01), point(lr=0.02)],
        [point(lr=1.0, weight_decay=0.1)],
        [point(lr=0.001, weight_decay=0.1, gamma=10.0)],
    ],
    ids=["a grid", "weights swing", "weights swing later"],
)
def test_two_passes_are_taken_where_one_is_not_enough(points):
    assert isinstance(momentum(torch.zeros(1, 3 * len(points), 4), points), TwoPasses)
