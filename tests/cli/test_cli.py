"""``status``, ``report``, ``inspect`` and ``list``, and ``run`` on one's own files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_lines import arguments

import sparsebench
from sparsebench.cli import main
from sparsebench.common.files import sha256_file
from sparsebench.store import Store
from tasks_quick import image_folder


def test_status_and_report(tasks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = tmp_path / "runs"
    assert main([*arguments(tasks, runs), "--mode", "linear"]) == 0
    first = next((runs / "records").rglob("*.json"))
    first.unlink()
    capsys.readouterr()
    assert main(["status", "--results", str(runs)]) == 0
    assert "1 done, 0 failed, 1 missing of 2 runs" in capsys.readouterr().out
    assert main(["report", "--results", str(runs), "--out", str(tmp_path / "report")]) == 0
    written = capsys.readouterr().out.split()
    assert {Path(p).suffix for p in written} >= {".csv", ".md", ".tex", ".png", ".pdf"}
    assert all(Path(p).stat().st_size > 0 for p in written)


def test_inspect_counts_zeros_as_an_independent_count_does(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "mini.gmp_s90", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    state = sparsebench.load("mini.gmp_s90", head=True).module.state_dict()
    for layer in document["layers"]:
        assert layer["zeros"] == int((state[layer["name"]] == 0).sum())
    masked = [layer for layer in document["layers"] if layer["masked"]]
    share = sum(layer["zeros"] for layer in masked) / sum(layer["weights"] for layer in masked)
    assert document["sparsity"]["measured"]["prunable"] == pytest.approx(share)
    assert share == pytest.approx(0.9, abs=1e-5)
    assert document["sha256"] == sha256_file(Path(document["file"]))
    assert document["flops"]["sparse"] < document["flops"]["dense"]
    assert main(["inspect", "mini.gmp_s90"]) == 0
    assert "exempt" in capsys.readouterr().out


def test_inspect_counts_what_no_mask_holds_and_all_files(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "mini.acdc_s90_dense", "--json"]) == 0
    twin = json.loads(capsys.readouterr().out)
    assert twin["unheld"]["zeros"] == twin["zeros"] - twin["held"] == 59021
    assert twin["sparsity"]["measured"] == {"prunable": 0.0, "pruned_layers": 0.0, "all_params": 0.0}
    assert main(["inspect", "mini.acdc_s90_dense"]) == 0
    assert "59,021 (4.63% of the weights that no mask holds)" in capsys.readouterr().out
    assert main(["inspect", "mini.magnitude_s90", "--json"]) == 0
    derived = json.loads(capsys.readouterr().out)
    names = ("mini.magnitude_s90.safetensors", "mini.dense.safetensors")
    assert [Path(file["path"]).name for file in derived["files"]] == list(names)
    assert derived["bytes"] == sum(Path(file["path"]).stat().st_size for file in derived["files"])
    assert derived["packed_bytes"] == sparsebench.load("mini.magnitude_s90").info.packed_bytes
    assert main(["inspect", "mini.magnitude_s90"]) == 0
    assert f"packed {derived['packed_bytes']:,}" in capsys.readouterr().out


LISTED = {
    "checkpoints": "mini.acdc_s90",
    "columns": "relative_error_low",
    "corruptions": "saved as JPEG of low quality",
    "engines": "only the nonzero weights",
    "executors": "slurm",
    "formats": "torch.nn.utils.prune",
    "methods": "AC/DC",
    "probes": "fewshot",
    "suites": "cvpr22-linear",
    "tasks": "glyphs",
}


@pytest.mark.parametrize("what", LISTED)
def test_list(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", what]) == 0
    assert LISTED[what] in capsys.readouterr().out
    assert main(["list", what, "--json"]) == 0
    assert LISTED[what] in capsys.readouterr().out


def test_list_says_what_is_missing_to_use_an_engine(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sparsebench.extensions.base.find_spec", lambda name: None)
    assert main(["list", "engines", "--json"]) == 0
    found = {one["name"]: one["missing"] for one in json.loads(capsys.readouterr().out)}
    assert found["onnxruntime"] == 'needs: pip install "sparsebench[onnxruntime]"'
    assert found["torch"] is None


def test_own_checkpoint_on_an_own_folder(
    pruned_resnet18: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = image_folder(tmp_path / "photos", classes=2, images=6, size=40)
    line = ["run", "--checkpoint", str(pruned_resnet18), "--arch", "resnet18", "--task", str(folder)]
    assert main([*line, "--mode", "linear", "--seed", "0", "--results", str(tmp_path / "runs")]) == 0
    captured = capsys.readouterr()
    assert "photos" in captured.out
    assert "no reference is registered" in captured.out
    (record,) = Store(tmp_path / "runs").read()
    assert record.spec.sparsity_measured == pytest.approx(0.8, abs=1e-4)
