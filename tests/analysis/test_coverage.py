"""A small version of scripts/check_coverage.py: intervals cover, verdicts and ranks are rarely false."""

import pytest

from sparsebench.analysis.coverage import Counts, bootstrap_shapes, check_bootstrap, check_closed_forms, shapes
from sparsebench.analysis.simulation import Shape, draw

SETS = 60
NULL = (0.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    "shape",
    [
        Shape(images=200, tasks=4, seeds=3, gaps=(0.0, 0.15, 0.15, 0.3)),
        Shape(images=100, tasks=3, seeds=1, error=0.1, seed_sd=0.0, replicate_sd=0.0, gaps=NULL),
        Shape(images=1000, tasks=3, seeds=2, seed_sd=0.15, gaps=NULL, replicate_sd=0.0),
        Shape(images=300, tasks=3, seeds=2, replicates=2, gaps=NULL, replicate_sd=0.15),
        Shape(images=300, tasks=3, seeds=2, classes=10, gaps=(0.0, 0.2, -0.1, 0.0)),
    ],
    ids=lambda shape: shape.name,
)
def test_promises_hold(shape):
    """Each bound lies about three Monte-Carlo standard errors beyond what is promised."""
    got = check_closed_forms(shape, SETS, seed=1)
    assert got.sets == SETS
    assert got.covered / SETS >= 0.86
    assert got.task_covered / got.task_intervals >= 0.90
    assert got.false_tasks / SETS <= 0.14
    assert got.false_overall / SETS <= 0.14
    assert got.false_ranks / SETS <= 0.14


def test_a_large_difference_is_found():
    got = check_closed_forms(Shape(images=1000, tasks=3, seeds=3, gaps=(0.0, 0.8)), 10, seed=2)
    assert got.decided == 10


def test_the_bootstrap_covers():
    got = check_bootstrap(Shape(images=200, tasks=3, seeds=3), 30, seed=3, draws=200)
    assert got.covered / got.sets >= 0.83


def test_the_simulations_truth_is_that_of_its_draws():
    import numpy as np

    for shape in (
        Shape(images=200_000, tasks=1, seeds=1, replicates=1, seed_sd=0.3, replicate_sd=0.3),
        Shape(images=200_000, tasks=1, seeds=1, classes=5),
    ):
        drawn = draw(shape, np.random.default_rng(4))
        for m in range(2):
            assert drawn.panels[0].error(str(m)) == pytest.approx(drawn.truth[m, 0], abs=0.005)
    many = Shape(images=2000, tasks=1, seeds=5, replicates=3, seed_sd=0.2, replicate_sd=0.2)
    errors = [draw(many, np.random.default_rng(s)).panels[0].error("0") for s in range(60)]
    truth = draw(many, np.random.default_rng(0)).truth[0, 0]
    assert np.mean(errors) == pytest.approx(truth, abs=4 * np.std(errors) / 60**0.5)


def test_shapes_have_names_of_their_own():
    closed, boot = ([shape.name for shape in found()] for found in (shapes, bootstrap_shapes))
    assert 70 <= len(closed) == len(set(closed)) <= 90
    assert len(boot) == len(set(boot)) == 12


def test_counts_add_up():
    assert Counts(sets=1, covered=1, width=0.5) + Counts(sets=2, width=1.0) == Counts(sets=3, covered=1, width=1.5)
