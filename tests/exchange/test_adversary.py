"""What somebody may try who has read the code: each is named and refused, and takes little time and memory."""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from refusals import Cases

from sparsebench.cli import main
from sparsebench.exchange import verify_bundle

CASES = Cases()
case = CASES.case
SHA = "0123456789abcdef" * 4


def spec_of(c, key: str) -> dict:
    return c.json(f"records/{key}.json")["spec"]


def changed(c, **fields: object) -> None:
    c.change(c.key(), lambda r: r.update(fields))


def scores(c, **fields: object) -> None:
    c.change(c.key(), lambda r: r["scores"].update(fields))


def without_predictions(c) -> None:
    c.members.pop(f"predictions/{c.key()}.npz")
    changed(c, predictions=None, predictions_sha256=None)


# --- files that a record names


@case("value", "names a file of a machine")
def a_head_outside(c):
    changed(c, head_file="../../../etc/passwd")


@case("value", "names a file of a machine")
def weights_that_are_absolute(c):
    changed(c, weights_file="/etc/shadow")


# --- numbers that cost, or that nothing gives


@case("value", "4611686018427387904 classes")
def classes_beyond_memory(c):
    scores(c, n_classes=2**62)


@case("value", "it has 10 test images, task digits has 1000")
def a_test_set_of_another_size(c):
    without_predictions(c)
    scores(c, n_test=10, top1=1.0, mean_per_class=1.0)


@case("value", "it has 50000 training images, task digits has 250")
def more_training_images_than_there_are(c):
    scores(c, n_train=50_000)


@case("value", "few images")
def few_shot_scores_of_another_probe(c):
    shot = {"shots": 1, "draws": 2} | {
        f"{name}{end}": 0.99 for name in ("top1", "mean_per_class") for end in ("", "_low", "_high")
    }
    scores(c, few_shot=[shot], top1=0.99, mean_per_class=0.99)


@case("value", "no training loss")
def a_training_without_a_loss(c):
    scores(c, train_loss=None)


@case("value", "seconds is")
def a_negative_time(c):
    changed(c, seconds=-1.0)


@case("value", "stage features took -3.0 seconds")
def a_negative_stage(c):
    changed(c, stages={"features": -3.0})


@case("value", "which is no time")
def a_week_date(c):
    changed(c, started="2026-W03-5T03:04:05+00:00")


@case("value", "which is no time")
def a_time_in_other_digits(c):
    changed(c, started="２０２６-01-02T03:04:05+00:00")


@case("value", "it started at 0001")
def a_time_at_the_end_of_time(c):
    changed(c, started="0001-01-01T00:00:00+23:59")


@case("value", "environment.processor is no plain text")
def an_environment_with_escape_codes(c):
    changed(c, environment={"processor": "\x1b]0;owned\x07"})


@case("value", "is no plain text")
def text_that_is_none(c):
    changed(c, environment={"processor": "\ud800"})


@case("value", "is no plain text")
def a_name_that_is_not_text(c):
    c.rename(c.key(), task="x" * 401)


@case("value", "is no plain text")
def a_protocol_name_that_turns_around(c):
    changed(c, spec=spec_of(c, c.key()) | {"protocol_name": "cvpr22\u202elinear"})


@case("value", "seed is")
def a_seed_below_zero(c):
    c.rename(c.key(), seed=-1)


@case("value", "the device is")
def a_device_of_ones_own(c):
    numerics = spec_of(c, c.key())["numerics"]
    c.rename(c.key(), numerics=numerics | {"device": "<script>"})


@case("value", "is no plain text")
def an_engine_of_ones_own(c):
    numerics = spec_of(c, c.key())["numerics"]
    c.rename(c.key(), numerics=numerics | {"engine": "<img src=x onerror=alert(1)>\n"})


# --- deep, large and repeated JSON


@case("member", "is nested too deep")
def hyperparameters_nested_deep(c):
    deep: object = 1
    for _ in range(700):
        deep = {"a": deep}
    document = c.json(f"records/{c.key()}.json")
    document["scores"]["chosen"] = {"lr": deep}
    c.put(f"records/{c.key()}.json", document)


@case("member", "is there twice")
def a_key_twice_among_very_many(c):
    keys = ",".join(f'"{k:x}":0' for k in range(70_000))
    c.members[f"records/{c.key()}.json"] = f'{{{keys},"1117":0}}'.encode()


# --- modes and what they need


@case("protocol", "mode upstream")
def a_linear_run_that_says_upstream(c):
    c.rename(c.key(), mode="upstream", probe=None)


@case("value", "with probe")
def a_probe_in_full_mode(c):
    c.rename(c.key("full"), probe="sgd")


@case("value", "mode linear with a head")
def a_head_that_a_linear_run_does_not_use(c):
    c.rename(c.key(), head_sha256=SHA)


