"""The script that checks coverage by simulation: resumable, restricted, and its table."""

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "check_coverage.py"


@pytest.fixture
def script(monkeypatch):
    spec = importlib.util.spec_from_file_location("check_coverage", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "BATCH", 2)
    return module


def test_what_is_there_is_not_drawn_again(script, tmp_path):
    out, cell = tmp_path / "counts.csv", "n100-t3-s3-r1-*"
    script.draw_missing("closed", cell, 3, out)
    first = out.read_text()
    assert len(first.splitlines()) == 1 + 2, "two batches of two"
    out.write_text(first + "closed,half")  # as a killed process leaves it
    script.draw_missing("closed", cell, 3, out)
    assert len(script._rows(out)) == 2
    script.draw_missing("closed", cell, 5, out)
    ((key, counts),) = script.read(out).items()
    assert key[0] == "closed"
    assert counts.sets == 6


def test_the_table_and_the_figure(script, tmp_path, monkeypatch, capsys):
    table, figure, out, totals = (tmp_path / name for name in ("t.md", "f.png", "c.csv", "totals.csv"))
    files = ["--out", str(out), "--table", str(table), "--figure", str(figure), "--totals", str(totals)]
    monkeypatch.setattr("sys.argv", ["x", "--cells", "n100-t3-s3-r1-*", "--sets", "2", *files])
    script.main()
    assert table.read_text().count("\n") == 3
    assert table.read_text() == capsys.readouterr().out
    assert figure.stat().st_size > 1000
    assert totals.read_text().splitlines()[1].startswith("closed,n100-t3-s3-r1-")
