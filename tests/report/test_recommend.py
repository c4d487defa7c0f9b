"""Which checkpoint is recommended: the cheapest of the good ones, and never surer than the intervals are."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sparsebench import cli
from sparsebench.analysis import Interval
from sparsebench.report.candidates import Candidate, Speed, front, read_candidates, speeds
from sparsebench.report.recommend import Limits, recommend
from sparsebench.report.speed import ENGINE_COLUMNS
from sparsebench.schema import InputError, ResultsError
from sparsebench.store import write_curated
from sparsebench.store.csvfile import to_csv

NAMES = ("good", "fast", "poor")


def rows(accuracy: dict[str, list[float]], task: str = "photos", n_test: int = 4000) -> list[dict[str, object]]:
    return [
        {
            "run_id": f"{name}{task}{seed}", "record_key": f"{name}{task}{seed}-1", "status": "ok", "checkpoint": name,
            "method": "acdc", "arch": "mini", "sparsity": 0.9, "task": task, "mode": "linear", "probe": "sgd",
            "protocol": "cvpr22-linear", "seed": seed, "metric": "top1", "accuracy": value, "top1": value,
            "n_test": n_test, "weights_sha256": name.ljust(64, "0"), "mask_sha256": name.ljust(64, "1"),
        }
        for name, values in accuracy.items()
        for seed, value in enumerate(values)
    ]  # fmt: skip


def results(folder: Path, *tables: list[dict[str, object]]) -> Path:
    file = folder / "runs.csv"
    write_curated(pd.DataFrame([row for table in tables for row in table]), file)
    return file


def bench(folder: Path, images_per_second: dict[str, float]) -> Path:
    lines = []
    for name, rate in images_per_second.items():
        for engine, factor in (("torch", 0.5), ("sparse", 1.0)):
            ms = 64 / (rate * factor) * 1000
            values = {"checkpoint": name, "engine": engine, "batch": 64, "images_per_second": rate * factor, "ms": ms,
                      "ms_low": 0.9 * ms, "ms_high": 1.2 * ms, "device": "cpu", "processor": "some processor",
                      "threads": 2, "packed_bytes": 2_000_000}  # fmt: skip
            lines.append([values.get(column, "") for column in ENGINE_COLUMNS])
    (folder / "bench").mkdir(exist_ok=True)
    (folder / "bench" / "engines.csv").write_text(to_csv(ENGINE_COLUMNS, lines))
    return folder / "bench"


EQUAL = {"good": [0.90, 0.91, 0.92], "fast": [0.90, 0.909, 0.92], "poor": [0.60, 0.61, 0.62]}
SPEED = {"good": 100.0, "fast": 1000.0, "poor": 5000.0}


def test_the_fastest_of_the_equally_good_is_recommended(tmp_path: Path) -> None:
    found = recommend(results(tmp_path, rows(EQUAL)), bench=bench(tmp_path, SPEED))
    assert found.chosen is not None
    assert found.chosen.checkpoint == "fast"
    assert found.chosen.speed is not None
    assert found.chosen.speed.engine == "sparse"
    assert found.chosen.speed.ms == pytest.approx(1.0)
    by_name = {one.checkpoint: one for one in found.candidates}
    assert by_name["good"].tied
    assert by_name["fast"].close
    assert not by_name["poor"].tied
    assert {name for name, one in by_name.items() if one.front} == set(NAMES)
    text = str(found)
    assert "within a standard error of the most accurate, good" in text
    assert "isn't proof that they are as good" in text
    assert "seeds and test images" in text


def test_another_engine_is_another_speed(tmp_path: Path) -> None:
    found = recommend(results(tmp_path, rows(EQUAL)), bench=bench(tmp_path, SPEED), engine="torch")
    assert found.chosen is not None
    assert found.chosen.speed is not None
    assert found.chosen.speed.ms == pytest.approx(2.0)


def test_what_is_better_beyond_doubt_is_said_to_be(tmp_path: Path) -> None:
    spread = {"good": [0.90, 0.901, 0.902, 0.9, 0.901], "poor": [0.60, 0.601, 0.602, 0.6, 0.601]}
    found = recommend(results(tmp_path, rows(spread)), sizes={"good": 10**7, "poor": 10**3})
    assert found.chosen is not None
    assert found.chosen.checkpoint == "good"
    assert [one.tied for one in found.candidates] == [True, False]
    assert "by more than chance explains" in str(found)
    assert "sparsebench bench" in str(found)


def test_limits_leave_out_and_are_named(tmp_path: Path) -> None:
    file, speed = results(tmp_path, rows(EQUAL)), bench(tmp_path, SPEED)
    found = recommend(file, bench=speed, limits=Limits(max_ms=0.5))
    assert found.chosen is not None
    assert found.chosen.checkpoint == "poor"
    assert {one.checkpoint: one.unmet for one in found.candidates}["good"] == ("too slow",)
    none = recommend(file, bench=speed, limits=Limits(max_mb=1.0, min_accuracy=0.99))
    assert none.chosen is None
    assert "3 too large" in str(none)
    near = recommend(file, bench=speed, limits=Limits(min_accuracy=0.909, max_ms=1.1))
    assert near.chosen is not None
    assert near.chosen.checkpoint == "fast"
    assert "reaches below the least accuracy" in str(near)
    assert "a quarter of its measurements took longer" in str(near)


@pytest.mark.parametrize(
    "limits", [Limits(max_ms=-1), Limits(max_mb=0), Limits(min_accuracy=80), Limits(max_ms=math.nan)]
)
def test_a_limit_that_is_none_is_refused(tmp_path: Path, limits: Limits) -> None:
    with pytest.raises(InputError, match="is no"):
        recommend(results(tmp_path, rows(EQUAL)), bench=bench(tmp_path, SPEED), limits=limits)


def test_a_limit_of_speed_needs_measurements(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="needs measured speed"):
        recommend(results(tmp_path, rows(EQUAL)), limits=Limits(max_ms=1))


def test_accuracy_is_the_mean_over_tasks_that_all_have(tmp_path: Path) -> None:
    file = results(tmp_path, rows(EQUAL), rows({"good": [0.5, 0.5, 0.5], "fast": [0.7, 0.7, 0.7]}, "plants"))
    found = recommend(file)
    assert found.tasks == ("photos", "plants")
    assert {one.checkpoint: round(one.accuracy.value, 3) for one in found.candidates} == {"fast": 0.805, "good": 0.705}
    assert "Left out, as they lack some task: 1 (poor" in str(found)
    assert len(recommend(file, tasks=["pho*"]).candidates) == 3
    with pytest.raises(ResultsError, match="no finished run"):
        recommend(file, tasks=["nonsense"])


def test_an_interval_without_predictions_covers_seeds_and_images(tmp_path: Path) -> None:
    """As for independent errors: the variance of seeds over n, and the binomial one over images."""
    found = read_candidates(results(tmp_path, rows({"good": [0.8, 0.82, 0.84]}, n_test=100)))
    (interval,) = found.intervals()
    seeds, images = 0.02**2 / 3, 0.82 * 0.18 / 100
    half = math.hypot(4.302653 * seeds**0.5, 1.959964 * images**0.5)
    assert interval.value == pytest.approx(0.82)
    assert interval.high - interval.value == pytest.approx(half, rel=1e-4)
    assert interval.scope == ("seeds", "test images")
    assert not found.paired


def test_one_seed_covers_test_images_alone(tmp_path: Path) -> None:
    (interval,) = read_candidates(results(tmp_path, rows({"good": [0.8]}))).intervals()
    assert interval.scope == ("test images",)


def candidate(accuracy: float, ms: float, mb: float) -> Candidate:
    speed = Speed("torch", ms, ms, ms, 1, "1", "any")
    return Candidate("a", "b", 0.9, Interval(accuracy, accuracy, accuracy, ()), speed=speed, megabytes=mb)


def test_the_front_is_what_nothing_beats() -> None:
    rng = np.random.default_rng(0)
    many = [candidate(*map(float, rng.integers(1, 6, 3))) for _ in range(60)]
    for one in front(many):
        better = [
            other
            for other in many
            if other.accuracy.value >= one.accuracy.value
            and other.cost[0] <= one.cost[0]
            and other.cost[1] <= one.cost[1]
            and (other.accuracy.value, *other.cost) != (one.accuracy.value, *one.cost)
        ]
        assert one.front == (not better)


def test_speeds_are_of_the_fastest_engine(tmp_path: Path) -> None:
    from sparsebench.report.speed import read_bench

    found = speeds(read_bench(bench(tmp_path, SPEED)), "cpu", None)
    assert {name: one.engine for name, one in found.items()} == dict.fromkeys(NAMES, "sparse")
    assert speeds(read_bench(tmp_path / "bench"), "cuda", None) == {}


def test_the_command_prints_a_recommendation_and_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = results(tmp_path, rows(EQUAL))
    bench(tmp_path, SPEED)
    monkeypatch.chdir(tmp_path)  # bench/ is found
    assert cli.main(["recommend", "--results", str(file)]) == 0
    printed = capsys.readouterr().out
    assert "Use fast (linear sgd cvpr22-linear)" in printed
    assert "this machine is another one" in printed
    assert cli.main(["recommend", "--results", str(file), "--json", "--min-accuracy", "0.95"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["recommended"] is None
    assert len(document["candidates"]) == 3
