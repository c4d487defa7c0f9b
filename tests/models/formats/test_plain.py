from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from sparsebench.models.formats import read_checkpoint, sparse_file
from sparsebench.schema import CheckpointError

STATE = {"conv.weight": torch.arange(6.0).view(2, 3), "n": torch.tensor(1)}


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: s,
        lambda s: {"state_dict": s, "epoch": 3},
        lambda s: {"model": {"state_dict": s}},
        lambda s: {f"module.{k}": v for k, v in s.items()},
        lambda s: {f"module._orig_mod.{k}": v for k, v in s.items()},
        lambda s: {k: v.half() if v.is_floating_point() else v for k, v in s.items()},
    ],
)
@pytest.mark.parametrize("legacy", [False, True])
def test_state_dicts_are_found_in_their_wrappings(tmp_path: Path, wrap: object, legacy: bool) -> None:
    path = tmp_path / "a.pth"
    torch.save(wrap(STATE), path, _use_new_zipfile_serialization=not legacy)  # type: ignore[operator]
    state = read_checkpoint(path).state
    assert list(state) == list(STATE)
    assert torch.equal(state["conv.weight"], STATE["conv.weight"])


def test_bare_safetensors(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "a.safetensors")
    assert torch.equal(read_checkpoint(tmp_path / "a.safetensors").state["conv.weight"], STATE["conv.weight"])


class Malice:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("kind", ["torch", "legacy", "pickle", "nested"])
def test_a_pickle_that_would_run_code_is_refused_and_not_run(tmp_path: Path, kind: str) -> None:
    path, trap = tmp_path / "evil.pth", tmp_path / "trap"
    if kind == "pickle":
        path.write_bytes(pickle.dumps(Malice(trap)))
    elif kind == "nested":
        torch.save({"state_dict": STATE, "optimizer": Malice(trap)}, path)
    else:
        torch.save(Malice(trap), path, _use_new_zipfile_serialization=kind == "torch")
    with pytest.raises(CheckpointError, match=r"refused|is not a checkpoint"):
        read_checkpoint(path)
    assert not trap.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html>Not found</html>", "is a web page"),
        (b"  \n<html>", "is a web page"),
        (b"hello, world", "is not a checkpoint"),
        (b"PK\x03\x04truncated", "can't be read"),
        (b"\x80\x02garbage", "checkpoint|can't be read"),
    ],
)
def test_what_is_not_a_checkpoint_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(tmp_path / "a.pth")


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9, 0.99])
def test_a_truncated_pth_is_an_error(tmp_path: Path, legacy: bool, fraction: float) -> None:
    path = tmp_path / "a.pth"
    torch.save({"w": torch.randn(50, 50)}, path, _use_new_zipfile_serialization=not legacy)
    data = path.read_bytes()
    path.write_bytes(data[: int(fraction * len(data))])
    with pytest.raises(CheckpointError):
        read_checkpoint(path)


def test_changed_bytes_are_found_by_the_archive_s_checksums(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    torch.save({"w": torch.randn(50, 50)}, path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(bytes(data))
    with pytest.raises(CheckpointError, match="damaged"):
        read_checkpoint(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), kind=st.sampled_from(["new", "old", "safetensors", "own"]))
def test_damaged_bytes_end_in_a_checkpoint_error_or_a_state_dict(
    tmp_path: Path, data: st.DataObject, kind: str
) -> None:
    path = tmp_path / f"{kind}.{'pth' if kind in ('new', 'old') else 'safetensors'}"
    if kind in ("new", "old"):
        torch.save(STATE, path, _use_new_zipfile_serialization=kind == "new")
    elif kind == "own":
        sparse_file.write(path, STATE, {"conv.weight": STATE["conv.weight"] > 2}, {"arch": "mini"})
    else:
        save_file(STATE, path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(content[: data.draw(st.integers(1, len(content)))]))
    try:
        assert isinstance(read_checkpoint(path).state, dict)
    except CheckpointError:
        assert path.exists()


def test_missing_and_wrong_contents(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no file"):
        read_checkpoint(tmp_path / "none.pth")
    with pytest.raises(CheckpointError, match="can't be read"):
        read_checkpoint(tmp_path)
    torch.save({"epoch": 3, "lr": 0.1}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match="holds no state dict but a mapping with keys 'epoch', 'lr'"):
        read_checkpoint(tmp_path / "a.pth")
    torch.save(torch.zeros(3), tmp_path / "b.pth")
    with pytest.raises(CheckpointError, match="holds no state dict"):
        read_checkpoint(tmp_path / "b.pth")
    with zipfile.ZipFile(tmp_path / "c.pth", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(CheckpointError):
        read_checkpoint(tmp_path / "c.pth")
