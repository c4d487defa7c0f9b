"""Means, intervals and ranks against hand computation, and what is never averaged together."""

import math

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsebench.report.aggregate import aggregate
from sparsebench.report.contents import NameWarning
from sparsebench.schema import Task
from sparsebench.store import tidy

FULL = {"mode": "full", "probe": None, "protocol": "mini-full"}


def line(statistics, checkpoint, **where):
    summary = statistics.summary
    for name, value in where.items():
        summary = summary[summary[name] == value]
    (found,) = summary[summary["checkpoint"] == checkpoint].to_dict("records")
    return found


def test_means_and_relative_error_by_hand(small):
    statistics = aggregate(small)
    got = line(statistics, "mini.acdc_s90", mode="linear")
    assert got["mean_accuracy"] == pytest.approx((0.70 + 0.80) / 2)
    # errors 0.30 against 0.20, and 0.20 against 0.40
    assert got["relative_error"] == pytest.approx((0.5 - 0.5) / 2)
    # only a's own seeds vary: sd 0.01414, two seeds, so one degree of freedom (t = 12.706)
    half = 12.7062 * math.sqrt(0.0002 / (2 * 0.2**2)) / 2
    assert (got["relative_error_low"], got["relative_error_high"]) == pytest.approx((-half, half), rel=1e-4)
    assert (got["n_tasks"], got["seeds_min"], got["seeds_max"], got["n_failed"]) == (2, 2, 2, 0)
    assert got["complete"]
    assert got["note"] == ""
    cell = statistics.cells.query("checkpoint == 'mini.acdc_s90' and task == 'a' and mode == 'linear'").iloc[0]
    assert (cell["mean"], cell["sd"], cell["n"]) == (pytest.approx(0.7), pytest.approx(0.02 / 2**0.5), 2)


def test_the_reference_is_its_own_and_a_twin_is_not(small):
    statistics = aggregate(small)
    dense, twin = (line(statistics, f"mini.{n}", mode="linear") for n in ("dense", "acdc_twin"))
    assert (dense["relative_error"], dense["relative_error_low"], dense["relative_error_high"]) == (0.0, 0.0, 0.0)
    assert twin["relative_error"] == pytest.approx((0.195 / 0.2 + 0.38 / 0.4) / 2 - 1)


def test_failed_runs_are_counted_and_not_averaged(rows, table):
    statistics = aggregate(table(rows("mini.dense", "dense", {"a": [0.8, None, 0.6], "b": [None]})))
    got = line(statistics, "mini.dense")
    assert got["mean_accuracy"] == pytest.approx(0.7)
    assert (got["n_failed"], got["n_tasks"], got["missing"]) == (2, 1, "b")
    assert not got["complete"]
    assert got["note"] == "missing b; 2 failed"
    assert pd.isna(got["rank_low"])


def test_only_tasks_that_both_have(rows, table):
    dense = rows("mini.dense", "dense", {"a": [0.8, 0.8]})
    sparse = rows("mini.acdc_s90", "acdc", {"a": [0.7, 0.7], "b": [0.9, 0.9]})
    got = line(aggregate(table(dense, sparse)), "mini.acdc_s90")
    assert got["relative_error"] == pytest.approx(0.5)
    assert (got["relative_error_tasks"], got["reference_ran"]) == (1, True)
    assert "relative error over 1 of 2 tasks" in got["note"]


def test_without_its_reference_there_is_no_relative_error(rows, table):
    got = line(aggregate(table(rows("mini.acdc_s90", "acdc", {"a": [0.7, 0.7]}))), "mini.acdc_s90")
    assert math.isnan(got["relative_error"])
    assert not got["reference_ran"]
    assert got["mean_accuracy"] == 0.7


def test_unlike_is_never_averaged(rows, table):
    cells = {"a": [0.5]}
    other = [{}, FULL, {"protocol": "tuned"}, {"protocol": "more-linear"}, {"arch": "resnet18"}, {"probe": "ridge"}]
    parts = [rows("mini.dense", "dense", {"a": [0.5 + 0.05 * i]}, **changes) for i, changes in enumerate(other)]
    # one checkpoint id of one architecture only: the weights are no version of each other here
    statistics = aggregate(table(*parts))
    assert len(statistics.summary) == len(other)
    assert sorted(statistics.summary["mean_accuracy"]) == pytest.approx([0.5 + 0.05 * i for i in range(len(other))])
    assert len(aggregate(table(rows("mini.dense", "dense", cells))).summary) == 1


