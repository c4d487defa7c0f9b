from __future__ import annotations

from itertools import pairwise

import pytest
from smallnet import pruned, small_state, train

from sparsebench.pruning.methods.gmp import GMP


def test_gmp_follows_its_schedule_and_only_ever_prunes_further() -> None:
    method = GMP(0.8)
    history = train(method, small_state(method))
    for step, moment in enumerate(history):
        after = max(s for s in method.pruning_steps(100) if s <= step)
        assert pruned(moment.masks) == round(method.pruning_steps(100)[after] * 192)
    assert pruned(history[30].masks) / 192 == pytest.approx(0.8 - 0.75 * 0.5**3, abs=0.003)
    assert pruned(history[60].masks) == round(0.8 * 192)
    for before, after in pairwise(history):
        for name in before.masks:
            assert not bool((after.masks[name] & ~before.masks[name]).any())
            assert not after.weights[name][~after.masks[name]].any()
