"""Compile the package's C code with the system's compiler; its build hook loads this file alone, so stdlib only.

By hand, in a checkout: ``python benchmark/sparsebench/common/native/build.py``.
"""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2]
COMMON = ["-O3", "-fPIC", "-std=gnu11", "-ffp-contract=fast", "-fvisibility=hidden", "-Wall", "-Wextra"]


@dataclass(frozen=True)
class Library:
    """A shared library: ``csrc/isa.c`` beside it is compiled once for each instruction set, another file once.

    Parameters
    ----------
    name : str
        What people call it.
    file : str
        Where it lies in the package.
    common : str
        The source file that is compiled once.
    sets : mapping
        The instruction sets of each kind of processor (``x86``, ``arm``, ``other``), and their flags.
    links : tuple of str
        Libraries that it needs.
    """

    name: str
    file: str
    common: str
    sets: Mapping[str, Mapping[str, list[str]]]
    links: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        """Where it lies."""
        return PACKAGE / self.file

    @property
    def sources(self) -> Path:
        """The folder of its sources."""
        return self.path.parent / "csrc"

    def variants(self, machine: str) -> Mapping[str, list[str]]:
        """Return the instruction sets for a processor (as ``uname -m`` names it), and their flags."""
        return self.sets[_KINDS.get(machine.lower(), "other")]


_KINDS = {"x86_64": "x86", "amd64": "x86", "aarch64": "arm", "arm64": "arm"}

KERNELS = Library(
    name="engine 'sparse'",
    file="engines/sparse/_kernels.so",
    common="team.c",
    sets={
        "x86": {
            "avx512": ["-mavx512f", "-mfma", "-mprfchw", "-mprefer-vector-width=512", "-DV=16", "-DU=1", "-DWIDE"],
            "avx2": ["-mavx2", "-mfma", "-mprfchw", "-DV=8", "-DU=1"],
            "avx2x2": ["-mavx2", "-mfma", "-mprfchw", "-DV=8", "-DU=2"],
            "portable": ["-DV=4", "-DU=2"],
        },
        "arm": {"neon": ["-DV=4", "-DU=2", "-DWIDE"]},
        "other": {"portable": ["-DV=4", "-DU=2"]},
    },
    links=("-lpthread", "-lm"),
)
RESIZE = Library(
    name="the resize of image files",
    file="datasets/images/_resize.so",
    common="select.c",
    sets={"x86": {"avx2": ["-mavx2"], "portable": []}, "arm": {"neon": []}, "other": {"portable": []}},
)
LIBRARIES = (KERNELS, RESIZE)
"""The kernels of engine ``sparse``, and the resize of decoded images."""


class BuildError(Exception):
    """There is no C compiler, or it doesn't take the sources."""


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


def build(library: Library, target: Path | None = None) -> None:
    """Compile a library, written whole or not at all; to where it belongs, or to ``target``.

    Raises
    ------
    BuildError
        If that can't be done.
    """
    if os.name != "posix":
        raise BuildError("the C code is for POSIX systems")
    cc, target = compiler(), target or library.path
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        steps = [[*cc, *COMMON, "-c", str(library.sources / library.common), "-o", str(work / "common.o")]]
        for name, flags in library.variants(platform.machine()).items():
            source, output = str(library.sources / "isa.c"), str(work / f"{name}.o")
            steps.append([*cc, *COMMON, *flags, f"-DISA={name}", "-c", source, "-o", output])
        with ThreadPoolExecutor() as pool:
            list(pool.map(_run, steps))
        linked = work / target.name
        _run([*cc, "-shared", *(step[-1] for step in steps), "-o", str(linked), *library.links])
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh = target.with_name(f"{target.name}.{os.getpid()}")
        shutil.copyfile(linked, fresh)
        fresh.replace(target)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - the build's own command
    if done.returncode:
        raise BuildError(f"{shlex.join(command)} failed:\n{done.stderr.strip()}")
    if done.stderr.strip():
        print(done.stderr.strip(), file=sys.stderr)


if __name__ == "__main__":
    for each in LIBRARIES:
        build(each)
