"""An honest bundle: what it carries, what it doesn't, and that it holds."""

from __future__ import annotations

import getpass
import json
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from sparsebench.cli import main
from sparsebench.exchange import export_results, verify_bundle
from sparsebench.exchange.private import cleaned
from sparsebench.schema import InputError, ResultsError
from sparsebench.store import Store


def test_it_holds_and_its_scores_are_recomputed(honest, means):
    found = verify_bundle(honest, means)
    assert [problem.line for problem in found.problems] == []
    assert found.verdict == "rescored"
    assert set(found.verdicts.values()) == {"rescored"}
    assert len(found.verdicts) == 5
    assert [record.status for record in found.records].count("failed") == 1
    assert found.document()["runs"] == {"ok": 5, "failed": 1}


def test_equal_results_give_equal_bytes(results, honest, tmp_path):
    again = tmp_path / "again.zip"
    export_results(results, again, logits=True)
    assert again.read_bytes() == honest.read_bytes()


def test_logits_are_left_out_unless_asked_for(results, tmp_path, means):
    export_results(results, tmp_path / "small.zip")
    with zipfile.ZipFile(tmp_path / "small.zip") as archive:
        kept = [zipfile.ZipFile(archive.open(name)) for name in archive.namelist() if name.endswith(".npz")]
        assert {name for one in kept for name in one.namelist()} == {
            "ids.npy", "id_lengths.npy", "labels.npy", "predicted.npy",
        }  # fmt: skip
    assert verify_bundle(tmp_path / "small.zip", means).verdict == "rescored"


def test_nothing_names_a_folder_or_a_machine(results, honest):
    private = {str(Path.home()), str(Path.cwd()), str(results), str(results.parent), "Traceback", "conftest.py"}
    private |= {name for name in (socket.gethostname(), getpass.getuser()) if len(name) > 4}
    with zipfile.ZipFile(honest) as archive:
        assert archive.comment == b""
        for info in archive.infolist():
            assert info.date_time == (1980, 1, 1, 0, 0, 0)
            assert info.extra == b""
            if not info.filename.endswith(".npz"):
                text = archive.read(info).decode()
                assert not [name for name in private if name in text and name != "/"]


def test_an_entry_of_ones_own_loses_its_folders(results, tmp_path, registry):
    network = registry.checkpoint("mini.acdc_s90")
    store, own = Store(tmp_path / "runs"), tmp_path / "mine.yaml"
    for record in Store(results).read():
        if record.status == "ok" and record.spec.checkpoint == "mini.acdc_s90":
            spec = record.spec.model_copy(update={"checkpoint": "mini.mine_s90", "reference": None})
            changed = record.model_copy(update={"spec": spec, "predictions": None, "predictions_sha256": None})
            store.write(changed, Store(results).predictions(record))
    entry = {
        "method": "acdc",
        "arch": "mini",
        "sparsity": 0.9,
        "distribution": network.distribution,
        "file": {"path": f"{tmp_path}/secret/mine.safetensors"},
        "upstream": {"dataset": "d", "top1": network.upstream.top1},
        "training": {"command": f"python {Path.home()}/train.py --out {tmp_path}/secret/x.pth"},
        "notes": f"on {socket.gethostname()} in C:\\Users\\me\\runs",
    }
    own.write_text(yaml.safe_dump({"mini.mine_s90": entry}))
    export_results(tmp_path / "runs", tmp_path / "mine.zip", registry_files=[own])
    with zipfile.ZipFile(tmp_path / "mine.zip") as archive:
        (entry,) = json.loads(archive.read("checkpoints.json"))["checkpoints"]
    assert entry["file"]["path"] == "mine.safetensors"
    assert entry["training"]["command"] == "python train.py --out x.pth"
    assert "secret" not in json.dumps(entry)
    assert "Users" not in entry["notes"]


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("python /opt/me/train.py --out=/data/x.pth", "python train.py --out=x.pth"),
        ("see https://example.org/a/b.pth", "see https://example.org/a/b.pth"),
        ("https://me:word@example.org/b", "https://example.org/b"),
        ("file:///srv/me/x.npz", "x.npz"),
        ("~/runs/a.pth and ../b/c.pth", "a.pth and ../b/c.pth"),
        (r"C:\Users\me\x.pth", "x.pth"),
        (r"\\server\share\x.pth", "x.pth"),
        ("train/val of 50/50, and/or 3 images/s", "train/val of 50/50, and/or 3 images/s"),
        ("package:weights/mini.dense.safetensors", "package:weights/mini.dense.safetensors"),
    ],
)
def test_paths_become_their_last_names(text, clean):
    assert cleaned(text) == clean


def test_a_file_that_is_there_is_not_overwritten(results, tmp_path):
    out = tmp_path / "out.zip"
    out.write_text("mine")
    with pytest.raises(InputError, match="is there already"):
        export_results(results, out)
    assert out.read_text() == "mine"


def test_damaged_predictions_leave_no_bundle(results, tmp_path):
    store, out = Store(tmp_path / "runs"), tmp_path / "bundles" / "out.zip"
    record = next(r for r in Store(results).read() if r.status == "ok")
    written = store.write(record, Store(results).predictions(record))
    (store.root / written.predictions).write_bytes(b"changed")
    with pytest.raises(ResultsError, match="have changed since their run"):
        export_results(tmp_path / "runs", out)
    assert list(out.parent.iterdir()) == []


def test_a_folder_without_records(tmp_path):
    with pytest.raises(ResultsError, match="holds no record of your own"):
        export_results(tmp_path, tmp_path / "out.zip")


def test_runs_without_predictions_are_claimed(results, tmp_path, means):
    store = Store(tmp_path / "runs")
    for record in Store(results).read():
        if record.status == "ok":
            store.write(record.model_copy(update={"predictions": None, "predictions_sha256": None}))
    written = export_results(tmp_path / "runs", tmp_path / "out.zip")
    assert "5 finished runs kept no predictions" in written.notes[0]
    found = verify_bundle(tmp_path / "out.zip", means)
    assert (found.verdict, found.problems) == ("claimed", ())
    assert "can't be recomputed" in found.notes[0]


def test_commands(results, tmp_path, capsys):
    out = tmp_path / "my.zip"
    assert main(["export-results", "--results", str(results), "--out", str(out)]) == 0
    assert "6 runs, 5 with predictions" in capsys.readouterr().out
    assert main(["verify", str(out)]) == 0
    assert "my.zip: rescored" in capsys.readouterr().out
    assert main(["verify", str(out), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["verdict"], document["problems"]) == ("rescored", [])
    assert main(["merge", str(out), "--results", str(tmp_path / "runs")]) == 0
    assert "6 runs added, 0 there already, 0 in conflict" in capsys.readouterr().out


def test_verifying_needs_no_torch(honest):
    program = "import sys; from sparsebench.cli import main; print(main(sys.argv[1:]), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program, "verify", str(honest)], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "0 False", done.stderr


@pytest.mark.slow
def test_runs_of_a_made_up_bundle_are_found_out_when_run_again(honest):
    assert main(["verify", str(honest), "--rerun", "1"]) == 2