@case("duplicate", "training loss or logits of")
def a_copy_with_another_loss(c):
    old = c.key()
    new = c.rename(old, seed=9)
    c.change(new, lambda r: r["scores"].update(train_loss=0.4321))


@pytest.mark.parametrize("name", CASES)
def test_what_was_changed_is_named_and_refused(name, contents, verified):
    change, check, message = CASES[name]
    change(contents)
    found = verified(contents)
    assert found.verdict == "refused"
    assert any(p.check == check and message in p.message for p in found.problems), [p.line for p in found.problems]
    assert all(len(problem.line) < 1000 and problem.line.isprintable() for problem in found.problems)
    json.dumps(found.document()).encode()


def test_one_network_may_give_the_same_twice(contents, verified):
    """A protocol with a grid that chooses what another protocol has leaves the same training behind."""
    key = contents.key()
    settings = spec_of(contents, key)["protocol"] | {"grid": {"lr": [0.01], "weight_decay": [0.0005]}}
    new = contents.rename(key, protocol=settings | {"select_by": "top1"}, protocol_name="mine")
    assert new != key
    assert [p.line for p in verified(contents).problems if p.check == "duplicate"] == []


# --- zip files


def save(members: dict[str, bytes], path: Path) -> Path:
    """Write members deflated, with a manifest that is right about them."""
    import hashlib

    manifest = json.loads(members["manifest.json"])
    manifest["members"] = {
        name: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        for name, data in members.items()
        if name != "manifest.json"
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, data in (members | {"manifest.json": json.dumps(manifest).encode()}).items():
            archive.writestr(name, data)
    return path


def refused(path: Path, means) -> str:
    (problem,) = verify_bundle(path, means).problems
    return problem.line


def entries_of(data: bytes) -> list[int]:
    """Return where the entries of a zip file's table of members begin."""
    places, at = [], struct.unpack_from("<L", data, len(data) - 6)[0]
    while at >= 0:
        places.append(at)
        at = data.find(b"PK\x01\x02", at + 4)
    return places


def test_members_that_share_their_bytes(contents, tmp_path, means):
    path = contents.save(tmp_path / "b.zip")
    data = bytearray(path.read_bytes())
    first, second, *_ = entries_of(data)
    data[second + 42 : second + 46] = data[first + 42 : first + 46]
    path.write_bytes(data)
    assert "inside of another member" in refused(path, means)


def test_a_member_that_reaches_into_the_next(contents, tmp_path, means):
    path = contents.save(tmp_path / "b.zip")
    data = bytearray(path.read_bytes())
    first = entries_of(data)[0]
    (size,) = struct.unpack_from("<I", data, first + 20)
    struct.pack_into("<I", data, first + 20, size + 100)
    path.write_bytes(data)
    assert "inside of another member" in refused(path, means)


def test_one_archive_behind_another(contents, honest, tmp_path, means):
    path = contents.save(tmp_path / "b.zip")
    path.write_bytes(honest.read_bytes() + path.read_bytes())
    assert "something before its first member" in refused(path, means)


def test_sizes_of_zip64_that_are_lies(contents, tmp_path, means):
    path = contents.save(tmp_path / "b.zip")
    data = path.read_bytes()
    at = entries_of(data)[0]
    (name,) = struct.unpack_from("<H", data, at + 28)
    extra = struct.pack("<HHQ", 1, 8, 2**60)
    entry = bytearray(data[at : at + 46 + name])
    struct.pack_into("<I", entry, 24, 0xFFFFFFFF)
    struct.pack_into("<H", entry, 30, len(extra))
    end = bytearray(data[-22:])
    struct.pack_into("<I", end, 12, struct.unpack_from("<I", end, 12)[0] + len(extra))
    path.write_bytes(data[:at] + entry + extra + data[at + 46 + name : -22] + end)
    assert f"unpacks to {2**60} bytes" in refused(path, means)


def test_damage_that_the_checksum_shows(contents, tmp_path, means):
    path = contents.save(tmp_path / "b.zip")
    data = bytearray(path.read_bytes())
    at = data.index(b'"schema_version": 2')
    data[at + 18 : at + 19] = b"3"
    path.write_bytes(data)
    assert "Bad CRC-32" in " ".join(p.line for p in verify_bundle(path, means).problems)


@pytest.mark.parametrize(
    "name", ["RECORDS/{}.json", "records/{}.JSON", "records/./{}.json", "records\\{}.json", "{}.json"]
)
def test_names_that_other_systems_take_for_the_same(name, contents, tmp_path, means):
    contents.members[name.format(contents.key())] = b"{}"
    assert "is no member of a bundle" in refused(contents.save(tmp_path / "b.zip"), means)


def test_a_key_of_the_manifest_with_a_surrogate_and_no_end(contents, tmp_path, means):
    contents.members["manifest.json"] = (
        b'{"format": "sparsebench results", "version": 1, "members": {"\\ud800%s": 1}}' % (b"x" * 100_000)
    )
    line = refused(contents.save(tmp_path / "b.zip", rehash=False), means)
    assert len(line) < 1000
    assert line.isprintable()


def test_a_file_s_own_name_is_shown_as_text(contents, tmp_path, capsys):
    a_test_set_of_another_size(contents)
    path = contents.save(tmp_path / "b\x1b[31m\n.zip")
    assert main(["verify", str(path)]) == 2
    shown = capsys.readouterr()
    assert "\x1b" not in shown.out + shown.err
    assert main(["verify", str(tmp_path / "none\x1b.zip")]) == 2
    assert "\x1b" not in capsys.readouterr().err


# --- predictions


def packed(arrays: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method, compresslevel=1) as archive:
        for name, data in arrays.items():
            archive.writestr(f"{name}.npy", data)
    return buffer.getvalue()


def array(descr: str, count: int, data: bytes) -> bytes:
    text = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': ({count},), }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + data


def nothing_of(count: int) -> dict[str, bytes]:
    """Predictions of so many images without a name."""
    kinds = {"id_lengths": "|i1", "labels": "|i1", "predicted": "|u1"}
    return {name: array(descr, count, bytes(count)) for name, descr in kinds.items()} | {"ids": array("|u1", 0, b"")}


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_arrays_packed_by_what_needs_more_memory(method, contents, verified):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in nothing_of(9).items():
            archive.writestr(f"{name}.npy", data)
    contents.put_predictions(contents.key(), buffer.getvalue())
    assert "packed in another way than deflate" in verified(contents).problems[0].line


@pytest.mark.parametrize(
    ("descr", "message"), [("<M8[s]", "array of"), ("<f16", "array of"), ("|b1", "array of"), ("<U4", "array of")]
)
def test_labels_of_other_kinds(descr, message, contents, verified):
    arrays = nothing_of(9) | {"labels": array(descr, 9, bytes(9 * np.dtype(descr).itemsize))}
    contents.put_predictions(contents.key(), packed(arrays))
    assert message in verified(contents).problems[0].line


# --- what costs memory: in a process of its own, whose peak is looked at

PROGRAM = """
import resource, sys
from sparsebench.cli import main
limit = 2 * 2**30
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
status = main(["verify", sys.argv[1]])
# not ru_maxrss, which has the peak of the process that this one was forked from
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(status, peak >> 10)
"""


def many_records(c) -> bytes:
    """A record of a mebibyte, nearly all of it empty lists."""
    document = c.json(f"records/{c.key()}.json")
    document["scores"]["chosen"] = {"many": 0}
    text = json.dumps(document)
    return text.replace('"many": 0', '"many": [' + "[]," * 340_000 + "0]").encode()


def bombs_of_records(c) -> None:
    data = many_records(c)
    for number in range(300):
        c.members[f"records/{number:016x}-{number:08x}.json"] = data


def bombs_of_values(c) -> None:
    data = many_records(c)
    for number in range(30):
        c.members[f"records/{number:016x}-{number:08x}.json"] = data


def images_without_end(c) -> None:
    c.put_predictions(c.key(), packed(nothing_of(60_000_000)))


def arrays_without_end(c) -> None:
    names = b"".join(struct.pack("<4s4B4HL2L5H2L", b"PK\x01\x02", *[0] * 18) for _ in range(1_000_000))
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 65535, 65535, len(names), 0, 0)
    c.put_predictions(c.key(), names + end)


