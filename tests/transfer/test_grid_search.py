"""Hyperparameters chosen on val: the schema of grids, the choice, and runs that make one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import sparsebench
from small_world import backbone, full_protocol, task_data, transform
from sparsebench.datasets.base import concatenate
from sparsebench.registry import load_registry
from sparsebench.schema import InputError, Numerics, Protocol, RunError, RunRecord, Trial, digest
from sparsebench.store import Store
from sparsebench.transfer import grid_search
from sparsebench.transfer.probes import sgd
from sparsebench.transfer.probes.choice import choose
from sparsebench.transfer.probes.data import ProbeData
from sparsebench.transfer.probes.rows import Rows
from tasks_quick import image_folder

LINEAR = {"name": "p", "mode": "linear", "probe": "sgd", "lr": 0.01, "epochs": 3}
GRID = {"lr": [0.1, 0.01], "weight_decay": [0.0, 0.0005]}


def tuned(**changes: object) -> Protocol:
    return Protocol.model_validate(LINEAR | {"grid": GRID} | changes)


@pytest.mark.parametrize(
    "change",
    [
        {"grid": {"lr": [], "weight_decay": [0.0]}},
        {"grid": {"lr": [0.0], "weight_decay": [0.1]}},
        {"grid": {"lr": [0.1, 0.1], "weight_decay": [0.1]}},
        {"grid": {"lr": [0.1], "weight_decay": [-0.1]}},
        {"grid": {"lr": ["0.1"], "weight_decay": [0.1]}},
        {"grid": {"lr": [0.1]}},
        {"grid": GRID | {"momentum": [0.9]}},
        {"grid": {"lr": [0.01], "weight_decay": [0.0005]}},
        {"train_on": "train"},
    ],
)
def test_grids_that_make_no_sense(change: dict[str, object]) -> None:
    tuned()
    with pytest.raises(ValidationError):
        tuned(**change)
    with pytest.raises(ValidationError):
        full_protocol(grid=GRID, eval_test="each_epoch")


def test_the_protocols_own_point_comes_first_and_no_point_twice() -> None:
    points = tuned().points()
    assert points == ((0.01, 0.0005), (0.1, 0.0), (0.1, 0.0005), (0.01, 0.0))
    assert tuned(lr=0.5).points()[0] == (0.5, 0.0005)
    at = tuned().at(0.1, 0.0)
    assert (at.lr, at.weight_decay, at.grid) == (0.1, 0.0, None)


def test_without_a_grid_a_protocols_hash_is_what_it_was_before_there_were_grids() -> None:
    registry = load_registry()
    committed = sparsebench.results(Path(__file__).parents[2] / "results" / "mini" / "runs.csv")
    for name, mode in (("cvpr22-linear", "linear"), ("mini-full", "full")):
        published = committed.loc[committed["protocol"] == name, "protocol_sha256"].unique().tolist()
        assert published == [digest(registry.protocol(name, mode).resolved())]
    assert digest(tuned().resolved()) != digest(Protocol.model_validate(LINEAR).resolved())
    assert digest(tuned().resolved()) != digest(tuned(grid=GRID | {"lr": [0.1]}).resolved())


def trial(score: float | None, loss: float | None = 1.0, lr: float = 0.1) -> Trial:
    return Trial(
        settings={"lr": lr, "weight_decay": 0.0}, val_top1=score, val_mean_per_class=score and 1 - score, val_loss=loss
    )


def test_the_choice_is_by_the_metric_then_loss_then_order() -> None:
    trials = [trial(0.5, lr=1), trial(0.7, 2.0, lr=2), trial(0.7, 1.5, lr=3), trial(0.7, 1.5, lr=4), trial(None, lr=5)]
    assert choose(trials, "top1").settings["lr"] == 3
    assert choose(trials, "mean_per_class").settings["lr"] == 1
    with pytest.raises(RunError, match="every point"):
        choose([trial(None), trial(None)], "top1")


@given(st.lists(st.tuples(st.sampled_from([0.5, 0.75, 1.0]), st.sampled_from([0.1, 0.2])), min_size=1, max_size=8))
def test_nothing_beats_the_choice_and_nothing_before_it_equals_it(scores: list[tuple[float, float]]) -> None:
    trials = [trial(score, loss, lr=k + 1) for k, (score, loss) in enumerate(scores)]
    chosen = int(choose(trials, "top1").settings["lr"]) - 1
    ranks = [(-score, loss) for score, loss in scores]
    assert ranks[chosen] == min(ranks)
    assert min(ranks) not in ranks[:chosen]


def features(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, count)
    return (rng.normal(size=(count, 6)) + 2 * np.eye(3, 6)[y]).astype(np.float32), y.astype(np.int64)


def probe_data(train: tuple[np.ndarray, np.ndarray], val: tuple[np.ndarray, np.ndarray]) -> ProbeData:
    y = np.concatenate([train[1], val[1]])
    return ProbeData(Rows([train[0], val[0]]), y, len(train[1]), *features(20, 9), 3)


def test_a_linear_search_trains_on_train_and_scores_val() -> None:
    train, val = features(60, 0), features(30, 1)
    seen: list[tuple[float, float]] = []
    data = probe_data(train, val)
    both = sgd.search(data, tuned(), [5, 6], progress=lambda *now: seen.append(now))
    for seed, trials in zip((5, 6), both, strict=True):
        assert [(t.settings["lr"], t.settings["weight_decay"]) for t in trials] == list(tuned().points())
        alone = sgd.fit(*train, 3, tuned().at(0.1, 0.0), seed).logits(val[0])
        assert trials[1].val_top1 == pytest.approx((alone.argmax(1) == val[1]).mean())
    assert seen[-1] == (3, 3)
    (fitted, _) = sgd.fit_seeds(data, tuned(), [5, 6])
    chosen = choose(both[0], "top1")
    x, y = np.concatenate([train[0], val[0]]), np.concatenate([train[1], val[1]])
    expected = sgd.fit(x, y, 3, tuned().at(**chosen.settings), 5)
    assert fitted.chosen == chosen
    np.testing.assert_allclose(fitted.head.weight, expected.weight, rtol=1e-4, atol=1e-6)


def test_a_point_that_diverges_is_not_chosen() -> None:
    x, y = features(60, 0)
    huge = (x * 1e8, y)
    wild = tuned(grid={"lr": [1e30], "weight_decay": [0.0005]}, epochs=40)
    (trials,) = sgd.search(probe_data(huge, huge), wild, [0])
    assert [t.val_top1 is None for t in trials][-1]
    (fitted,) = sgd.fit_seeds(probe_data(huge, huge), wild.at(1e30, 0.0005), [0])
    assert isinstance(fitted, RunError)


def test_a_full_search_never_looks_at_test(monkeypatch: pytest.MonkeyPatch) -> None:
    data, protocol = task_data(), full_protocol(grid={"lr": [0.02, 0.05], "weight_decay": [0.0005]}, epochs=2)
    tests = set(data.test.ids)
    original = grid_search.finetune

    def watched(network, inner, *args, **kwargs):
        used = {name for split in inner.splits.values() for name in split.ids}
        assert not used & tests
        assert used == set(concatenate(data.train, data.val).ids)
        return original(network, inner, *args, **kwargs)

    monkeypatch.setattr(grid_search, "finetune", watched)
    trials = grid_search.search_grid(backbone(sparsity=0.5), data, transform(), protocol, 0, numerics=Numerics())
    assert [t.settings["lr"] for t in trials] == [0.02, 0.05]
    assert all(t.val_top1 is not None for t in trials)


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tuned")
    image_folder(root / "colours", images=16)
    (root / "colours.yaml").write_text("loader: imagefolder\nroot: colours\nmetric: mean_per_class\n")
    (root / "noval.yaml").write_text("loader: imagefolder\nroot: colours\noptions: {fractions: [0.5, 0.0, 0.5]}\n")
    (root / "protocols.yaml").write_text(
        "t-linear: {mode: linear, probe: sgd, lr: 0.01, epochs: 4, grid: {lr: [0.001, 0.1], weight_decay: [0.0005]}}\n"
        "t-full: {mode: full, lr: 0.01, epochs: 1, batch_size: 16, grid: {lr: [0.03], weight_decay: [0.0005]}}\n"
    )
    (root / "suites.yaml").write_text(
        "tuned: {tasks: [colours], archs: [mini], modes: {linear: {protocol: t-linear, seeds: [0, 1]},"
        " full: {protocol: t-full, seeds: [0]}}}\n"
    )
    return root


def run(tasks: Path, results: Path, **more: object) -> pd.DataFrame:
    options = {"suite": "tuned", "tasks_dirs": [tasks], "checkpoint": "mini.acdc_s90"} | more
    return sparsebench.run(results=results, **options)  # type: ignore[arg-type]


def test_a_run_records_what_it_chose_and_trains_on_train_and_val(tasks: Path, tmp_path: Path) -> None:
    table = run(tasks, tmp_path / "runs")
    assert (table["status"] == "ok").all()
    assert (table["n_train"] + table["n_test"] == 48).all()
    assert table["n_val"].gt(0).all()
    assert table["chosen"].str.contains("weight_decay=0.0005").all()
    for record in Store(tmp_path / "runs").read():
        assert record.scores is not None
        chosen = choose(record.trials, "mean_per_class")
        assert record.scores.chosen == chosen.settings
        assert record.scores.val_mean_per_class == chosen.val_mean_per_class
        assert len(record.trials) == (3 if record.spec.mode == "linear" else 2)
        assert "grid" in record.spec.protocol
    pd.testing.assert_series_equal(
        run(tasks, tmp_path / "again", mode="linear", seed=1)["accuracy"],
        table.loc[(table["mode"] == "linear") & (table["seed"] == 1), "accuracy"].reset_index(drop=True),
    )


def test_a_task_without_val_is_refused_before_the_first_run(tasks: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'t-linear' chooses hyperparameters on val, but task 'noval' has no val"):
        run(tasks, tmp_path / "runs", task="noval")
    assert not (tmp_path / "runs").exists()


def test_records_from_before_there_were_grids_are_read(tasks: Path, tmp_path: Path) -> None:
    run(tasks, tmp_path / "runs", mode="linear", seed=0)
    (record,) = Store(tmp_path / "runs").read()
    old = record.model_dump(mode="json")
    del old["trials"], old["scores"]["chosen"]
    assert RunRecord.model_validate(old).trials == ()
