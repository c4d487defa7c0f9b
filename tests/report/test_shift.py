"""The section on further test sets: corruption errors against the reference, their intervals, tables and figures."""

from __future__ import annotations

import csv
import io
import math

import numpy as np
import pandas as pd
import pytest

from sparsebench.report.figures.curves import severity_figures
from sparsebench.report.shift import Line, lines_csv, lines_json, shift_cells, shift_csv, shift_lines, shift_tables
from sparsebench.store import Predictions
from sparsebench.store.further import CLEAN, FURTHER_COLUMNS, Kept

CLASSES, N = 4, 400


def rows(
    checkpoint: str, errors: dict[str, float], *, clean: float = 0.1, seeds: tuple[int, ...] = (0,), task: str = "a"
) -> list[dict[str, object]]:
    """Return the rows of a checkpoint's runs; a test is ``corruption:severity``, or a name."""
    dense = checkpoint == "dense"
    found = []
    for seed in seeds:
        for test, error in errors.items():
            corruption, _, severity = test.partition(":")
            known = {"run_id": f"{checkpoint}{seed}", "record_key": f"{checkpoint}-{task}-{seed}", "numerics": "n"}
            labels = {
                "checkpoint": checkpoint,
                "method": "dense" if dense else "gmp",
                "sparsity": 0.0 if dense else 0.9,
            }
            cell = {"reference": None if dense else "dense", "replicate": 0, "task": task, "mode": "linear"}
            settings = {"probe": "sgd", "protocol": "p", "seed": seed, "metric": "top1", "test": test}
            scores = {"accuracy": 1 - error, "clean_accuracy": 1 - clean, "ece": error / 2, "nll": 1.0, "n_test": N}
            made = {"fingerprint": f"{task} {test}", "corruption": corruption if severity else None}
            found.append(
                {**known, **labels, **cell, **settings, **scores, **made, "severity": int(severity or 0) or None}
            )
    return found


def table(*parts: list[dict[str, object]]) -> pd.DataFrame:
    return pd.DataFrame([row for part in parts for row in part]).reindex(columns=list(FURTHER_COLUMNS))


def lines(further: pd.DataFrame, kept: Kept | None = None) -> dict[str, Line]:
    return {line.checkpoint: line for line in shift_lines(shift_cells(further, further), kept)}


def test_the_corruption_error_sums_over_severities_before_it_divides() -> None:
    further = table(
        rows("dense", {"fog:1": 0.2, "fog:5": 0.6, "pixelate:1": 0.5}),
        rows("gmp", {"fog:1": 0.4, "fog:5": 0.6, "pixelate:1": 0.25}, clean=0.15),
    )
    sparse, dense = lines(further)["gmp"], lines(further)["dense"]
    assert sparse.mce == pytest.approx(((0.4 + 0.6) / (0.2 + 0.6) + 0.25 / 0.5) / 2)
    assert sparse.relative_mce == pytest.approx(((0.25 + 0.45) / (0.1 + 0.5) + 0.1 / 0.4) / 2)
    assert sparse.families == {"weather": pytest.approx(0.5), "digital": pytest.approx(0.25)}
    assert sparse.error == pytest.approx((0.4 + 0.6 + 0.25) / 3)
    assert sparse.ece == pytest.approx(sparse.error / 2)
    assert (dense.mce, dense.relative_mce) == (1.0, pytest.approx(1.0))
    assert math.isnan(dense.spread.half)


def test_tasks_count_alike_however_many_corruptions_they_have() -> None:
    further = table(
        rows("dense", {"fog:1": 0.5, "snow:1": 0.5, "pixelate:1": 0.5}),
        rows("gmp", {"fog:1": 0.5, "snow:1": 0.5, "pixelate:1": 0.5}),
        rows("dense", {"fog:1": 0.25}, task="b"),
        rows("gmp", {"fog:1": 0.5}, task="b"),
    )
    assert lines(further)["gmp"].mce == pytest.approx((1.0 + 2.0) / 2)


def test_only_the_same_images_are_compared() -> None:
    further = table(rows("dense", {"fog:1": 0.5, "far": 0.2}), rows("gmp", {"fog:1": 0.5, "far": 0.3, "snow:1": 0.9}))
    line = lines(further)["gmp"]
    assert line.mce == 1.0  # the reference knows no snow
    assert line.others == pytest.approx(1.5)
    changed = further.copy()
    changed.loc[changed["checkpoint"] == "gmp", "fingerprint"] = "other images"
    assert math.isnan(lines(changed)["gmp"].mce)
    assert math.isnan(lines(further[further["checkpoint"] == "gmp"])["gmp"].mce)


def test_what_a_reference_does_not_suffer_from_is_left_out_and_named() -> None:
    further = table(
        rows("dense", {"fog:1": 0.0, "snow:1": 0.05, "pixelate:1": 0.4}),
        rows("gmp", {"fog:1": 0.1, "snow:1": 0.05, "pixelate:1": 0.6}),
    )
    line = lines(further)["gmp"]
    assert line.left_out == ("a fog", "a snow")
    assert line.mce == pytest.approx((1.0 + 1.5) / 2)
    assert line.relative_mce == pytest.approx((0.6 - 0.1) / (0.4 - 0.1))
    (shown,) = shift_tables([line])
    assert any("a fog, a snow" in note for note in shown.notes)


def predictions(wrong: np.ndarray) -> Predictions:
    labels = np.arange(len(wrong)) % CLASSES
    return Predictions(tuple(map(str, range(len(wrong)))), labels, (labels + wrong) % CLASSES)


