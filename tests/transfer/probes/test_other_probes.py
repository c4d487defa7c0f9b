"""Ridge, nearest neighbours and few-shot against the same by scikit-learn or by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from examples import probe_data, problem, protocol
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid

from sparsebench.transfer.probes import fewshot, knn, ridge
from sparsebench.transfer.probes.data import ProbeData
from sparsebench.transfer.probes.rows import Rows


@pytest.mark.parametrize(("n", "d"), [(120, 20), (30, 40)], ids=["tall", "wide"])
def test_ridge_is_scikit_learns_along_the_path_and_at_the_choice(n, d):
    data = probe_data(n, d=d, spread=2.0)
    one_hot = np.eye(5)[data.y]
    settings = protocol("ridge-linear", l2={"low": 1e-2, "high": 1e3, "count": 9})
    (fitted,) = ridge.fit_seeds(data, settings, [3])
    for trial in fitted.trials:
        alone = Ridge(alpha=trial.settings["l2"]).fit(data.x.blocks[0].astype(float), one_hot[:n])
        assert trial.val_top1 == np.mean(alone.predict(data.x.blocks[1]).argmax(1) == data.y[n:])
    assert fitted.chosen.val_top1 == max(t.val_top1 for t in fitted.trials)
    both = Ridge(alpha=fitted.chosen.settings["l2"]).fit(np.concatenate(data.x.blocks).astype(float), one_hot)
    np.testing.assert_allclose(fitted.test_logits, both.predict(data.x_test), rtol=1e-4, atol=1e-4)
    assert fitted.train_loss is None


def test_ridge_with_repeated_and_constant_columns_is_finite():
    data = probe_data(20, d=6)
    x = np.concatenate([b.repeat(4, 1) * [1] * 24 for b in data.x.blocks]).astype(np.float32)
    x[:, 3] = 2.0
    doubled = ProbeData(Rows([x]), data.y, 20, x[:7], data.y[:7], 5)
    (fitted,) = ridge.fit_seeds(doubled, protocol("ridge-linear"), [0])
    assert np.isfinite(fitted.test_logits).all()


def test_neighbours_vote_as_in_scikit_learn(monkeypatch):
    monkeypatch.setattr("sparsebench.transfer.probes.rows.CHUNK", 17)
    data = probe_data(spread=2.0)
    (fitted,) = knn.fit_seeds(data, protocol("knn-linear"), [0])
    unit = lambda x: x / np.linalg.norm(x, axis=1, keepdims=True)  # noqa: E731
    vote = lambda distance: np.exp((1 - distance) / 0.07)  # noqa: E731
    assert [t.settings["k"] for t in fitted.trials] == [1, 5, 10, 20, 50, 100]  # 120 images to look among
    for trial in fitted.trials:
        alone = KNeighborsClassifier(trial.settings["k"], metric="cosine", weights=vote).fit(
            unit(data.x.blocks[0]), data.y[:120]
        )
        assert trial.val_top1 == pytest.approx(alone.score(unit(data.x.blocks[1]), data.y[120:]))
    both = KNeighborsClassifier(fitted.chosen.settings["k"], metric="cosine", weights=vote)
    both.fit(unit(np.concatenate(data.x.blocks)), data.y)
    np.testing.assert_allclose(
        torch.softmax(torch.from_numpy(fitted.test_logits), 1).numpy(), both.predict_proba(unit(data.x_test)), atol=1e-3
    )


def test_more_neighbours_than_images_are_all_of_them():
    data = probe_data(12, 8)
    (fitted,) = knn.fit_seeds(data, protocol("knn-linear", neighbours={"k": [50], "temperature": 0.1}), [0])
    assert np.isfinite(fitted.test_logits).all()
    assert fitted.chosen is None


def test_one_draw_is_the_nearest_centroid_of_its_images():
    data = probe_data(60, 0, spread=0.8)
    everything = protocol("fewshot-linear", few_shot={"shots": [1000], "draws": 2})
    (fitted,) = fewshot.fit_seeds(data, everything, [0])
    centre = data.x.blocks[0].mean(0)
    unit = lambda x: (x - centre) / np.linalg.norm(x - centre, axis=1, keepdims=True)  # noqa: E731
    expected = NearestCentroid().fit(unit(data.x.blocks[0]), data.y).predict(unit(data.x_test))
    np.testing.assert_array_equal(fitted.test_logits.argmax(1), expected)
    (score,) = fitted.few_shot
    assert score.top1 == pytest.approx(np.mean(expected == data.y_test))
    assert score.top1_low == score.top1 == score.top1_high  # both draws are all images


def test_more_images_a_class_are_better_and_seeds_draw_others():
    data = probe_data(200, 0, spread=2.0)
    one, two = fewshot.fit_seeds(data, protocol("fewshot-linear"), [0, 1])
    assert [s.shots for s in one.few_shot] == [1, 2, 5, 10]
    means = [s.top1 for s in one.few_shot]
    assert means == sorted(means)
    assert means[0] > 0.3  # five classes
    for score in one.few_shot:
        assert score.draws == 100
        assert score.top1_low < score.top1 < score.top1_high
        assert score.top1_high - score.top1_low < 0.1
    assert one.few_shot != two.few_shot
    (again,) = fewshot.fit_seeds(data, protocol("fewshot-linear"), [1])
    assert again.few_shot == two.few_shot
    np.testing.assert_array_equal(again.test_logits, two.test_logits)


def test_draws_hold_as_many_images_of_each_class_as_asked_for(monkeypatch):
    data = probe_data(100, 0)
    sizes = []
    original = fewshot.normalize

    def seen(x, dim):
        sizes.append(len(x))
        return original(x, dim=dim)

    monkeypatch.setattr(fewshot, "normalize", seen)
    fewshot.fit_seeds(data, protocol("fewshot-linear", few_shot={"shots": [2], "draws": 3}), [0])
    assert sizes.count(2 * 5) == 3


def test_a_class_without_images_is_never_predicted():
    x, y = problem(40, classes=4)
    data = ProbeData(Rows([x]), y, 40, x, y, 6)
    for name in ("fewshot-linear", "knn-linear", "ridge-linear"):
        module = {"f": fewshot, "k": knn, "r": ridge}[name[0]]
        (fitted,) = module.fit_seeds(data, protocol(name), [0])
        assert fitted.test_logits.shape == (40, 6)
        assert fitted.test_logits.argmax(1).max() < 4
