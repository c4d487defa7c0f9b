"""Whatever lies in a results folder in place of a file of ours is named and left out; nothing waits for it."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import sparsebench
from sparsebench.cli import main
from sparsebench.store import Store


@pytest.fixture(autouse=True)
def impatience() -> Iterator[None]:
    """Rather fail than wait for ever."""
    if hasattr(signal, "alarm"):
        signal.alarm(120)
        yield
        signal.alarm(0)
    else:
        yield


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # a socket's name is short
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind("s")
        Path("s").rename(path.name)
    finally:
        os.chdir(here)


def a_folder(path: Path) -> None:
    path.mkdir()


def a_dangling_link(path: Path) -> None:
    path.symlink_to("nowhere")


def a_link_to_itself(path: Path) -> None:
    path.symlink_to(path.name)


def an_endless_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def a_huge_file(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**42)


def deep_json(path: Path) -> None:
    path.write_text("[" * 200_000)


def deep_object(path: Path) -> None:
    path.write_text('{"run_id":' * 100_000)


def nan(path: Path) -> None:
    path.write_text("NaN")


def bytes_of_no_text(path: Path) -> None:
    path.write_bytes(b"\xff\xfe\x00{}")


def nothing(path: Path) -> None:
    path.touch()


Put = Callable[[Path], None]
ODD = [
    a_pipe, a_socket, a_folder, a_dangling_link, a_link_to_itself, an_endless_device, a_huge_file, deep_json,
    deep_object, nan, bytes_of_no_text, nothing,
]  # fmt: skip


@pytest.fixture
def results(tmp_path: Path, ok: Callable[..., object]) -> Path:
    for seed in range(2):
        Store(tmp_path / "runs").write(ok(seed=seed))  # type: ignore[arg-type]
    return tmp_path / "runs"


def assert_status(results: Path, capsys: pytest.CaptureFixture[str], said: str = "") -> None:
    assert main(["status", "--results", str(results)]) == 0
    captured = capsys.readouterr()
    assert "2 done, 0 failed, 0 missing of 2 runs" in captured.out
    assert said in captured.err


@pytest.mark.parametrize("put", ODD)
def test_an_odd_record_is_named_and_left_out(put: Put, results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (cell,) = (results / "records").glob("*/*")
    put(cell / "linear.sgd.seed7.0123456789abcdef.json")
    with pytest.warns(UserWarning, match=r"seed7\.0123456789abcdef\.json' is damaged"):
        assert len(sparsebench.results(results)) == 2
    assert_status(results, capsys, "seed7.0123456789abcdef.json' is damaged")


@pytest.mark.parametrize(
    "value", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1" * 30, "1" * 5000, "{}", '"x"']
)
@pytest.mark.parametrize("where", ["seconds", "scores.top1", "spec.seed", "spec.sparsity"])
def test_a_record_with_a_number_that_is_none_is_named_and_left_out(where: str, value: str, results: Path) -> None:
    path = min(results.glob("records/*/*/*.json"))
    document = json.loads(path.read_text())
    *outer, name = where.split(".")
    inner = document[outer[0]] if outer else document
    inner[name] = "HERE"
    path.write_text(json.dumps(document).replace('"HERE"', value))
    with pytest.warns(UserWarning, match=f"{path.name}' is damaged"):
        table = sparsebench.results(results)
    assert len(table) == 1


@pytest.mark.parametrize("put", ODD)
@pytest.mark.parametrize("folder", ["plans", "jobs"])
def test_an_odd_plan_or_submission_is_named_and_left_out(
    folder: str, put: Put, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (results / folder).mkdir(exist_ok=True)
    put(results / folder / "odd.json")
    assert_status(results, capsys, "odd.json' is damaged")


@pytest.mark.parametrize("created", ["", "yesterday", "2026-01-01T00:00:00", "99999-01-01", "NaN"])
def test_a_submission_without_a_date_is_named_and_left_out(
    created: str, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (results / "jobs").mkdir()
    document = {"submission": "x", "plan": "p", "created": created, "state": "submitting"}
    (results / "jobs" / "x.json").write_text(json.dumps(document))
    assert_status(results, capsys, "x.json' is damaged")


@pytest.mark.parametrize("put", ODD)
def test_odd_claims_logs_and_indices_harm_nobody(put: Put, results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("claims/x.json", "logs/y.jsonl", "logs/x.jsonl", ".odd.tmp", "odd"):
        (results / name).parent.mkdir(exist_ok=True)
        put(results / name)
    assert_status(results, capsys)
    assert len(sparsebench.results(results)) == 2
    Store(results).sweep()