def test_a_reference_of_another_architecture_and_suite_counts(rows, table):
    dense = rows("resnet50.dense", "dense", {"a": [0.8, 0.8]}, arch="resnet50", reference=None)
    sparse = rows("rigl.s90", "rigl", {"a": [0.9, 0.9]}, arch="rigl", reference="resnet50.dense")
    assert line(aggregate(table(dense, sparse)), "rigl.s90")["relative_error"] == pytest.approx(-0.5)


@pytest.mark.parametrize("changed", ["split_sha256", "protocol_sha256"])
def test_a_reference_on_other_data_or_hyperparameters_does_not_count(rows, table, changed):
    dense = rows("mini.dense", "dense", {"a": [0.8, 0.8]}, **{changed: "1"})
    sparse = rows("mini.acdc_s90", "acdc", {"a": [0.7, 0.7]}, **{changed: "2"})
    assert math.isnan(line(aggregate(table(dense, sparse)), "mini.acdc_s90")["relative_error"])


@pytest.mark.parametrize("changed", ["weights_sha256", "mask_sha256", "transform_sha256"])
def test_two_networks_of_one_name_are_two_entries(rows, table, changed):
    old = rows("mini.x", "acdc", {"a": [0.2, 0.2]}, started="2026-01-01", **{changed: "9"})
    new = rows("mini.x", "acdc", {"a": [0.6, 0.8]}, started="2026-01-02", **{changed: "1"})
    with pytest.warns(NameWarning, match=r"'mini\.x'"):
        statistics = aggregate(table(old, new))
    assert sorted(round(line["mean_accuracy"], 9) for line in statistics.lines) == [0.2, 0.7]
    named = {round(line["mean_accuracy"], 9): line["checkpoint"] for line in statistics.lines}
    assert named[0.7] == "mini.x", "the newest keeps the name"
    assert named[0.2].startswith("mini.x@")


def test_a_crash_of_a_retrained_checkpoint_hides_no_older_run(rows, table):
    old = rows("mini.x", "acdc", {"a": [0.2, 0.2]}, started="2026-01-01", weights_sha256="9")
    crashed = rows("mini.x", "acdc", {"a": [None]}, started="2026-01-02", weights_sha256="1")
    with pytest.warns(NameWarning):
        statistics = aggregate(table(old, crashed))
    assert sorted((line["n_tasks"], line["n_failed"]) for line in statistics.lines) == [(0, 1), (1, 0)]


def test_two_data_sets_of_one_name_are_two_columns_and_share_no_rank(rows, table):
    one = rows("mini.dense", "dense", {"photos": [0.4, 0.4]}, split_sha256="1")
    other = rows("mini.x", "acdc", {"photos": [1.0, 1.0]}, split_sha256="2")
    with pytest.warns(NameWarning, match="'photos' stands for 2 different ones"):
        statistics = aggregate(table(one, other))
    assert len(statistics.tasks) == 2
    assert statistics.summary["rank_low"].isna().all()
    assert all(not line["complete"] for line in statistics.lines)


def test_the_registered_data_set_keeps_its_name(rows, table, suites):
    suites.tasks["a"] = Task(id="a", loader="imagefolder", split_sha256="1" * 64)
    own = rows("mini.dense", "dense", {"a": [0.4]}, split_sha256="2" * 64)
    with pytest.warns(NameWarning):
        statistics = aggregate(table(rows("mini.dense", "dense", {"a": [0.9]}, split_sha256="1" * 64), own))
    suites.tasks.clear()
    by_suite = {group["suite"]: part.tasks for group, part in statistics.groups()}
    assert by_suite["mini"] == ["a"]
    assert by_suite[""][0].startswith("a@")


def test_one_network_of_two_names_goes_by_the_newest(rows, table):
    old = rows("first", "acdc", {"a": [0.2]}, started="2026-01-01", weights_sha256="9")
    new = rows("second", "acdc", {"b": [0.6]}, started="2026-01-02", weights_sha256="9")
    with pytest.warns(NameWarning, match="'first' is the same as 'second'"):
        (entry,) = aggregate(table(old, new)).lines
    assert (entry["checkpoint"], entry["n_tasks"]) == ("second", 2)


def test_a_metric_is_the_newest_one_where_both_were_recorded(rows, table):
    both = {"top1": 0.9, "mean_per_class": 0.5}
    old = rows("mini.x", "acdc", {"a": [0.9]}, started="2026-01-01", split_sha256="1", **both)
    new = rows("mini.y", "acdc", {"a": [0.5]}, started="2026-01-02", split_sha256="1", metric="mean_per_class", **both)
    statistics = aggregate(table(old, new))
    assert {line["mean_accuracy"] for line in statistics.lines} == {0.5}
    assert statistics.per_class_tasks == ["a"]


