"""The leaderboard: the same bytes from the same runs, and nothing that depends on when or how fast they ran."""

import csv
import io

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsebench.report.leaderboard import COLUMNS, leaderboard, to_csv, write_leaderboard
from sparsebench.schema import ResultsError
from sparsebench.store import tidy


@settings(max_examples=4)
@given(st.integers(0, 2**32 - 1))
def test_same_runs_in_any_order_give_the_same_bytes(small, seed):
    other = small.sample(frac=1.0, random_state=seed).assign(
        seconds=float(seed), feature_seconds=1.0, threads=seed % 7 + 1, device="cuda", started="2030-01-01"
    )
    assert to_csv(leaderboard(other)) == to_csv(leaderboard(small))


def test_layout(small, tmp_path):
    file = tmp_path / "deep" / "leaderboard.csv"
    write_leaderboard(small, file)
    text = file.read_text()
    assert text == to_csv(leaderboard(small))
    found = list(csv.DictReader(io.StringIO(text)))
    assert list(found[0]) == [*COLUMNS, "acc_a", "sd_a", "acc_b", "sd_b"]
    assert not {"seconds", "started", "device"} & set(found[0])
    assert [row["mode"] for row in found] == ["linear"] * 3 + ["full"] * 3
    errors = [float(row["relative_error"]) for row in found[:3]]
    assert errors == sorted(errors)
    sparse = next(row for row in found if row["checkpoint"] == "mini.acdc_s90")
    assert (sparse["acc_a"], sparse["sd_a"], sparse["sparsity"]) == ("0.700000", "0.014142", "0.900000")
    assert (sparse["complete"], sparse["nm"], sparse["n_failed"]) == ("yes", "", "0")
    assert "-0.000000" not in text


def test_an_entry_without_a_task_has_empty_fields_and_no_rank(rows, table):
    parts = rows("mini.dense", "dense", {"a": [0.5, 0.5], "b": [0.5, 0.5]}), rows("mini.x", "gmp", {"a": [0.6, 0.6]})
    last = leaderboard(table(*parts)).iloc[-1]
    assert last["checkpoint"] == "mini.x"
    assert pd.isna(last["rank_low"])
    assert pd.isna(last["acc_b"])
    assert not last["complete"]


def test_ties_are_broken_by_name(rows, table):
    parts = [rows(f"mini.{n}", "gmp", {"a": [0.6, 0.7]}) for n in "cab"]
    assert list(leaderboard(table(*parts))["checkpoint"]) == ["mini.a", "mini.b", "mini.c"]


def test_of_nothing_there_is_a_header(small):
    assert to_csv(leaderboard(tidy(small.iloc[:0]))) == ",".join(COLUMNS) + "\n"


def test_a_file_that_cannot_be_written(small, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ResultsError, match="can't write"):
        write_leaderboard(small, tmp_path / "file" / "leaderboard.csv")
