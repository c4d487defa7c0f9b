"""Published accuracies against measured ones."""

from __future__ import annotations

import math

import pytest

from sparsebench.analysis.claims import agreement_of, binomial_interval


def test_the_interval_is_wilsons() -> None:
    """Values by the closed form, computed by hand for 224 of 250 with z = 1.959964."""
    z, p, n = 1.959963984540054, 0.896, 250
    centre, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    expected = (centre - half) / (1 + z * z / n), (centre + half) / (1 + z * z / n)
    assert binomial_interval(224, 250) == pytest.approx(expected)
    assert binomial_interval(0, 10)[0] == 0.0
    assert binomial_interval(10, 10)[1] == 1.0
    assert binomial_interval(0, 1)[1] < 1.0


@pytest.mark.parametrize(
    ("claimed", "same", "said"),
    [
        (0.75, True, "holds"),
        (0.70, True, "holds"),
        (0.81, True, "too high"),
        (0.69, True, "too low"),
        (0.81, False, "other images"),
        (None, True, "no claim"),
        (math.nan, False, "no claim"),
    ],
)
def test_what_is_said_of_a_claim(claimed: float | None, same: bool, said: str) -> None:
    assert agreement_of(claimed, 0.70, 0.80, same_images=same) == said
