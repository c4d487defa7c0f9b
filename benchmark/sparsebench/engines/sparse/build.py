"""Compile the kernels with the system's C compiler; the package's build hook loads this file alone, so stdlib only.

By hand, in a checkout: ``python benchmark/sparsebench/engines/sparse/build.py``.
"""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SOURCES = Path(__file__).resolve().parent / "csrc"
LIBRARY = "_kernels.so"
"""The library's file name, beside this file."""

COMMON = ["-O3", "-fPIC", "-std=gnu11", "-ffp-contract=fast", "-fvisibility=hidden", "-Wall", "-Wextra"]

_X86 = {
    "avx512": ["-mavx512f", "-mfma", "-mprfchw", "-mprefer-vector-width=512", "-DV=16", "-DU=1", "-DWIDE"],
    "avx2": ["-mavx2", "-mfma", "-mprfchw", "-DV=8", "-DU=1"],
    "avx2x2": ["-mavx2", "-mfma", "-mprfchw", "-DV=8", "-DU=2"],
    "portable": ["-DV=4", "-DU=2"],
}
_ARM = {"neon": ["-DV=4", "-DU=2", "-DWIDE"]}
_OTHER = {"portable": ["-DV=4", "-DU=2"]}


def variants(machine: str) -> dict[str, list[str]]:
    """Return the instruction sets that are compiled for a processor (as ``uname -m`` names it), and their flags."""
    machine = machine.lower()
    return _X86 if machine in ("x86_64", "amd64") else _ARM if machine in ("aarch64", "arm64") else _OTHER


class BuildError(Exception):
    """There is no C compiler, or it doesn't take the kernels."""


def compiler() -> list[str]:
    """Return the command of the C compiler: ``$CC``, or the first of cc, gcc and clang that is there.

    Raises
    ------
    BuildError
        If there is none.
    """
    for candidate in (os.environ.get("CC", ""), "cc", "gcc", "clang"):
        command = shlex.split(candidate)
        if command and shutil.which(command[0]):
            return command
    raise BuildError("there is no C compiler (cc, gcc, clang, or $CC)")


def build(target: Path) -> None:
    """Compile the kernels into a shared library, written whole or not at all.

    Raises
    ------
    BuildError
        If that can't be done.
    """
    if os.name != "posix":
        raise BuildError("the kernels need POSIX threads")
    cc = compiler()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        steps = [[*cc, *COMMON, "-c", str(SOURCES / "team.c"), "-o", str(work / "team.o")]]
        for name, flags in variants(platform.machine()).items():
            source, output = str(SOURCES / "isa.c"), str(work / f"{name}.o")
            steps.append([*cc, *COMMON, *flags, f"-DISA={name}", "-c", source, "-o", output])
        with ThreadPoolExecutor() as pool:
            list(pool.map(_run, steps))
        library = work / LIBRARY
        _run([*cc, "-shared", *(step[-1] for step in steps), "-o", str(library), "-lpthread", "-lm"])
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh = target.with_name(f"{target.name}.{os.getpid()}")
        shutil.copyfile(library, fresh)
        fresh.replace(target)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - the build's own command
    if done.returncode:
        raise BuildError(f"{shlex.join(command)} failed:\n{done.stderr.strip()}")
    if done.stderr.strip():
        print(done.stderr.strip(), file=sys.stderr)


if __name__ == "__main__":
    build(Path(__file__).resolve().parent / LIBRARY)
