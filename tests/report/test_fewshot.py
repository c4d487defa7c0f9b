"""The section on few images per class."""

from __future__ import annotations

import csv
import io

import numpy as np
import pandas as pd
import pytest

from sparsebench.report.fewshot import fewshot_csv, fewshot_rows, fewshot_tables
from sparsebench.report.figures.curves import shots_figures
from sparsebench.store import tidy


def runs(checkpoint: str, first: float, *, task: str = "a", seeds: tuple[int, ...] = (0, 1)) -> list[dict[str, object]]:
    dense = checkpoint == "dense"
    return [
        {
            "run_id": f"{checkpoint}{task}{seed}", "record_key": f"{checkpoint}{task}{seed}-n", "status": "ok",
            "checkpoint": checkpoint, "method": "dense" if dense else "gmp", "arch": "mini", "task": task,
            "sparsity": 0.0 if dense else 0.9, "reference": None if dense else "dense", "mode": "linear",
            "probe": "fewshot", "protocol": "fewshot-linear", "seed": seed, "accuracy": first + 0.2,
            "few_shot": f"1: {first:.4f} [{first - 0.04:.4f}, {first + 0.04:.4f}]; 10: {first + 0.2:.4f} [0.5, 0.7]",
            "few_shot_1": first, "few_shot_10": first + 0.2,
        }
        for seed in seeds
    ]  # fmt: skip


TABLE = tidy(
    pd.DataFrame([*runs("dense", 0.5), *runs("gmp", 0.4), *runs("dense", 0.3, task="b"), *runs("gmp", 0.3, task="b")])
)


def test_rows_are_means_over_seeds_with_the_draws_interval() -> None:
    rows = {(row.checkpoint, row.task, row.shots): row for row in fewshot_rows(TABLE)}
    assert len(rows) == 8
    row = rows["gmp", "a", 1]
    assert (row.accuracy.mean, row.accuracy.n) == (pytest.approx(0.4), 2)
    assert (row.low, row.high) == (pytest.approx(0.4 - 0.04 / 2**0.5), pytest.approx(0.4 + 0.04 / 2**0.5))


def test_tables_compare_with_the_reference() -> None:
    rows = fewshot_rows(TABLE)
    written = {(r["checkpoint"], r["task"], r["shots"]): r for r in csv.DictReader(io.StringIO(fewshot_csv(rows)))}
    assert float(written["gmp", "a", "1"]["error_ratio"]) == pytest.approx(0.6 / 0.5)
    assert float(written["gmp", "b", "10"]["error_ratio"]) == 1.0
    (shown,) = fewshot_tables(rows)
    assert shown.header[2:] == ("1 per class", "10 per class")
    assert [[field.text for field in row] for row in shown.rows] == [
        ["dense", "0", "40.0", "60.0"],
        ["gmp", "90", "35.0 (110)", "55.0 (117)"],
    ]


def test_the_figure_is_over_images_per_class() -> None:
    (picture,) = shots_figures(fewshot_rows(TABLE))
    assert picture.name == "shots"
    (axes,) = picture.canvas.axes
    np.testing.assert_allclose(
        [line.get_xydata().tolist() for line in axes.get_lines()], [[[1, 0.4], [10, 0.6]], [[1, 0.35], [10, 0.55]]]
    )
    assert picture.png.startswith(b"\x89PNG")


def test_other_probes_have_none() -> None:
    assert fewshot_rows(TABLE.assign(few_shot=pd.NA)) == []
