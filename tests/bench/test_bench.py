"""``sparsebench bench``: what it measures, writes and draws, and what it says when it can't."""

from __future__ import annotations

import contextlib
import itertools
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsebench.bench import BenchOptions, engines, figures, run, run_bench, work
from sparsebench.bench.engines import engines_here
from sparsebench.bench.timing import Spread, in_turns, ratios
from sparsebench.cli import main
from sparsebench.models.loading import load_entry
from sparsebench.registry import load_registry
from sparsebench.report import Report, bench_beside, read_bench, write_report
from sparsebench.report.speed import ENGINE_COLUMNS, SPEED_COLUMNS
from sparsebench.schema import InputError, ResultsError, UnknownNameError
from sparsebench.store.csvfile import to_csv

ROOT = Path(__file__).resolve().parents[2]
CURATED = ROOT / "results" / "mini" / "runs.csv"
NAMES = ("mini.dense", "mini.acdc_s90")
ENGINES = tuple(name for name in engines_here() if name != "onnxruntime")  # whose export takes seconds


def accuracy() -> pd.DataFrame:
    table = pd.read_csv(CURATED)
    return table[table["checkpoint"].isin(NAMES) & table["task"].isin(["digits", "glyphs"])].reset_index(drop=True)


numbers = st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=30)


@given(numbers)
def test_a_spread_is_ordered_and_within_what_was_measured(values):
    spread = Spread.of(values)
    assert min(values) <= spread.low <= spread.median <= spread.high <= max(values)


@given(numbers, st.floats(0.1, 10))
def test_the_ratio_of_what_is_always_so_much_faster_is_that(values, factor):
    assert ratios(values, [value / factor for value in values]).median == pytest.approx(factor)


def test_works_take_turns_after_a_first_one_that_does_not_count():
    order: list[str] = []
    times = in_turns({"a": lambda: order.append("a"), "b": lambda: time.sleep(0.01)}, 3)
    assert order == ["a"] * 7, "once to set up, then once untimed before each time"
    assert [len(values) for values in times.values()] == [3, 3]
    assert min(times["b"]) >= 0.01


def test_each_turn_begins_with_another_work():
    order: list[str] = []
    in_turns({name: lambda name=name: (order.append(name), time.sleep(0.001)) for name in "abc"}, 3, warm=0)
    assert "".join(order[:3]) == "abc"
    assert "".join(order[3:]) == "bbccaa" + "ccaabb"


points = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=1, max_size=20)


@given(points)
def test_the_front_is_what_nothing_surpasses(found):
    front = figures.pareto_front(found)
    beaten = {p for p, q in itertools.product(found, found) if q != p and q[0] >= p[0] and q[1] >= p[1]}
    assert set(front) == set(found) - beaten
    assert front == sorted(front)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    out = tmp_path_factory.mktemp("bench") / "bench"
    options = BenchOptions(out, parts=("engines", "finetuning"), engines=ENGINES, batch=4, turns=2)
    registry = load_registry()
    seen: list[str] = []
    result = run_bench(
        [registry.checkpoint(name) for name in NAMES],
        registry,
        options,
        results=accuracy(),
        progress=lambda done, total, what: seen.append(f"{done} {total} {what}"),
    )
    return out, result, seen


def test_every_engine_has_a_row_a_checkpoint_with_the_machine(measured):
    out, result, seen = measured
    table = read_bench(out)
    assert list(zip(table["checkpoint"], table["engine"], strict=True)) == list(itertools.product(NAMES, ENGINES))
    assert (table[["images_per_second", "flops", "file_bytes", "packed_bytes", "peak_flops"]] > 0).all(axis=None)
    assert (table["images_per_second_low"] <= table["images_per_second_high"]).all()
    assert (table["processor"] != "").all()
    np.testing.assert_allclose(table["images_per_second"], 4 / table["ms"] * 1e3, rtol=2e-3)
    dense = table[(table["checkpoint"] == "mini.dense") & (table["engine"] == "torch")]
    assert dense["ratio"].tolist() == [1.0]
    assert (table["off"] < 1e-3).all()
    sparse = table[table["checkpoint"] == "mini.acdc_s90"]
    assert (sparse["flops_sparse"] < 0.5 * sparse["flops"]).all()
    assert not result.interrupted
    assert seen[0] == "0 3 mini.dense"


@pytest.mark.parametrize("name", ["magnitude", "lth", "cram", "acdc"])
def test_the_size_on_disk_is_that_of_all_files_that_are_needed(name):
    backbone = load_entry(load_registry().checkpoint(f"mini.{name}_s90"))
    dense = load_registry().checkpoint("mini.dense")
    setting = engines.Setting(("torch",), 2, 1, 1, "cpu")
    row = engines._facts(backbone.info.checkpoint, dense, backbone, setting, "torch")
    bases = {"magnitude": "mini.dense", "lth": "mini.dense", "cram": "mini.cram_dense"}
    folder = backbone.info.path.parent
    base = (folder / f"{bases[name]}.safetensors").stat().st_size if name in bases else 0
    assert row["file_bytes"] == backbone.info.path.stat().st_size + base
    assert row["packed_bytes"] == backbone.info.packed_bytes


def test_the_committed_sizes_are_those_of_the_checkpoints():
    table = read_bench(ROOT / "results" / "bench")
    for name in ("mini.dense", "mini.magnitude_s90", "mini.acdc_s90"):
        info = load_entry(load_registry().checkpoint(name)).info
        rows = table[table["checkpoint"] == name]
        assert set(rows["packed_bytes"]) == {info.packed_bytes}
        assert set(rows["file_bytes"]) == {sum(path.stat().st_size for path in info.files)}


