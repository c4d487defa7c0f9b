"""The scripts around results, on tables made up here; one test runs a real cell."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest

import sparsebench
from sparsebench.schema import InputError, ResultsError
from sparsebench.store import read_results, tidy, write_curated

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
TIME = "2026-01-02T03:04:{:02d}Z"


def script(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Import a script as it sees itself: with its folder first on the path."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module(name)


@pytest.fixture
def curate(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return script("curate", monkeypatch)


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return script("leaderboard", monkeypatch)


@pytest.fixture
def sample(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return script("check_sample", monkeypatch)


Row = dict[str, Any]


def run(checkpoint: str = "a.dense", task: str = "t1", mode: str = "linear", seed: int = 0, **changes: Any) -> Row:
    row = {
        "run_id": f"{checkpoint}-{task}-{mode}-{seed}",
        "status": "ok",
        "checkpoint": checkpoint,
        "method": "dense" if checkpoint.endswith("dense") else "gmp",
        "arch": "a",
        "sparsity": 0.0 if checkpoint.endswith("dense") else 0.9,
        "reference": None if checkpoint.endswith("dense") else "a.dense",
        "task": task,
        "mode": mode,
        "probe": "sgd" if mode == "linear" else None,
        "protocol": f"p-{mode}",
        "seed": seed,
        "metric": "top1",
        "accuracy": 0.5,
        "engine": "torch",
        "precision": "fp32",
        "threads": 1,
        "weights_sha256": f"w1 {checkpoint}",
        "started": TIME.format(1),
    }
    return row | changes


def table(*rows: Row) -> pd.DataFrame:
    return tidy(pd.DataFrame(list(rows)))


def grid() -> pd.DataFrame:
    return table(
        *(
            run(checkpoint, task, mode, seed, accuracy=0.4 + 0.01 * seed)
            for checkpoint in ("a.dense", "a.gmp_s90")
            for task in ("t1", "t2", "t3")
            for mode in ("linear", "full")
            for seed in range(3)
        )
    )


def curated(path: Path, *rows: Row) -> Path:
    write_curated(table(*rows), path)
    return path


# curate


def test_the_record_that_started_last_wins_whatever_the_order(curate: ModuleType) -> None:
    old, new = table(run(accuracy=0.1)), table(run(accuracy=0.2, started="2026-01-02T04:04:00+00:00"))
    for tables in ([old, new], [new, old]):
        assert curate.merge(tables)["accuracy"].tolist() == [0.2]


def test_runs_of_older_weights_are_left_out(curate: ModuleType) -> None:
    older = [run(seed=seed) for seed in (0, 1)]
    newer = run(run_id="other", weights_sha256="w2", started=TIME.format(2))
    assert curate.merge([table(*older), table(newer)])["run_id"].tolist() == ["other"]


def test_merging_again_changes_nothing(curate: ModuleType) -> None:
    once = curate.merge([grid()])
    pd.testing.assert_frame_equal(once, grid())
    pd.testing.assert_frame_equal(curate.merge([once, grid()]), once)


def test_a_curated_file_gains_the_new_runs(curate: ModuleType, tmp_path: Path) -> None:
    out = curated(tmp_path / "runs.csv", run(seed=0), run(seed=1, accuracy=0.1))
    new = curated(tmp_path / "new.csv", run(seed=1, accuracy=0.3, started=TIME.format(9)), run(seed=2))
    assert curate.main([str(new), "--out", str(out)]) == 0
    assert dict(zip(*[read_results(out)[name].tolist() for name in ("seed", "accuracy")], strict=True)) == {
        0: 0.5,
        1: 0.3,
        2: 0.5,
    }
    assert curate.main([str(new), "--out", str(out), "--fresh"]) == 0
    assert read_results(out)["seed"].tolist() == [1, 2]


def test_failed_runs_are_refused_and_nothing_is_written(curate: ModuleType, tmp_path: Path) -> None:
    source = curated(tmp_path / "new.csv", run(), run(seed=7, status="failed", accuracy=None, error="OSError: full"))
    out = tmp_path / "runs.csv"
    with pytest.raises(ResultsError, match=r"1 of the runs failed.*a\.dense · t1 · linear · seed 7"):
        curate.main([str(source), "--out", str(out)])
    assert not out.exists()
    assert curate.main([str(source), "--out", str(out), "--keep-failed"]) == 0
    assert read_results(out)["status"].tolist() == ["ok", "failed"]


def test_a_missing_folder_is_one_line_and_status_2(tmp_path: Path) -> None:
    command = [
        sys.executable,
        str(SCRIPTS / "curate.py"),
        str(tmp_path / "nothing"),
        "--out",
        str(tmp_path / "out.csv"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == InputError.exit_code
    assert done.stderr.startswith("error: there are no results at")
    assert done.stderr.count("\n") == 1


# leaderboard


def test_a_leaderboard_just_written_passes_its_check(board: ModuleType, tmp_path: Path) -> None:
    runs, out = tmp_path / "runs.csv", tmp_path / "board.csv"
    write_curated(grid(), runs)
    arguments = ["--runs", str(runs), "--out", str(out)]
    assert board.main(arguments) == 0
    assert board.main([*arguments, "--check"]) == 0


def test_a_leaderboard_that_differs_is_shown_and_left_alone(
    board: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs, out = tmp_path / "runs.csv", tmp_path / "board.csv"
    write_curated(grid(), runs)
    arguments = ["--runs", str(runs), "--out", str(out)]
    board.main(arguments)
    edited = out.read_text().replace("a.gmp_s90", "a.gmp_s95", 1)
    out.write_text(edited)
    capsys.readouterr()
    assert board.main([*arguments, "--check"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("-") and "a.gmp_s95" in line for line in lines)
    assert any(line.startswith("+") and "a.gmp_s90" in line for line in lines)
    assert out.read_text() == edited


def test_windows_line_endings_differ_too(board: ModuleType, tmp_path: Path) -> None:
    runs, out = tmp_path / "runs.csv", tmp_path / "board.csv"
    write_curated(grid(), runs)
    arguments = ["--runs", str(runs), "--out", str(out)]
    board.main(arguments)
    out.write_bytes(out.read_bytes().replace(b"\n", b"\r\n"))
    assert board.main([*arguments, "--check"]) == 1


def test_a_missing_leaderboard_says_how_to_write_it(board: ModuleType, tmp_path: Path) -> None:
    runs = curated(tmp_path / "runs.csv", run())
    with pytest.raises(ResultsError, match=r"scripts/leaderboard\.py"):
        board.main(["--runs", str(runs), "--out", str(tmp_path / "none.csv"), "--check"])


# check_sample


def test_the_default_sample_has_every_checkpoint_on_two_tasks_and_one_sparse_full_run(sample: ModuleType) -> None:
    chosen = sample.default_sample(grid())
    linear, full = (chosen[chosen["mode"] == mode] for mode in ("linear", "full"))
    cells = set(zip(linear["checkpoint"], linear["task"], linear["seed"], strict=True))
    assert cells == {(c, t, 0) for c in ("a.dense", "a.gmp_s90") for t in ("t1", "t2")}
    assert len(linear) == len(cells)
    assert full["checkpoint"].tolist() == ["a.gmp_s90"]


def test_a_draw_is_the_same_for_any_order_of_rows_and_grows(sample: ModuleType) -> None:
    runs = grid()
    drawn = sample.drawn_sample(runs, 5)["run_id"].tolist()
    assert len(set(drawn)) == 5
    assert sample.drawn_sample(runs.iloc[::-1], 5)["run_id"].tolist() == drawn
    assert sample.drawn_sample(runs, 9)["run_id"].tolist()[:5] == drawn
    assert len(sample.drawn_sample(runs, 1000)) == len(runs)


@pytest.mark.parametrize(
    ("mode", "change", "off"),
    [
        ("linear", 0.01, False),
        ("linear", -0.01, False),
        ("linear", 0.011, True),
        ("full", -0.03, False),
        ("full", 0.031, True),
    ],
)
def test_tolerances_are_one_point_and_three(sample: ModuleType, mode: str, change: float, off: bool) -> None:
    (outcome,) = sample.compare(table(run(mode=mode)), table(run(mode=mode, accuracy=0.5 + change)))
    assert outcome.off is off
    assert f"{100 * change:+.2f}" in sample.render([outcome])


def test_a_cell_that_failed_vanished_or_changed_is_off(sample: ModuleType) -> None:
    before = table(run(seed=0), run(seed=1), run(seed=2), run(seed=3))
    now = table(
        run(seed=0), run(seed=1, status="failed", accuracy=None, error="RunError: diverged"), run(seed=2, run_id="new")
    )
    outcomes = sample.compare(before, now)
    assert [outcome.off for outcome in outcomes] == [False, True, True, True]
    text = sample.render(outcomes)
    for words in ("diverged", "is now run new", "did not run"):
        assert words in text


def test_nothing_to_compare_is_an_error(sample: ModuleType) -> None:
    with pytest.raises(ResultsError, match="no finished run"):
        sample.candidates(table(run(status="failed", accuracy=None)))


def test_a_real_cell_is_reproduced_and_a_forged_one_is_found(
    sample: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = tmp_path / "runs.csv"
    cells = sparsebench.run(
        checkpoint="mini.acdc_s90", task="digits", mode="linear", seed=0, results=tmp_path / "results"
    )
    write_curated(cells, runs)
    assert sample.main(["--runs", str(runs)]) == 0
    assert "+0.00" in capsys.readouterr().out
    write_curated(cells.assign(accuracy=cells["accuracy"] - 0.02), runs)
    assert sample.main(["--runs", str(runs)]) == 1
    assert "+2.00  off" in capsys.readouterr().out


# paper_figures


def _known_upstream(mode: str) -> list[Row]:
    rows = grid().assign(upstream_top1=0.5).to_dict("records")
    return [{str(k): v for k, v in row.items()} for row in rows if row["mode"] == mode]


def test_figures_come_from_the_tables_alone_without_torch(tmp_path: Path) -> None:
    runs = curated(tmp_path / "runs.csv", *_known_upstream("linear"))
    program = (
        f"import sys; sys.path.insert(0, {str(SCRIPTS)!r}); import paper_figures;"
        " status = paper_figures.main(sys.argv[1:]); print('torch' in sys.modules); sys.exit(status)"
    )
    command = [sys.executable, "-c", program, "--runs", str(runs), "--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    *names, torch = done.stdout.split()
    assert torch == "False"
    assert {path.name for path in (tmp_path / "out").iterdir()} == {Path(name).name for name in names}
    assert {"relative_error.pdf", "relative_error.png", "accuracy-linear.pdf", "upstream.png"} <= {
        Path(name).name for name in names
    }


def test_new_entries_of_a_registry_come_after_the_last_of_their_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    embed = script("embed", monkeypatch)
    text = "# all\n\nmini.a:\n  x: 1\n\n# about b\nother.b:\n  x: 2\n"
    merged = embed.merge(
        text, {"mini.a_r1": "mini.a_r1:\n  x: 3\n", "other.b": "other.b:\n  x: 4\n", "new.c": "new.c:\n  x: 5\n"}
    )
    assert merged == (
        "# all\n\nmini.a:\n  x: 1\n\nmini.a_r1:\n  x: 3\n\n# about b\nother.b:\n  x: 4\n\nnew.c:\n  x: 5\n"
    )
    assert embed.merge(merged, {}) == merged


@pytest.mark.parametrize(
    ("check", "reason"),
    [
        ({"rows": {"checkpoint": "a.*"}, "verdict": "better"}, ""),
        ({"rows": {"checkpoint": "a.*", "verdict": "worse"}, "count": 0}, ""),
        ({"rows": {"checkpoint": "a.*"}, "count": 3, "verdict": "better"}, "2 rows"),
        ({"rows": {"checkpoint": "a.*"}, "verdict": "undecided"}, "a.x linear sgd is better"),
        ({"rows": {"checkpoint": "a.x"}, "at_most": -0.2}, "relative_error of a.x linear sgd is -0.1"),
        ({"rows": {"checkpoint": "a.x"}, "rounds_to": {"a.x": "−10"}}, ""),
        ({"rows": {"checkpoint": "a.x"}, "rounds_to": {"a.x": "-11"}}, "has -10 %, not -11"),
        ({"rows": {"checkpoint": "a.x"}, "of": "a.y", "at_least": 0.19}, ""),
        ({"rows": {"checkpoint": "a.x"}, "of": "a.y", "at_least": 0.21}, "is 0.2"),
        (
            {
                "rows": {"checkpoint": ["a.x", "a.y", "b"]},
                "correlation": ["upstream", "relative_error"],
                "at_least": 0.9,
            },
            "",
        ),
        (
            {"rows": {"checkpoint": ["a.x", "a.y", "b"]}, "correlation": ["upstream", "relative_error"], "at_most": 0},
            "1.00",
        ),
    ],
)
def test_a_claim_that_does_not_follow_is_said(
    check: dict[str, Any], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    claims = script("claims", monkeypatch)
    same = {"mode": "linear", "probe": "sgd", "protocol": "p", "arch": "mini"}
    rows = [("a.x", -0.1, "better", 0.2), ("a.y", -0.3, "better", 0.1), ("b", 0.4, "worse", 0.3)]
    names = ("checkpoint", "relative_error", "verdict", "upstream")
    table = pd.DataFrame([same | dict(zip(names, row, strict=True)) for row in rows])
    found = claims.broken(check, {"mini": table})
    assert any(reason in line for line in found) or not reason
    assert bool(found) == bool(reason)


def test_a_sentence_that_nobody_says_and_a_check_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    claims = script("claims", monkeypatch)
    claim = {"claim": "the moon is made of cheese", "in": ["README.md"], "checks": []}
    assert [line.partition(":")[0] for line in claims.failures([claim], {})] == [
        "README.md doesn't say",
        "nothing is checked of",
    ]
    with pytest.raises(ResultsError, match="no vierdict"):
        claims.broken({"rows": {}, "vierdict": "worse"}, {})
    with pytest.raises(ResultsError, match="says nothing"):
        claims.broken({"rows": {}}, {})
