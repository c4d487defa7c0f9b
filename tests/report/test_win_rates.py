"""Win rates between entries, and where the variance of their relative error increases is."""

import csv
import io

import numpy as np
import pytest

from sparsebench.report.aggregate import aggregate
from sparsebench.report.variance import rests_on, trainings, variance_csv, variance_tables, variances
from sparsebench.report.win_rates import win_rate_tables, win_rates_csv, win_rates_of
from sparsebench.store import Predictions

CELLS = {
    "mini.dense": {"a": [0.8], "b": [0.7], "c": [0.6]},
    "mini.acdc_s90": {"a": [0.9], "b": [0.6], "c": [0.6]},
    "mini.gmp_s90": {"a": [0.5], "b": [0.5], "c": [0.7]},
}
N = 400


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text)))


@pytest.fixture
def kept(rows, table):
    """``kept(replicates)``: the table of three entries with predictions, and their reader."""

    def make(replicates):
        predictions, parts = {}, []
        for replicate in range(replicates):
            ending = f"_r{replicate}" if replicate else ""
            shift = np.random.default_rng(replicate).normal(0.0, 0.04, 3)
            for place, (name, error) in enumerate((("dense", 0.2), ("acdc_s90", 0.25), ("gmp_s90", 0.15))):
                cells = {}
                for task in "abc":
                    hard = np.random.default_rng(ord(task)).random(N)
                    wrong = [hard < error + shift[place] + 0.02 * s for s in range(3)]
                    cells[task] = [1.0 - float(w.mean()) for w in wrong]
                    for seed, w in enumerate(wrong):
                        own = Predictions(tuple(map(str, range(N))), np.zeros(N, np.int64), w.astype(np.int64))
                        predictions[f"mini.{name}{ending}", task, seed] = own
                reference = None if name == "dense" else f"mini.dense{ending}"
                method = name.partition("_")[0]
                parts.append(rows(f"mini.{name}{ending}", method, cells, reference=reference, replicate=replicate))
        for part in parts:
            for row in part:
                row["record_key"] = row["run_id"]
                predictions[row["run_id"]] = predictions.pop((row["checkpoint"], row["task"], row["seed"]))
        return aggregate(table(*parts), predictions=lambda keys: ((k, predictions[k]) for k in keys))

    return make


def test_rates_are_the_fractions_of_tasks_won(rows, table):
    frame = table(*(rows(name, name.split(".")[1].split("_")[0], cells) for name, cells in CELLS.items()))
    statistics = aggregate(frame)
    rates = {(r["checkpoint"], r["other"]): float(r["win_rate"]) for r in rows_of(win_rates_csv(statistics))}
    assert rates["mini.acdc_s90", "mini.dense"] == 0.5  # one won, one lost, one drawn
    assert rates["mini.gmp_s90", "mini.dense"] == pytest.approx(1 / 3, abs=1e-6)
    assert all(rates[a, b] + rates[b, a] == pytest.approx(1.0, abs=2e-6) for a, b in rates)
    (shown,) = win_rate_tables(statistics)
    assert [[field.text for field in row] for row in shown.rows[:2]] == [
        ["1", "mini.acdc_s90", "–", "50", "67"],
        ["2", "mini.dense", "50", "–", "67"],
    ]


def test_an_incomplete_entry_has_no_rate(rows, table):
    missing = {"a": [0.9], "b": [0.9]}
    frame = table(*(rows(name, "acdc", cells) for name, cells in (*CELLS.items(), ("mini.x", missing))))
    (found,) = win_rates_of(aggregate(frame))
    assert set(found.names) == set(CELLS)


def test_what_rank_intervals_show_is_marked(kept):
    (found,) = win_rates_of(kept(1))
    places = [found.names.index(f"mini.{name}") for name in ("gmp_s90", "dense", "acdc_s90")]
    best, middle, worst = places
    assert found.better[best, worst]
    assert not found.better[worst].any()
    assert found.rates[best, middle] == 1.0


def test_variances_by_method(kept):
    statistics = kept(1)
    ((_, part),) = statistics.groups()
    found = {v.method: v for v in variances(part)}
    assert set(found) == {"acdc", "gmp"}
    # every image is wrong alike for all runs but those between two thresholds, so seeds vary less than images
    assert 0.0 < found["gmp"].sds["images"] < 0.2
    assert np.isnan(found["gmp"].sds["replicates"])
    assert trainings(part)[0] == ()
    assert "No entry has a second upstream training" in rests_on(part)
    assert rows_of(variance_csv(statistics))[0]["sd_replicates"] == ""


def test_replicates_are_seen_and_said(kept):
    statistics = kept(3)
    ((_, part),) = statistics.groups()
    names, (sd, low, high, df) = trainings(part)
    assert names == ("mini.gmp_s90", "mini.acdc_s90")
    assert low < sd < high
    assert df == 4
    assert "from 2 entries (mini.gmp_s90, mini.acdc_s90) with 4 degrees of freedom" in rests_on(part)
    by_name = {row["checkpoint"]: row for row in rows_of(variance_csv(statistics))}
    own = [float(by_name[name]["sd_observed"]) for name in names]
    assert sd == pytest.approx(np.sqrt(np.mean(np.square(own))), rel=1e-6)
    # what seeds and images add isn't subtracted
    assert all(float(by_name[name]["sd_replicates"]) <= float(by_name[name]["sd_observed"]) for name in names)
    # by hand: the spread of the relative error increase over replicates, of runs averaged over seeds
    cells = statistics.summary.set_index("checkpoint")
    assert cells.loc["mini.gmp_s90", "replicates"] == "0 1 2"
    assert variance_tables(statistics)[0].rows[0][0].text == "GMP"


def test_no_predictions_no_variance(rows, table):
    assert variance_tables(aggregate(table(*(rows(n, "acdc", c) for n, c in CELLS.items())))) == []
