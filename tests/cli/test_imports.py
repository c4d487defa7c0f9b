"""What each command imports: its first line comes before libraries that take seconds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sparsebench.cli import main
from sparsebench.extensions import KINDS

DRAWING = {"matplotlib", "sklearn"}
ARRAYS = {"pandas", "scipy"}
TENSORS = {"torch", "timm", "torchvision"}
LIBRARIES = {"timm", "torchvision", "torch._dynamo", "sympy", "sparsebench.engines.sparse.tracing", "onnxruntime"}

PROGRAM = """
import contextlib, io, json, sys
from sparsebench.cli import main
outcomes = []
for arguments in json.loads(sys.argv[1]):
    messages = io.StringIO()
    with contextlib.redirect_stderr(messages), contextlib.redirect_stdout(io.StringIO()):
        try:
            status = main(arguments)
        except SystemExit as end:
            status = end.code
    outcomes.append([status, messages.getvalue(), sorted(sys.modules)])
print(json.dumps(outcomes))
"""


def run(folder: Path, *commands: str) -> list[tuple[int, str, set[str]]]:
    """Run commands one after the other in a process of their own.

    Returns
    -------
    list of tuples
        The status of each, its messages, and the modules that are imported after it.
    """
    environment = os.environ | {"SPARSEBENCH_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    split = json.dumps([command.split() for command in commands])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, split], cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    return [(status, messages, set(modules)) for status, messages, modules in json.loads(done.stdout)]


def test_what_only_prints_imports_nothing_heavy(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    lists = [f"list {what}" for what in ("checkpoints", "tasks", "suites", *KINDS)]
    for status, messages, modules in run(tmp_path, "--help", "run --help", *lists, "status"):
        assert status == 0, messages
        assert not modules & (TENSORS | ARRAYS | DRAWING)


MISTAKES = [
    ("run --method nonsense", "unknown method 'nonsense'"),
    ("run --checkpoint mini.acdc_s9", "did you mean"),
    ("run --checkpoint no/such.pth", "there is no file no/such.pth"),
    ("run --task nonsense", "unknown task 'nonsense'"),
    ("run --checkpoint own.pth --task nonsense", "unknown task 'nonsense'"),
    ("run --task broken.yaml", "broken.yaml, line"),
    ("run --task gone.yaml", "no folder"),
    ("run --registry broken.yaml", "broken.yaml, line"),
    ("run --suite nonsense", "unknown suite 'nonsense'"),
    ("run --mode nonsense", "unknown mode 'nonsense'"),
    ("run --probe nonsense", "unknown probe 'nonsense'"),
    ("run --engine nonsense", "unknown engine 'nonsense'"),
    ("run --mode linear --set lr=fast", "lr"),
    ("run --precision fp16", "needs a GPU"),
    ("run --no-wait", "--no-wait is for Slurm"),
    ("fetch --method nonsense", "unknown method 'nonsense'"),
    ("inspect nonsense", "unknown checkpoint 'nonsense'"),
    ("inspect no/such.safetensors", "there is no file no/such.safetensors"),
    ("bench --checkpoint nonsense", "unknown checkpoint 'nonsense'"),
]


def test_a_mistake_is_said_before_torch_is_imported(tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("id: [\n")
    (tmp_path / "gone.yaml").write_text("id: gone\nloader: imagefolder\nroot: nowhere\n")
    (tmp_path / "own.pth").write_bytes(b"of no importance: names come first")
    outcomes = run(tmp_path, *(command for command, _ in MISTAKES))
    for (command, message), (status, messages, modules) in zip(MISTAKES, outcomes, strict=True):
        assert status == 2, command
        assert message in messages, command
        assert not modules & (TENSORS | ARRAYS | DRAWING), command


def test_embedded_checkpoints_and_tasks_need_no_library_of_architectures(tmp_path: Path) -> None:
    arguments = "run --checkpoint mini.acdc_s90 --mode linear --seed 0 --no-reference --task"
    outcomes = run(tmp_path, "inspect mini.acdc_s90", f"{arguments} digits")
    for (status, messages, modules), unneeded in zip(outcomes, (LIBRARIES | ARRAYS, LIBRARIES), strict=True):
        assert status == 0, messages
        assert "torch" in modules
        assert not modules & (unneeded | DRAWING)


@pytest.mark.slow
def test_no_embedded_task_needs_one(tmp_path: Path) -> None:
    ((status, messages, modules),) = run(tmp_path, "run --checkpoint mini.acdc_s90 --mode linear --seed 0")
    assert status == 0, messages
    assert not modules & (LIBRARIES | DRAWING)


def test_with_nothing_to_do_nothing_heavy_is_imported(
    tmp_path: Path, pruned_resnet18: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is known of checkpoints, data and tables is enough: of embedded ones at once, of files from then on."""
    (tmp_path / "own.pth").write_bytes(pruned_resnet18.read_bytes())
    command = "run --checkpoint mini.acdc_s90 --task digits --mode linear --probe ridge --no-reference"
    own = "run --checkpoint own.pth --arch resnet18 --task digits --mode full --dry-run"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPARSEBENCH_CACHE", str(tmp_path / "cache"))
    for first in (command, own):
        assert main(first.split()) == 0
    again, other_seed, own_again = run(tmp_path, command, f"{command} --dry-run --seed 7", own)
    status, messages, modules = again
    assert status == 0, messages
    assert "0 to do" in messages
    assert not modules & (TENSORS | ARRAYS | DRAWING | {"numpy", "PIL", "requests", "rich"})
    for status, messages, modules in (other_seed, own_again):
        assert status == 0, messages
        assert not modules & TENSORS
