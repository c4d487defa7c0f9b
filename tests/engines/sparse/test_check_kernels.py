"""``scripts/check_kernels.sh`` builds the C code with a sanitizer and compares it with plain loops."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = Path("scripts/check_kernels.sh")
KERNELS, RESIZE = "engines/sparse/csrc/isa.c", "datasets/images/csrc/isa.c"
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


def changed(folder: Path, file: str, old: str, new: str) -> Path:
    """Return a copy of what the script needs, with a mistake in a source file."""
    package = Path("benchmark/sparsebench")
    for part in ("scripts", *(package / folder for folder in (KERNELS[:-6], RESIZE[:-6], "common/native"))):
        shutil.copytree(ROOT / part, folder / part)
    source = folder / package / file
    text = source.read_text()
    assert old in text
    source.write_text(text.replace(old, new))
    return folder


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no gcc")
@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        (KERNELS, "", "", "memory: passed"),
        (
            KERNELS,
            "bytes = (int64_t)y->border * N * 4",
            "bytes = (int64_t)(y->border + 1) * N * 4",
            "heap-buffer-overflow",
        ),
        (KERNELS, "zero_columns(&op->y, op->y.data, 1, index * 16, c1);", "", "the output's padding"),
        (RESIZE, "*done * j->stride + j->far > j->end", "0", "heap-buffer-overflow"),
        (RESIZE, "t < taps; t++) {", "t < taps - 1; t++) {", "WRONG: image"),
    ],
    ids=["as-it-is", "a-column-too-many", "padding-forgotten", "behind-the-last-pixel", "a-weight-too-few"],
)
def test_the_kernels_pass_and_a_mistake_is_found(tmp_path, file, old, new, said):
    done = run(changed(tmp_path, file, old, new), "memory")
    assert said in done.stdout + done.stderr
    assert (done.returncode == 0) == (old == "")
