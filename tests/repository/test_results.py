"""What is committed in results/ agrees with itself, and the README shows it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import sparsebench
from sparsebench.analysis.metrics import top1
from sparsebench.registry import load_registry
from sparsebench.report.aggregate import aggregate
from sparsebench.report.leaderboard import leaderboard, to_csv
from sparsebench.report.tables import markdown
from sparsebench.report.variance import variance_csv, variance_tables
from sparsebench.report.write import all_tables
from sparsebench.store.classes import classes_reader

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def runs() -> pd.DataFrame:
    return sparsebench.results(ROOT / "results" / "mini")


def test_the_grid_is_whole(runs: pd.DataFrame) -> None:
    suite = load_registry().suite("mini")
    checkpoints = [c for c in load_registry().checkpoints.values() if c.arch in suite.archs and not c.replicate]
    found = set(runs[["checkpoint", "task", "mode", "seed"]].itertuples(index=False, name=None))
    for checkpoint in checkpoints:
        for mode, settings in suite.modes.items():
            cells = {(checkpoint.id, task, mode, seed) for task in suite.tasks for seed in settings.seeds}
            assert cells <= found
    assert (runs["status"] == "ok").all()
    assert runs["accuracy"].between(0, 1).all()


def test_full_runs_proved_their_masks(runs: pd.DataFrame) -> None:
    sparse = runs[(runs["mode"] == "full") & (runs["sparsity"] > 0)]
    assert (sparse["masked"] > 0).all()
    assert (runs.loc[runs["mode"] == "full", "masked_nonzero"] == 0).all()


def test_leaderboard_and_tables_follow_from_the_runs(runs: pd.DataFrame) -> None:
    kept = classes_reader(ROOT / "results" / "mini")
    assert (ROOT / "results" / "leaderboard.csv").read_text() == to_csv(leaderboard(runs, kept))
    tables = markdown(all_tables(aggregate(runs, predictions=kept)))
    assert (ROOT / "results" / "mini" / "tables.md").read_text() == tables


def test_the_tables_of_replicates_follow_from_their_runs() -> None:
    folder = ROOT / "results" / "mini" / "replicates"
    statistics = aggregate(sparsebench.results(folder), predictions=classes_reader(folder))
    assert (folder / "tables.md").read_text() == markdown(all_tables(statistics))
    assert (folder / "variance.md").read_text() == markdown(variance_tables(statistics))
    assert (folder / "variance.csv").read_text() == variance_csv(statistics)


def test_predicted_classes_are_there_and_small(runs: pd.DataFrame) -> None:
    file = ROOT / "results" / "mini" / "predictions.npz"
    assert file.stat().st_size <= 3 * 2**20
    linear = runs[runs["mode"] == "linear"]
    found = dict(classes_reader(file.parent)(set(linear["record_key"])))
    assert len(found) == len(linear)
    for key, accuracy in zip(linear["record_key"], linear["top1"], strict=True):
        assert top1(found[key].predicted, found[key].labels) == pytest.approx(accuracy)


def test_every_claim_follows_from_the_numbers() -> None:
    command = [sys.executable, str(ROOT / "scripts" / "claims.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")


def lines_of(script: str, *arguments: str) -> list[str]:
    command = [sys.executable, str(ROOT / "scripts" / f"{script}.py"), *arguments]
    lines = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout.splitlines()
    assert len(lines) > 3
    return lines


def test_the_readme_shows_the_committed_results() -> None:
    assert "\n".join(lines_of("overview")) in (ROOT / "README.md").read_text()


def test_the_model_card_shows_the_registered_checkpoints() -> None:
    assert "\n".join(lines_of("zoo_table")) in (ROOT / "docs" / "reference" / "model-card.md").read_text()


def test_intervals_over_images_are_those_of_a_paired_bootstrap(runs: pd.DataFrame) -> None:
    """Sources of images are drawn with replacement, the same ones for both checkpoints; nothing of ours is used."""
    chosen = runs[(runs["mode"] == "linear") & (runs["probe"] == "sgd") & (runs["metric"] == "top1")]
    chosen = chosen[chosen["checkpoint"].isin(["mini.rigl_s90", "mini.dense"])]
    reader = classes_reader(ROOT / "results" / "mini")
    (line,) = (line for line in aggregate(chosen, predictions=reader).lines if line["checkpoint"] == "mini.rigl_s90")
    kept = dict(reader(set(chosen["record_key"])))
    rng, draws = np.random.default_rng(0), 2000
    ratios = np.zeros(draws)
    for task, rows in chosen.groupby("task"):
        declared = load_registry().tasks[task].clusters
        ids = kept[rows["record_key"].iloc[0]].ids
        sources = [declared.source_of(name) or name for name in ids] if declared else ids
        numbers = pd.factorize(np.array(sources))[0]
        wrong = {
            name: np.bincount(
                numbers, np.mean([kept[k].predicted != kept[k].labels for k in own["record_key"]], axis=0)
            )
            for name, own in rows.groupby("checkpoint")
        }
        times = rng.multinomial(numbers.max() + 1, np.full(numbers.max() + 1, 1 / (numbers.max() + 1)), size=draws)
        ratios += (times @ wrong["mini.rigl_s90"]) / (times @ wrong["mini.dense"]) - 1
    low, high = np.quantile(ratios / chosen["task"].nunique(), [0.025, 0.975])
    # one source more per task, on which the two disagree, makes them wider
    assert 0.98 <= (line["images_high"] - line["images_low"]) / (high - low) <= 1.25
    assert (line["images_low"] + line["images_high"]) / 2 == pytest.approx((low + high) / 2, abs=0.1 * (high - low))
    assert line["images_high"] - line["images_low"] > 2 * (line["seeds_high"] - line["seeds_low"])
