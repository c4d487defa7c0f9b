"""What is declared about methods is read without torch."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("line", [["prune", "--help"], ["list", "methods"]])
def test_help_and_lists_import_no_torch(line: list[str]) -> None:
    code = (
        "import sys\nfrom sparsebench.cli import main\n"
        f"try:\n    main({line!r})\nexcept SystemExit:\n    pass\n"
        "assert 'torch' not in sys.modules, 'torch was imported'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "woodfisher" in done.stdout
