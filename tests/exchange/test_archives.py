"""Files that are no bundle, or that mean harm: named and refused, in little time and memory."""

from __future__ import annotations

import io
import os
import shutil
import stat
import struct
import tracemalloc
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sparsebench.cli import main
from sparsebench.exchange import limits, verify_bundle

KEY = "0123456789abcdef-01234567"


def added(contents, path: Path, info: zipfile.ZipInfo | str, data: bytes = b"x") -> Path:
    """Save contents with one more member."""
    contents.save(path)
    with zipfile.ZipFile(path, "a") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a name that is there
        archive.writestr(info, data)
    return path


def refused(path: Path, means) -> str:
    """Return the one reason for which a file is refused."""
    (problem,) = verify_bundle(path, means).problems
    return problem.line


@pytest.mark.parametrize(
    "name", ["../runs/x.json", "/etc/x.json", "records/../../x.json", "..", "records/a\x00../x.json"]
)
def test_a_path_outside(name, contents, tmp_path, means):
    path = added(contents, tmp_path / "b.zip", "records/AAAAAAAAAAAAAAAAAAAA"[: 8 + len(name)])
    text, old = path.read_bytes(), "records/AAAAAAAAAAAAAAAAAAAA"[: 8 + len(name)].encode()
    new = name.encode().ljust(len(old), b"/") if len(name) > 2 else b"../" + b"a" * (len(old) - 3)
    path.write_bytes(text.replace(old, new))
    assert "names a place outside of the bundle" in refused(path, means)


@pytest.mark.parametrize(
    ("kind", "message"), [(stat.S_IFLNK, "is a link"), (stat.S_IFIFO, "is no file"), (stat.S_IFDIR, "is no file")]
)
def test_what_is_no_file(kind, message, contents, tmp_path, means):
    info = zipfile.ZipInfo(f"records/{KEY}.json")
    info.external_attr = (kind | 0o777) << 16
    assert message in refused(added(contents, tmp_path / "b.zip", info, b"/etc/passwd"), means)


@pytest.mark.parametrize("name", ["setup.py", "records/", "records/x.json", "predictions/x.npz", "conftest.py", "a\\b"])
def test_a_member_that_no_bundle_has(name, contents, tmp_path, means):
    assert "is no member of a bundle" in refused(added(contents, tmp_path / "b.zip", name), means)


def test_a_member_twice(contents, tmp_path, means):
    name = next(name for name in contents.members if name.startswith("records/"))
    assert "is there twice" in refused(added(contents, tmp_path / "b.zip", name), means)


def test_a_member_that_the_manifest_doesn_t_list(contents, tmp_path, means):
    path = added(contents, tmp_path / "b.zip", f"records/{KEY}.json")
    assert "which its manifest doesn't list" in refused(path, means)


@pytest.mark.parametrize("start", ["records/", "predictions/", "splits/", "checkpoints.json"])
def test_an_absent_member(start, contents, tmp_path, means):
    del contents.members[next(name for name in contents.members if name.startswith(start))]
    assert "which its manifest lists" in refused(contents.save(tmp_path / "b.zip", rehash=False), means)


def test_no_manifest_and_one_of_something_else(contents, tmp_path, means):
    manifest = contents.members.pop("manifest.json")
    assert "lacks manifest.json" in refused(contents.save(tmp_path / "a.zip", rehash=False), means)
    for number, (text, message) in enumerate(
        [
            (b"[]", "holds no JSON object"),
            (b"{}", "is not of a bundle"),
            (manifest.replace(b'"version": 1', b'"version": 2'), "has version 2"),
            (manifest.replace(b'"version": 1', b'"version": true'), "has version True"),
            (b'{"format": "sparsebench results", "version": 1, "members": []}', "lists no members"),
            (b'{"format": "sparsebench results", "version": 1, "members": {"a": 1}}', "without its sha256"),
        ]
    ):
        contents.members["manifest.json"] = text
        assert message in refused(contents.save(tmp_path / f"b{number}.zip", rehash=False), means)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"\xff\xfe{\x00}\x00", "is not UTF-8"),
        ('{"a": "ä"}'.encode("latin-1"), "is not UTF-8"),
        (b"\xef\xbb\xbf{}", "is not JSON"),
        (b'{"a": NaN}', "NaN is no number"),
        (b'{"a": -Infinity}', "-Infinity is no number"),
        (b'{"a": 1e999}', "1e999 is too large"),
        (b'{"a": 99999999999999999999999}', "is too large"),
        (b'{"a": 1, "a": 2}', "the key 'a' is there twice"),
        (b"[" * 100_000, "is nested too deep"),
        (b'{"a": ' * 100_000, "is nested too deep"),
        (b"", "is not JSON"),
        (b"null", "holds no JSON object"),
        (b'{"schema_version": 2}', "is no record"),
    ],
)
def test_a_record_that_can_t_be_read(text, message, contents, verified):
    contents.members[f"records/{contents.key()}.json"] = text
    assert message in verified(contents).problems[0].line