def test_memory_is_that_of_the_backbone_and_not_of_python(measured):
    table = read_bench(measured[0])
    known = table["peak_memory"].dropna()
    if not len(known):
        pytest.skip("the system doesn't tell a process's peak")
    assert known.between(1e6, 400e6).all()


def test_figures_and_tables_are_written(measured):
    out, result, _ = measured
    names = {path.name for path in result.files}
    assert {"engines.csv", "finetuning.csv", "speedup.png", "accuracy_throughput.pdf"} <= names
    assert all(path.stat().st_size > 0 for path in result.files)
    assert (out / "accuracy_throughput.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.usefixtures("without_figures")
def test_a_report_shows_speed_beside_accuracy_and_the_leaderboard_does_not(measured, tmp_path):
    out, _, _ = measured
    frame = accuracy()
    write_report(Report(frame, bench=read_bench(out)), tmp_path / "with")
    write_report(Report(frame), tmp_path / "without")
    table = pd.read_csv(tmp_path / "with" / "speed.csv")
    assert tuple(table.columns) == SPEED_COLUMNS
    assert set(table["checkpoint"]) == set(NAMES)
    assert table["mean_accuracy"].between(0, 1).all()
    text = (tmp_path / "with" / "tables.md").read_text(encoding="utf-8")
    assert "### Speed · cpu" in text
    assert "MB on disk" in text
    assert "MB packed" in text
    boards = [(tmp_path / name / "leaderboard.csv").read_bytes() for name in ("with", "without")]
    assert boards[0] == boards[1]
    assert not (tmp_path / "without" / "speed.csv").exists()


def test_the_bench_folder_beside_results_is_found(measured):
    out, _, _ = measured
    assert bench_beside(out.parent / "runs") == out
    assert bench_beside(out.parent / "mini" / "runs") is None


def test_an_interrupt_keeps_what_was_measured(tmp_path, monkeypatch):
    registry = load_registry()
    asked = iter([[{"what": "probes", "name": "one", "seconds": 1.0}], None])

    def measure(*_):
        found = next(asked)
        if found is None:
            raise KeyboardInterrupt
        return found

    monkeypatch.setattr(work, "measure_probe", measure)
    monkeypatch.setattr(run, "MemoryMeter", contextlib.nullcontext)
    result = run_bench([], registry, BenchOptions(tmp_path / "b", parts=("probes",)))
    assert result.interrupted
    assert "probes,one" in (tmp_path / "b" / "probes.csv").read_text()


def test_an_engine_that_cannot_run_a_checkpoint_says_so_in_its_row(tmp_path, monkeypatch):
    real = engines.prepare

    def prepare(module, numerics, shape):
        if numerics.engine != "torch":
            raise InputError("layer 'x' isn't understood", "use torch")
        return real(module, numerics, shape)

    monkeypatch.setattr(engines, "prepare", prepare)
    monkeypatch.setattr(run, "MemoryMeter", contextlib.nullcontext)
    monkeypatch.setattr(run.engines, "engines_here", lambda: ("torch", "sparse"))
    registry = load_registry()
    options = BenchOptions(tmp_path, parts=("engines",), batch=2, turns=1)
    rows = run_bench([registry.checkpoint("mini.dense")], registry, options).rows["engines"]
    assert [row.get("error") for row in rows] == [None, *["layer 'x' isn't understood"] * (len(rows) - 1)]
    assert len(read_bench(tmp_path)) == 1


def test_the_other_parts_have_sensible_numbers():
    (ridge,) = work.measure_probe("ridge", 1, 1, (60, 8, 3))
    assert ridge["seconds"] > 0
    rows = work.measure_decoding(1, 1, count=4)
    assert [row["name"] for row in rows] == ["pillow", "fast"]
    assert rows[0]["ratio"] == 1.0
    assert all(row["images_per_second"] > 0 for row in rows)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"engines": ("sparce",)}, UnknownNameError),
        ({"parts": ("engine",)}, UnknownNameError),
        ({"devices": ("cuda:77",)}, InputError),
        ({"batch": 0}, InputError),
    ],
)
def test_mistakes_are_found_before_anything_is_written(tmp_path, options, error):
    with pytest.raises(error):
        run.check(BenchOptions(tmp_path, **options))
    with pytest.raises(error):
        run_bench([], load_registry(), BenchOptions(tmp_path / "b", **options))
    assert not (tmp_path / "b").exists()


def test_the_command_names_what_is_wrong(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["bench", "--checkpoint", "mini.dens"]) == 2
    assert "did you mean" in capsys.readouterr().err
    assert main(["bench", "--engine", "sparce"]) == 2
    assert "sparse" in capsys.readouterr().err
    assert main(["bench", "--results", "nothing"]) == 2
    assert not list(tmp_path.iterdir())


def test_a_table_that_is_none_is_refused(tmp_path):
    with pytest.raises(ResultsError, match="measure first"):
        read_bench(tmp_path)
    (tmp_path / "engines.csv").write_text("checkpoint\nx\n")
    with pytest.raises(ResultsError, match="lacks the columns"):
        read_bench(tmp_path)
    row = ["fast" if name == "ms" else "1" for name in ENGINE_COLUMNS]
    (tmp_path / "engines.csv").write_text(to_csv(ENGINE_COLUMNS, [row]))
    with pytest.raises(ResultsError, match="ms is not a number"):
        read_bench(tmp_path)
