"""``scripts/check_kernels.sh`` builds the kernels with a sanitizer and compares them with plain loops."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = Path("scripts/check_kernels.sh")
pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")


def run(root: Path, *parts: str, **environment: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "PYTHON": sys.executable} | environment
    return subprocess.run(
        ["bash", str(root / SCRIPT), *parts], capture_output=True, text=True, env=environment, check=False
    )


def test_a_part_that_is_not_known_is_named():
    done = run(ROOT, "memry")
    assert done.returncode == 2
    assert "unknown part memry: one of memory clang threads valgrind arm" in done.stderr


def test_a_part_that_was_asked_for_fails_without_its_tools():
    done = run(ROOT, "memory", CC="no-such-compiler")
    assert done.returncode == 1
    assert "memory: SKIPPED, there is no no-such-compiler" in done.stdout


def changed(folder: Path, old: str, new: str) -> Path:
    """Return a copy of what the script needs, with a mistake in the kernels."""
    engine = Path("benchmark/sparsebench/engines/sparse")
    for part in ("scripts", str(engine / "csrc")):
        shutil.copytree(ROOT / part, folder / part)
    shutil.copy(ROOT / engine / "build.py", folder / engine)
    source = folder / engine / "csrc/isa.c"
    text = source.read_text()
    assert old in text
    source.write_text(text.replace(old, new))
    return folder


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no gcc")
@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("", "", "memory: passed"),
        ("bytes = (int64_t)y->border * N * 4", "bytes = (int64_t)(y->border + 1) * N * 4", "heap-buffer-overflow"),
        ("zero_columns(&op->y, op->y.data, 1, index * 16, c1);", "", "the output's padding"),
    ],
    ids=["as-it-is", "a-column-too-many", "padding-forgotten"],
)
def test_the_kernels_pass_and_a_mistake_is_found(tmp_path, old, new, said):
    done = run(changed(tmp_path, old, new), "memory")
    assert said in done.stdout + done.stderr
    assert (done.returncode == 0) == (old == "")
