"""What is committed in results/lite agrees with itself: whole networks, tables that follow, predictions that fit."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import sparsebench
from sparsebench.analysis.metrics import top1
from sparsebench.registry import load_registry
from sparsebench.report import read_bench
from sparsebench.report.aggregate import aggregate
from sparsebench.report.tables import markdown
from sparsebench.report.write import all_tables
from sparsebench.store.classes import classes_reader

FOLDER = Path(__file__).parents[2] / "results" / "lite"


@pytest.fixture(scope="module")
def runs() -> pd.DataFrame:
    return sparsebench.results(FOLDER)


def test_every_network_that_is_there_is_whole(runs: pd.DataFrame) -> None:
    assert (runs["status"] == "ok").all()
    suite = load_registry([], [FOLDER / "tasks"], None).suite("lite")
    seeds = {("sgd", seed) for seed in suite.modes["linear"].seeds} | {("lbfgs", 0)}
    for _, network in runs.groupby("arch"):
        assert network["checkpoint"].nunique() == 1 + 3 * 4
        for _, own in network.groupby("checkpoint"):
            assert (own["task"] == "imagenet").sum() == 1
            for task in suite.tasks:
                assert seeds <= set(own.loc[own["task"] == task, ["probe", "seed"]].itertuples(index=False, name=None))


def test_tables_follow_from_the_runs(runs: pd.DataFrame) -> None:
    registry = load_registry([], [FOLDER / "tasks"], None)
    statistics = aggregate(runs, registry, classes_reader(FOLDER))
    assert (FOLDER / "tables.md").read_text() == markdown(all_tables(statistics, read_bench(FOLDER)))


def test_predicted_classes_fit_the_accuracies(runs: pd.DataFrame) -> None:
    probes = runs[runs["probe"].isin(["sgd", "lbfgs"])]
    found = dict(classes_reader(FOLDER)(set(probes["record_key"])))
    assert len(found) == len(probes)
    for key, accuracy in zip(probes["record_key"], probes["top1"], strict=True):
        assert top1(found[key].predicted, found[key].labels) == pytest.approx(accuracy, abs=1e-6)


def test_speed_was_measured_of_all_checkpoints_with_every_engine(runs: pd.DataFrame) -> None:
    speed = read_bench(FOLDER)
    assert set(speed["checkpoint"]) == set(runs["checkpoint"])
    assert (speed.groupby("checkpoint")["engine"].nunique() == 3).all()
    assert (speed["off"] < 1e-4).all()