@pytest.mark.parametrize("size", [10**7, 2 * 10**9])
def test_a_member_that_unpacks_to_too_much(size, contents, tmp_path, means):
    path = contents.save(tmp_path / "bomb.zip")
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive, archive.open(f"records/{KEY}.json", "w") as file:
        for _ in range(min(size, 10**7) // 10**6):
            file.write(bytes(10**6))
    if size > 10**7:  # it says so, too
        path.write_bytes(path.read_bytes().replace(struct.pack("<I", 10**7), struct.pack("<I", size)))
    assert path.stat().st_size < 10**6
    assert "are the limit" in refused(path, means)


def test_a_member_that_unpacks_to_more_than_it_says(contents, tmp_path, means):
    name = f"records/{contents.key()}.json"
    contents.members[name] = b" " * (1 << 20) + b" " * 12345
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, data in contents.members.items():
            archive.writestr(member, data)
    path.write_bytes(path.read_bytes().replace(struct.pack("<I", (1 << 20) + 12345), struct.pack("<I", 100)))
    assert "can't be unpacked" in " ".join(p.line for p in verify_bundle(path, means).problems)


def test_too_many_records(contents, tmp_path, means):
    for number in range(limits.RECORDS + 1):
        contents.members[f"records/{number:016x}-{number:08x}.json"] = b""
    assert f"{limits.RECORDS} are the limit" in refused(contents.save(tmp_path / "many.zip"), means)


def table_of(path: Path, size: int) -> None:
    """Write a zip file that says to have a table of members of so many bytes; the file has holes."""
    with path.open("wb") as file:
        file.write(b"PK\x03\x04")
        file.seek(size)
        file.write(struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 65535, 65535, size, 0, 0))


def test_a_million_records_take_no_memory(tmp_path, means):
    path = tmp_path / "million.zip"
    table_of(path, 90_000_000)
    tracemalloc.start()
    try:
        message, peak = refused(path, means), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert "its table of members has 90000000 bytes, 4194304 are the limit" in message
    assert peak < 2**23


@pytest.mark.parametrize("keep", [0, 1, 22, 500, 0.5, 0.999])
def test_a_truncated_file(keep, honest, tmp_path, means):
    data, path = honest.read_bytes(), tmp_path / "short.zip"
    path.write_bytes(data[: keep if isinstance(keep, int) else int(keep * len(data))])
    assert "is not a zip file that can be read" in refused(path, means)


def test_what_is_encrypted_or_packed_in_another_way(contents, tmp_path, means):
    path = contents.save(tmp_path / "a.zip")
    data = bytearray(path.read_bytes())
    data[data.rindex(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    assert "is encrypted" in refused(path, means)
    other = contents.save(tmp_path / "b.zip")
    with zipfile.ZipFile(other, "a", zipfile.ZIP_BZIP2) as archive:
        archive.writestr(f"records/{KEY}.json", b"x")
    assert "in another way than deflate" in refused(other, means)


def test_what_is_no_file_at_all(tmp_path, means, capsys):
    os.mkfifo(tmp_path / "pipe.zip")
    (tmp_path / "text.zip").write_text("no zip")
    shutil.copy(Path(__file__), tmp_path / "code.zip")
    for name in ("missing.zip", "pipe.zip", "text.zip", "code.zip", "."):
        assert main(["verify", str(tmp_path / name)]) == 2
        assert "error: " in capsys.readouterr().err


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def header(descr: str, shape: str) -> bytes:
    text = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("predicted.npy", npy(np.array([{}], dtype=object)), "array of object"),
        ("predicted.npy", header("|u1", "(1000000000000,)") + b"\x00", "should hold 1000000000000 numbers"),
        ("predicted.npy", header("|u1", "(-5,)"), "should hold"),
        ("predicted.npy", header("<f8", "(1000,)") + bytes(8000), "array of float64"),
        ("predicted.npy", header("|u1", "(10, 100)") + bytes(1000), "with shape (10, 100)"),
        ("predicted.npy", header("|u1", "(999,)") + bytes(999), "different lengths"),
        ("predicted.npy", b"\x93NUMPY\x01\x00\xff\xff" + b"(" * 9000, "is not a file of predictions"),
        ("predicted.npy", b"no array", "is not a file of predictions"),
        ("labels.npy", header("<i8", "(0,)"), "different lengths"),
        ("id_lengths.npy", header("<i8", "(1,)") + struct.pack("<q", -1), "don't go together"),
        ("id_lengths.npy", header("<i8", "(1,)") + struct.pack("<q", 2**40), "don't go together"),
        ("ids.npy", header("|u1", "(0,)"), "don't go together"),
        ("more.npy", npy(np.zeros(3)), "is there twice or none of its arrays"),
    ],
)
def test_arrays_that_are_no_predictions(name, data, message, contents, verified):
    key, buffer = contents.key(), io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(contents.members[f"predictions/{key}.npz"])) as old,
        zipfile.ZipFile(buffer, "w") as new,
    ):
        for member in old.namelist():
            if member != name:
                new.writestr(member, old.read(member))
        new.writestr(name, data)
    contents.put_predictions(key, buffer.getvalue())
    (problem,) = verified(contents).problems
    assert message in problem.line


def test_arrays_that_unpack_to_too_much(contents, verified, monkeypatch):
    monkeypatch.setattr(limits, "PREDICTIONS", 2**16)
    key, buffer = contents.key(), io.BytesIO()
    arrays = {name: npy(array) for name, array in contents.arrays(key).items()}
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in (arrays | {"labels": header("<i8", "(9000,)") + bytes(72_000)}).items():
            archive.writestr(f"{name}.npy", data)
    contents.put_predictions(key, buffer.getvalue())
    assert buffer.tell() < 2**16
    (problem,) = verified(contents).problems
    assert "its arrays take more than" in problem.line


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_whatever_byte_changes_nothing_but_a_problem_comes_out(honest, tmp_path, means, data):
    content, path = bytearray(honest.read_bytes()), tmp_path / "flipped.zip"
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    found = verify_bundle(path, means)
    assert found.problems or found.verdict == "rescored"
