"""``sparsebench doctor``: a line per thing, and what to do where something is missing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from sparsebench.cli import doctor, main


def findings(tmp_path: Path, capsys: pytest.CaptureFixture[str], status: int = 0) -> dict[str, dict[str, str]]:
    assert main(["doctor", "--json", "--results", str(tmp_path / "runs")]) == status
    return {finding["what"]: finding for finding in json.loads(capsys.readouterr().out)}


def test_what_is_here_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: SimpleNamespace(free=10**11))
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "a").write_bytes(bytes(2_500_000))
    found = findings(tmp_path, capsys)
    assert found["torch"]["found"].startswith(torch.__version__.partition("+")[0])
    assert found["results"]["found"] == f"{tmp_path / 'runs'}: 2.5 MB, 100.0 GB free"
    assert {"processor", "GPUs", "sparse kernels", "resize kernel", "cache", "checkpoints", "data sets"} <= set(found)
    assert main(["doctor", "--results", str(tmp_path / "runs")]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(found) + 1


def test_what_is_missing_is_named_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "find_spec", lambda _: None)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: SimpleNamespace(free=10**6))
    monkeypatch.setenv("PATH", "")
    found = findings(tmp_path, capsys, status=1)
    assert "pip install 'sparsebench[onnxruntime]'" in found["extra onnxruntime"]["remedy"]
    assert found["Slurm"]["state"] == "optional"
    assert found["cache"]["state"] == "problem"
    assert "nearly full" in found["cache"]["remedy"]
    assert shutil.which("sbatch") is None