def test_the_interval_covers_test_images_where_predictions_were_kept() -> None:
    rng = np.random.default_rng(0)
    kept: dict[tuple[str, str], Predictions] = {}
    parts = []
    for name, p in (("dense", 0.4), ("gmp", 0.5)):
        errors = {}
        for test in ("fog:1", "snow:1"):
            wrong = rng.random(N) < p
            kept[f"{name}-a-0", test] = predictions(wrong)
            errors[test] = float(wrong.mean())
        parts.append(rows(name, errors))
    further = table(*parts)
    line = lines(further, lambda key, test: kept.get((key, test)))["gmp"]
    assert line.spread.scope == "test images"
    # two independent ratios of binomial proportions, each of variance (p(1-p)/q^2 + (p/q)^2 q(1-q)/q^2) / n
    variance = (0.5 * 0.5 / 0.4**2 + 1.25**2 * 0.4 * 0.6 / 0.4**2) / N / 2
    assert line.spread.half == pytest.approx(1.96 * variance**0.5, rel=0.15)
    assert lines(further)["gmp"].spread.scope == ""
    # an image that is wrong under every corruption counts once
    same = lines(further, lambda key, test: None if test == CLEAN else kept[key, "fog:1"])["gmp"]
    assert same.spread.half > line.spread.half * 1.2


def test_the_interval_covers_seeds_where_there_are_several() -> None:
    further = table(
        rows("dense", {"fog:1": 0.5}, seeds=(0, 1)), rows("gmp", {"fog:1": 0.4}, seeds=(0,)),
        rows("gmp", {"fog:1": 0.6}, seeds=(1,)),
    )  # fmt: skip
    line = lines(further)["gmp"]
    assert line.spread.scope == "seeds"
    sd = np.std([0.8, 1.2], ddof=1)
    assert line.spread.half == pytest.approx(12.706 * sd / 2**0.5, rel=1e-3)


def test_seeds_count_whatever_the_order_of_the_run_ids_by_task() -> None:
    further = table(
        *(rows(name, {"fog:1": 0.5}, seeds=(0, 1), task=task) for name in ("dense", "gmp") for task in "ab")
    )
    other = (further["task"] == "b") & (further["seed"] == 0)
    further.loc[other, "run_id"] = "z" + further.loc[other, "run_id"]
    assert lines(further)["gmp"].spread.scope == "seeds"


def test_tables_and_values_agree() -> None:
    further = table(rows("dense", {"fog:3": 0.5, "far": 0.2}), rows("gmp", {"fog:3": 0.75, "far": 0.1}))
    cells = shift_cells(further, further)
    written = list(csv.DictReader(io.StringIO(shift_csv(cells))))
    assert [(r["checkpoint"], r["test"], r["error_ratio"]) for r in written] == [
        ("dense", "far", "1.0"), ("dense", "fog:3", "1.0"), ("gmp", "far", "0.5"), ("gmp", "fog:3", "1.5")
    ]  # fmt: skip
    assert (written[3]["family"], written[3]["severity"], written[2]["severity"]) == ("weather", "3", "")
    found = shift_lines(cells)
    (shown,) = shift_tables(found)
    assert [[field.text for field in row] for row in shown.rows] == [
        ["dense", "0", "3", "50.0", "50.0", "100.0", "100.0", "100.0", "25.0", "–"],
        ["gmp", "90", "3", "75.0", "75.0", "150.0", "162.5", "50.0", "37.5", "–"],
    ]
    values = {row["checkpoint"]: row for row in lines_json(found)}
    assert values["gmp"]["mce"] == 1.5
    assert values["gmp"]["mce_low"] is None
    assert values["gmp"]["families"] == {"weather": 0.75}
    by_line = {row["checkpoint"]: row for row in csv.DictReader(io.StringIO(lines_csv(found)))}
    assert [by_line["gmp"][name] for name in ("severities", "mce", "mce_low", "weather_error")] == [
        "3",
        "1.5",
        "",
        "0.75",
    ]


def test_the_figure_needs_several_severities() -> None:
    few = table(rows("dense", {"fog:3": 0.5}), rows("gmp", {"fog:3": 0.7}))
    assert not list(severity_figures(shift_cells(few, few)))
    severities = {f"fog:{s}": 0.1 * s for s in (1, 3, 5)}
    many = table(rows("dense", severities), rows("gmp", severities))
    picture, calibration = severity_figures(shift_cells(many, many), lambda cell: cell.clean / 9)
    assert (picture.name, calibration.name) == ("severity", "severity_ece")
    (axes,) = picture.canvas.axes
    assert axes.get_title(loc="left") == "90 % sparse"
    lines_drawn = [line.get_xydata().tolist() for line in axes.get_lines()]
    expected = [[0.0, 0.9], [1.0, 0.9], [3.0, 0.7], [5.0, 0.5]]
    np.testing.assert_allclose(lines_drawn, [expected, expected])
    errors = [line.get_xydata().tolist() for line in calibration.canvas.axes[0].get_lines()]
    np.testing.assert_allclose(errors, [[[0.0, 0.1], [1.0, 0.05], [3.0, 0.15], [5.0, 0.25]]] * 2)


def test_no_further_tests_give_nothing() -> None:
    nothing = table()
    assert shift_cells(nothing.assign(record_key=[]), nothing) == []
    assert shift_lines([]) == []
