"""Two checkpoints as populations of networks: exemplars, class impact, confusion."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import confusion_matrix

from sparsebench.report.populations import populations

N, K = 400, 4
LABELS = np.arange(N) % K
IDS = tuple(f"i{j}" for j in range(N))


def runs(count, seed, flip=(), rate=0.1):
    """Return predictions that are wrong at random, and always on the images that are flipped."""
    rng = np.random.default_rng(seed)
    rows = np.where(rng.random((count, N)) < rate, rng.integers(K, size=(count, N)), LABELS)
    rows[:, list(flip)] = (LABELS[list(flip)] + 1) % K
    return rows


def heads(count):
    return [(0, seed) for seed in range(count)]


def test_planted_exemplars_are_found_with_what_both_predict():
    flipped = (3, 17, 101)
    found = populations(runs(5, 0, flipped, 0.0), runs(5, 1, (), 0.0), [heads(5), heads(5)], IDS, LABELS)
    assert [(e.image, e.label, e.first, e.second) for e in found.exemplars] == [
        (f"i{j}", j % K, (j + 1) % K, j % K) for j in flipped
    ]
    assert found.over == "heads"
    assert found.noise == 0


def test_noise_is_between_halves_of_the_second_side():
    second = np.concatenate([runs(2, 0, (), 0.0), runs(2, 0, (5, 6), 0.0)])
    levels = [(0, 0), (0, 1), (1, 0), (1, 1)]
    by_replicate = populations(runs(4, 1, (), 0.0), second, [levels, levels], IDS, LABELS)
    assert (by_replicate.over, by_replicate.noise) == ("upstream replicates", 2)
    by_head = populations(runs(4, 1, (), 0.0), second, [heads(4), heads(4)], IDS, LABELS)
    assert (by_head.over, by_head.noise) == ("heads", 0), "each half has one run of either kind"
    assert populations(second, runs(3, 1), [heads(4), heads(3)], IDS, LABELS).noise is None


def test_a_class_that_loses_more_than_the_others_has_an_impact():
    lost = [j for j in range(N) if LABELS[j] == 2 and j % 8 == 2]
    first, second = runs(5, 0, lost), runs(5, 1)
    found = populations(first, second, [heads(5), heads(5)], IDS, LABELS)
    assert [c.label for c in found.impacts if c.changed and c.first < c.second] == [2]
    own, theirs = (
        np.array([[np.mean(row[k::K] == k) - np.mean(row == LABELS) for k in range(K)] for row in side])
        for side in (first, second)
    )
    p = stats.ttest_ind(own, theirs, equal_var=False).pvalue
    assert [c.p for c in found.impacts] == pytest.approx(holm(p))
    assert [c.first for c in found.impacts] == pytest.approx(own.mean(axis=0))


def holm(p):
    """Return Holm's adjusted p-values, by hand."""
    order = np.argsort(p)
    adjusted, least = np.empty(len(p)), 0.0
    for place, index in enumerate(order):
        least = max(least, min(1.0, (len(p) - place) * p[index]))
        adjusted[index] = least
    return adjusted


def test_replicates_count_once_whatever_their_seeds():
    levels = [(r, s) for r in range(2) for s in range(3)]
    one = np.concatenate([runs(1, r).repeat(3, axis=0) for r in (0, 1)])
    other = np.concatenate([runs(1, r).repeat(3, axis=0) for r in (2, 3)])
    many = populations(one, other, [levels, levels], IDS, LABELS)
    few = [(0, 0), (1, 0)]
    once = populations(one[::3], other[::3], [few, few], IDS, LABELS)
    assert [c.p for c in many.impacts] == pytest.approx([c.p for c in once.impacts])


def test_confusion_is_that_of_scikit_learn_in_the_mean_over_runs():
    first, second = runs(3, 0), runs(1, 1)
    found = populations(first, second, [heads(3), heads(1)], IDS, LABELS)
    expected = np.mean([confusion_matrix(LABELS, row, normalize="true") for row in first], axis=0)
    assert found.confusions[0] == pytest.approx(expected)
    assert found.confusions[1] == pytest.approx(confusion_matrix(LABELS, second[0], normalize="true"))
    assert (found.over, found.exemplars, found.impacts) == ("", (), ()), "a single run is no population"