def test_other_numerics_are_not_averaged_without_a_word(rows, table):
    torch = rows("mini.x", "acdc", {"a": [0.6, 0.6, 0.6]}, engine="torch", numerics="t")
    again = rows("mini.x", "acdc", {"a": [0.9]}, engine="sparse", numerics="s", started="2026-01-02")
    more = [row | {"seed": 7, "run_id": "more"} for row in again]
    (alone,) = aggregate(table(torch, again)).lines
    assert (alone["mean_accuracy"], alone["note"]) == (pytest.approx(0.6), "")
    (mixed,) = aggregate(table(torch, more)).lines
    assert mixed["note"] == "a mean over runs that were computed in 2 ways: engine sparse, torch"


def test_ranks_are_intervals_among_complete_entries(rows, table):
    parts = [
        rows("mini.dense", "dense", {"a": [0.5, 0.51, 0.5, 0.49, 0.5]}),
        rows("mini.best", "acdc", {"a": [0.90, 0.901, 0.9, 0.9, 0.9]}),
        rows("mini.x", "gmp", {"a": [0.60, 0.62, 0.58, 0.61, 0.63]}),
        rows("mini.y", "str", {"a": [0.61, 0.63, 0.59, 0.6, 0.62]}),
        rows("mini.half", "lth", {"a": [0.95, 0.95]}),
    ]
    parts.append(rows("mini.dense", "dense", {"b": [0.5, 0.5]}))
    for name, method in (("best", "acdc"), ("x", "gmp"), ("y", "str")):
        parts.append(rows(f"mini.{name}", method, {"b": [0.7, 0.7]}))
    statistics = aggregate(table(*parts))
    ends = {row["checkpoint"]: (row["rank_low"], row["rank_high"]) for row in statistics.summary.to_dict("records")}
    assert ends["mini.best"] == (1, 1)
    assert ends["mini.x"] == ends["mini.y"] == (2, 3)
    assert ends["mini.dense"] == (4, 4)
    assert all(math.isnan(end) for end in ends["mini.half"])
    assert set(statistics.summary["ranked"].dropna()) == {4}
    assert line(statistics, "mini.half")["missing"] == "b"
    assert list(statistics.summary["checkpoint"])[-1] == "mini.half"


def test_an_entry_without_interval_is_not_ranked(rows, table):
    parts = [rows("mini.dense", "dense", {"a": [0.5, 0.51]}), rows("mini.x", "gmp", {"a": [0.6, 0.61]})]
    parts += [rows("mini.y", "str", {"a": [0.6, 0.62]}), rows("mini.one", "lth", {"a": [0.99]})]
    statistics = aggregate(table(*parts))
    assert {row["checkpoint"]: row["scope"] for row in statistics.lines} == {
        "mini.one": "", "mini.x": "seeds", "mini.y": "seeds", "mini.dense": "seeds",
    }  # fmt: skip
    assert math.isnan(line(statistics, "mini.one")["rank_low"])
    assert line(statistics, "mini.x")["ranked"] == 3


def test_average_rank_shares_ties(rows, table):
    parts = [
        rows("mini.dense", "dense", {"a": [0.5], "b": [0.9]}),
        rows("mini.x", "gmp", {"a": [0.7], "b": [0.8]}),
        rows("mini.y", "str", {"a": [0.7], "b": [0.7]}),
    ]
    statistics = aggregate(table(*parts))
    got = {row["checkpoint"]: row["average_rank"] for row in statistics.summary.to_dict("records")}
    assert got == {"mini.dense": (3 + 1) / 2, "mini.x": (1.5 + 2) / 2, "mini.y": (1.5 + 3) / 2}


def test_nothing_gives_nothing(rows, table):
    empty = aggregate(table(rows("x", "acdc", {"a": [0.5]})).iloc[:0])
    assert empty.summary.empty
    assert empty.tasks == []
    assert list(empty.groups()) == []


@settings(max_examples=4)
@given(st.integers(0, 2**32 - 1))
def test_order_does_not_matter(small, seed):
    shuffled = small.sample(frac=1.0, random_state=seed)
    first, second = aggregate(small), aggregate(shuffled)
    pd.testing.assert_frame_equal(first.summary, second.summary, check_exact=True)
    pd.testing.assert_frame_equal(first.cells, second.cells, check_exact=True)
    assert len(tidy(shuffled)) == len(small)
