"""A small file can't fill the memory, and nothing but our own errors comes out of a reader."""

from __future__ import annotations

import gzip
import io
import json
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from files import saved, small_state

import sparsebench
from sparsebench.models.formats import read_checkpoint
from sparsebench.models.formats.guard import guarded
from sparsebench.schema import CheckpointError


def sparse_member(path: Path) -> None:
    """Write a tar archive of 90 bytes whose one member reads as 8 GiB of zeros."""
    header = bytearray(tarfile.TarInfo("m.index").tobuf(tarfile.GNU_FORMAT))
    header[156:157] = b"S"
    header[483:495] = b"%011o\0" % (8 * 2**30 - 512)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header[:512])
    path.write_bytes(gzip.compress(bytes(header) + b"\0" * 1024))


def zeros_in_tar(path: Path) -> None:
    with tarfile.open(path, "w:gz") as archive:
        entry = tarfile.TarInfo("m.index")
        entry.size = (1 << 28) + 1
        archive.addfile(entry, _Zeros())


class _Zeros(io.RawIOBase):
    def read(self, size: int = -1) -> bytes:
        return bytes(size)


def zeros_in_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a/data.pkl", "w") as member:
        for _ in range(256):
            member.write(bytes(1 << 20))


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("m.tar.gz", sparse_member),
        ("m.tar.gz", zeros_in_tar),
        ("m.pth", zeros_in_zip),
        ("m.pth", lambda path: torch.save({"x": torch.ones(1).half().expand(10**12)}, path)),
        ("m.pth", lambda path: torch.save({"a.weight_mask": torch.ones(1).expand(10**11)}, path)),
        ("m.pth", lambda path: torch.save({"x": torch.sparse_coo_tensor(size=(10**6, 10**6))}, path)),
    ],
)
def test_what_unpacks_to_more_than_its_budget_is_refused(
    tmp_path: Path, name: str, write: Callable[[Path], None]
) -> None:
    write(tmp_path / name)
    with pytest.raises(CheckpointError, match=r"more than the [\d,]+ of its budget|sparse way"):
        read_checkpoint(tmp_path / name)


def test_an_entry_may_state_a_larger_budget(tmp_path: Path) -> None:
    path = saved(tmp_path / "m.pth", {"x.weight": torch.ones(1, 1).expand(6000, 6000)})
    with pytest.raises(CheckpointError, match="register it with memory: BYTES"):
        read_checkpoint(path)
    assert read_checkpoint(path, memory=6000 * 6000 * 4).state["x.weight"].shape == (6000, 6000)


@pytest.mark.parametrize("error", [MemoryError(), RecursionError(), KeyError("x"), AssertionError(), OSError(5, "io")])
def test_any_exception_of_a_reader_becomes_ours(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(CheckpointError, match=str(tmp_path)), guarded(tmp_path):
        raise error


@pytest.mark.parametrize(
    "described",
    [
        {"exempt": 5},
        {"exempt": [5]},
        {"sparsity": 10**400},
        {"preprocess": {"input_size": 10**9}},
        {"upstream": {"dataset": "x", "top1": 2}},
        {"arch": "no such network"},
        {"arch": "resnet18.no_such_tag"},
    ],
)
def test_a_file_of_ours_that_describes_itself_wrongly(tmp_path: Path, described: dict[str, object]) -> None:
    data = sparsebench.load("mini.acdc_s90").info.path.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + size])
    document = json.loads(header["__metadata__"]["sparsebench"])
    document["meta"] |= described
    header["__metadata__"]["sparsebench"] = json.dumps(document)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path = tmp_path / "m.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + size :])
    with pytest.raises(sparsebench.SparsebenchError) as caught:
        sparsebench.load(path)
    assert caught.value.hint


def test_text_from_a_file_is_harmless_in_errors_and_descriptions(tmp_path: Path) -> None:
    state = {**small_state(), "layer.\x1b]0;title\x07\nerror: forged": torch.ones(2)}
    saved(tmp_path / "m.pth", state)
    with pytest.raises(CheckpointError) as caught:
        sparsebench.load(tmp_path / "m.pth", arch="mini")
    assert str(caught.value).isprintable()
    assert r"\x1b]0;title\x07\nerror: forged" in str(caught.value)
