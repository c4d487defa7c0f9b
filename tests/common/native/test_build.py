"""The C code compiles with the system's compiler, whole or not at all."""

from __future__ import annotations

import ctypes
import shutil
import sys
from pathlib import Path

import pytest

from sparsebench.common.native.build import LIBRARIES, BuildError, Library, build

every = pytest.mark.parametrize("library", LIBRARIES, ids=lambda library: Path(library.file).stem)


@pytest.mark.parametrize(
    "library",
    [pytest.param(found, marks=[pytest.mark.slow] if "kernels" in found.file else []) for found in LIBRARIES],
    ids=lambda found: Path(found.file).stem,
)
@pytest.mark.skipif(not any(shutil.which(name) for name in ("cc", "gcc", "clang")), reason="there is no C compiler")
def test_a_library_is_built_and_can_be_loaded(library: Library, tmp_path: Path) -> None:
    build(library, tmp_path / "new" / "some.so")
    ctypes.CDLL(str(tmp_path / "new" / "some.so"))
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["some.so"]


@every
def test_a_build_without_a_compiler_says_so(library: Library, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(BuildError, match="no C compiler"):
        build(library, tmp_path / "some.so")
    monkeypatch.setenv("CC", f"{sys.executable} -c 'import sys; sys.exit(1)'")
    with pytest.raises(BuildError, match="failed"):
        build(library, tmp_path / "some.so")
    assert not list(tmp_path.iterdir())


@every
@pytest.mark.parametrize("machine", ["x86_64", "AMD64", "aarch64", "arm64", "riscv64"])
def test_every_processor_has_an_instruction_set(library: Library, machine: str) -> None:
    assert library.variants(machine)
    assert {path.suffix for path in library.sources.iterdir()} == {".c", ".h"}
