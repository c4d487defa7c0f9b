"""Runs with extensions from files: their hash is in the id, workers load them too, and a changed file is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

import sparsebench
from sparsebench import extensions
from sparsebench.api import prepare
from sparsebench.cli import main
from sparsebench.extensions import KINDS, table
from sparsebench.models.formats import read_checkpoint
from sparsebench.registry.selection import Selection
from sparsebench.runs.request import Request, reference_command
from sparsebench.schema import CheckpointError, InputError, Numerics
from sparsebench.store import Store

PROBE = """
from sparsebench.extensions import Probe

def fit(data, protocol, seeds, *, device="cpu", progress=None):
    import numpy as np
    from sparsebench.transfer.probes.data import Fitted
    logits = np.zeros((len(data.y_test), data.num_classes), np.float32)
    logits[:, {label}] = 1
    return [Fitted(logits, 0.0, len(data.y)) for _ in seeds]

CONSTANT = Probe(name="constant", summary="always one class", fit=fit, seeded=False)
"""
ENGINE = """
from sparsebench.extensions import Engine

def build(module, numerics, input_shape):
    import torch
    run = torch.inference_mode()(lambda batch: module(batch).float())
    return run

def check(module, input_shape):
    from sparsebench.schema import InputError
    if {refuse}:
        raise InputError("this engine runs nothing", "use another one")

PLAIN = Engine(name="plain", summary="the module itself", build=build, check=check)
"""


@pytest.fixture(autouse=True)
def _forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "_from_files", {plural: {} for plural in KINDS})


def written(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    return folder / name


def asked(folder: Path, probe: Path, engine: str = "torch") -> Request:
    selection = Selection(
        checkpoints=["mini.acdc_s90"], tasks=["digits"], modes=["linear"], probes=[str(probe)], limit=20
    )
    return Request(selection, results=folder / "runs", cache_dir=folder / "cache", numerics=Numerics(engine=engine))


def test_two_files_of_one_name_are_two_runs_and_so_are_two_engines(tmp_path: Path) -> None:
    one = written(tmp_path / "a", "own.py", PROBE.format(label=1))
    two = written(tmp_path / "b", "own.py", PROBE.format(label=2))
    engine = written(tmp_path, "plain.py", ENGINE.format(refuse=False))
    specs = [prepare(asked(tmp_path, probe)).plan.runs for probe in (one, two)]
    assert [len(runs) for runs in specs] == [1, 1]  # no seed changes it
    assert specs[0][0].run_id != specs[1][0].run_id
    assert specs[0][0].probe.partition("@")[0] == specs[1][0].probe.partition("@")[0] == "constant"
    (other,) = prepare(asked(tmp_path, one, str(engine))).plan.runs
    assert other.run_id == specs[0][0].run_id
    assert other.record_key != specs[0][0].record_key
    assert other.numerics.engine.startswith("plain@")
    assert str(one) in reference_command(prepare(asked(tmp_path, one)).request, "mini.dense")


def test_what_an_engine_refuses_is_said_before_anything_is_written(tmp_path: Path) -> None:
    probe = written(tmp_path, "own.py", PROBE.format(label=1))
    engine = written(tmp_path, "plain.py", ENGINE.format(refuse=True))
    with pytest.raises(InputError, match="this engine runs nothing"):
        prepare(asked(tmp_path, probe, str(engine)))
    assert not (tmp_path / "runs").exists()


def test_a_run_and_what_reads_its_records_without_the_file(tmp_path: Path) -> None:
    probe = written(tmp_path, "own.py", PROBE.format(label=3))
    more = {"task": "digits", "mode": "linear", "results": tmp_path / "runs", "limit": 20}
    table_ = sparsebench.run(checkpoint="mini.acdc_s90", probe=probe, cache_dir=tmp_path / "cache", **more)
    assert table_["accuracy"].tolist() == [0.1]
    assert table_["task"].tolist() == ["digits-limit20"]
    table._from_files["probes"].clear()
    assert sparsebench.results(tmp_path / "runs")["probe"][0].startswith("constant@")


@pytest.mark.slow
def test_workers_load_the_file_too(tmp_path: Path) -> None:
    probe = written(tmp_path, "own.py", PROBE.format(label=3))
    more = {"task": ["digits", "textures"], "mode": "linear", "results": tmp_path / "runs", "limit": 20}
    table_ = sparsebench.run(checkpoint="mini.acdc_s90", probe=probe, jobs=2, **more)
    assert table_["status"].tolist() == ["ok", "ok"]


@pytest.mark.parametrize(("limit", "message"), [(3, "give at least 10"), (0, "no number of images")])
def test_a_limit_that_leaves_a_class_out_is_refused(tmp_path: Path, limit: int, message: str) -> None:
    with pytest.raises(InputError) as error:
        sparsebench.run(checkpoint="mini.acdc_s90", task="digits", limit=limit, results=tmp_path / "runs")
    assert message in error.value.line or message in error.value.message


EXECUTOR = """
from sparsebench.extensions import Executor, Settings

class Words(Settings):
    word: str = "going"

class Loud:
    def __init__(self, context):
        self.context = context

    def execute(self, plan, options, emit):
        from sparsebench.runs.runner import run_group
        for group in plan.groups:
            self.context.say(self.context.settings.word)
            run_group(group, options, emit)

LOUD = Executor(name="loud", summary="says a word", make=Loud, settings=Words)
"""


def test_an_executor_of_a_file_takes_settings_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    probe = written(tmp_path, "own.py", PROBE.format(label=3))
    executor = written(tmp_path, "loud.py", EXECUTOR)
    (tmp_path / "words.yaml").write_text("word: marching\n")
    line = ["run", "--checkpoint", "mini.acdc_s90", "--task", "digits", "--probe", str(probe), "--no-reference"]
    line += ["--limit", "20", "--results", str(tmp_path / "runs"), "--executor", str(executor)]
    assert main([*line, "--cluster", str(tmp_path / "words.yaml")]) == 0
    assert "marching" in capsys.readouterr().err
    assert main([*line, "--partition", "gpu"]) == 2
    assert "partition" in capsys.readouterr().err
    assert main([*line, "--jobs", "2"]) == 2
    assert "runs one at a time" in capsys.readouterr().err


def test_what_a_probe_gives_is_checked(tmp_path: Path) -> None:
    text = PROBE.format(label=1).replace("(len(data.y_test), data.num_classes)", "(3, 2)")
    probe = written(tmp_path, "own.py", text)
    more = {"task": "digits", "mode": "linear", "results": tmp_path / "runs", "limit": 20}
    sparsebench.run(checkpoint="mini.acdc_s90", probe=probe, cache_dir=tmp_path / "cache", **more)
    (record,) = Store(tmp_path / "runs").read()
    assert record.failure is not None
    assert "gave logits of shape (3, 2), not (20, 10)" in record.failure.message


def test_a_format_that_fails_is_to_blame_and_not_the_file(tmp_path: Path) -> None:
    text = (
        "from sparsebench.extensions import CheckpointFormat\n"
        "BAD = CheckpointFormat(name='bad', summary='fails', read=lambda path, budget, weights: 1 / 0)\n"
    )
    name = extensions.resolve("formats", written(tmp_path, "bad.py", text))
    file = written(tmp_path, "weights.xyz", "anything")
    with pytest.raises(CheckpointError, match=r"format 'bad@.*' fails: ZeroDivisionError"):
        read_checkpoint(file, name)
    with pytest.raises(CheckpointError, match="is not a checkpoint"):
        read_checkpoint(file)