def a_split_of_empty_lists(c) -> None:
    name = next(name for name in c.members if name.startswith("splits/"))
    c.members[name] = b'{"classes": [' + b"[]," * 20_000_000 + b"0]}"


def entries_of_empty_objects(c) -> None:
    c.members["checkpoints.json"] = b'{"checkpoints": [' + b"{}," * 2_700_000 + b"0]}"


ATTACKS = [
    (bombs_of_records, "has JSON of"),
    pytest.param(bombs_of_values, "values in its JSON members", marks=pytest.mark.slow),
    (images_without_end, "1000000 are the limit"),
    pytest.param(arrays_without_end, "its table of members has", marks=pytest.mark.slow),
    pytest.param(a_split_of_empty_lists, "values in its JSON members", marks=pytest.mark.slow),
    pytest.param(entries_of_empty_objects, "can't be read", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("attack", "message"), ATTACKS, ids=lambda value: getattr(value, "__name__", ""))
def test_little_memory_is_taken(attack, message, contents, tmp_path):
    attack(contents)
    path = save(contents.members, tmp_path / "bomb.zip")
    assert path.stat().st_size < 2**25
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(path)], capture_output=True, text=True, check=False)
    assert message in done.stderr, done.stderr[-2000:]
    assert "Traceback" not in done.stderr
    status, peak = map(int, done.stdout.split()[-2:])
    assert status == 2
    assert peak < 1200
