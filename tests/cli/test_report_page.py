"""``report --html`` and ``--open``."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from sparsebench.cli import main
from sparsebench.cli.seen import seen
from sparsebench.datasets import open_task
from sparsebench.registry import load_tasks

ONLY = ("--results", "results/mini", "--checkpoint", "mini.gmp_s90", "--task", "digits", "--mode", "full")


@pytest.fixture
def report(without_figures: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """``report(*options)``: its exit status, and the folder that it wrote."""
    monkeypatch.chdir(Path(__file__).parents[2])

    def run(*options: str) -> tuple[int, Path]:
        return main(["report", *ONLY, "--out", str(tmp_path / "out"), *options]), tmp_path / "out"

    return run


def test_the_page_is_written_where_it_is_asked_for(report, tmp_path: Path, capsys) -> None:
    status, out = report("--html")
    assert status == 0
    page = (out / "report.html").read_text(encoding="utf-8")
    assert str(out / "report.html") in capsys.readouterr().out
    assert "Sparsity by layer" in page  # known of an embedded checkpoint without loading it
    assert "exemplars as images" in page  # the task's images are embedded
    assert page.count('<tr><th scope="row"><a href="#c-mini.gmp_s90">') >= 1  # its own head, from upstream.csv
    assert str(tmp_path) not in page
    status, _ = report("--html", str(tmp_path / "new" / "page.html"), "--json")
    assert status == 0
    assert (tmp_path / "new" / "page.html").read_text(encoding="utf-8") == page
    assert str(tmp_path / "new" / "page.html") in json.loads(capsys.readouterr().out)["files"]


def test_without_the_option_there_is_no_page(report) -> None:
    status, out = report()
    assert status == 0
    assert not (out / "report.html").exists()


def test_open_shows_it_in_a_browser(report, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    shown: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda address: bool(shown.append(address)))
    status, out = report("--open")
    assert status == 0
    assert shown == [(out / "report.html").as_uri()]
    assert "no browser was found" in capsys.readouterr().err


def test_a_folder_is_no_page(report, tmp_path: Path, capsys) -> None:
    status, out = report("--html", str(tmp_path))
    assert status == 2
    assert "is a folder" in capsys.readouterr().err
    assert not out.exists()


def test_images_are_shown_of_the_data_that_runs_saw_alone() -> None:
    task = load_tasks().tasks["textures"]
    digest = open_task(task).split_sha256
    rows = pd.DataFrame({"task": ["textures", "digits", "cifar10"], "split_sha256": [digest, "f" * 64, None]})
    found = dict(seen(rows, load_tasks(), None))
    assert set(found) == {"textures"}
    image = open_task(task).test.ids[3]
    assert found["textures"].image(image).startswith("data:image/webp;base64,")
    assert found["textures"].image("no such image") is None
    assert "retina" in found["textures"].classes
