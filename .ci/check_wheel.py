"""Check what a wheel carries: everything the installed package needs, and nothing of the tests."""

from __future__ import annotations

import argparse
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "benchmark" / "sparsebench"
TASKS = ROOT / "tasks"
REQUIRED = (
    "sparsebench/py.typed",
    "sparsebench/_root/checkpoints.yaml",
    "sparsebench/_root/tasks/suites.yaml",
    "sparsebench/_root/results/published/runs.csv",
    "sparsebench/_root/results/published/doubts.csv",
)


def expected() -> set[str]:
    """Return the names of the package's files, and of the root files that it takes along, inside a wheel."""
    names = {f"sparsebench/{path.relative_to(PACKAGE).as_posix()}" for path in _files(PACKAGE)}
    names |= {f"sparsebench/_root/tasks/{path.relative_to(TASKS).as_posix()}" for path in _files(TASKS)}
    return names | set(REQUIRED)


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]


def problems(names: set[str], pure: bool = False) -> list[str]:
    """Return what is wrong with a wheel of these file names, a line each; a ``pure`` one has no compiled code."""
    compiled = {name for name in expected() | names if name.endswith(".so")}
    found = [f"lacks {name}" for name in sorted(expected() - names - (compiled if pure else set()))]
    found += [f"carries compiled code: {name}" for name in sorted(compiled & names) if pure]
    if not any(name.startswith("sparsebench/weights/") and name.endswith(".safetensors") for name in names):
        found.append("has no embedded weights")
    for ending in (".dist-info/licenses/LICENSE", ".dist-info/licenses/LICENSES.md", ".dist-info/entry_points.txt"):
        if not any(name.endswith(ending) for name in names):
            found.append(f"lacks *{ending}")
    for name in sorted(names):
        top, *_ = name.split("/")
        if top != "sparsebench" and not top.endswith(".dist-info"):
            found.append(f"installs {name} outside of the package")
        if any(part in {"tests", "conftest.py"} or part.startswith("test_") for part in name.split("/")):
            found.append(f"carries a test: {name}")
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Print a wheel's size, or what is wrong with it (1)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--pure", action="store_true", help="it must have no compiled code, and be for every platform")
    arguments = parser.parse_args(argv)
    wheel = arguments.wheel
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
    found = problems(names, arguments.pure)
    if arguments.pure and not wheel.name.endswith("-py3-none-any.whl"):
        found.append("is not for every platform")
    for line in found:
        print(f"error: {wheel.name} {line}", file=sys.stderr)
    print(f"{wheel.name}: {len(names)} files, {wheel.stat().st_size / 1e6:.1f} MB")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
