from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml
from entries import SHA, entry
from file_server import BODY, FileServer, file, status

from sparsebench.downloads import Fetcher, FetchError, locate
from sparsebench.schema import CheckpointError, RegistryError


def pins(folder: Path) -> dict[str, dict[str, object]]:
    return yaml.safe_load((folder / "sparsebench.lock.yaml").read_text()) or {}


def test_the_first_hash_is_written_down_and_every_later_copy_must_have_it(
    server: FileServer, fetcher: Fetcher, checkpoints: Path
) -> None:
    wanted = entry(server.on("/r50.pth", file()), name="acdc/r50.pth")
    path = fetcher.fetch(wanted)
    pin = pins(checkpoints)["acdc/r50.pth"]
    assert (pin["id"], pin["url"], pin["sha256"], pin["size"]) == (wanted.id, wanted.file.url, SHA, len(BODY))
    assert str(pin["date"]).endswith("+00:00")
    path.write_bytes(b"tampered")
    with pytest.raises(
        CheckpointError, match=rf"but had {SHA[:12]}\.\.\. when .*delete the entry of r50.acdc_s90 from"
    ):
        locate(wanted)
    with pytest.raises(CheckpointError, match="first seen"):
        fetcher.fetch(wanted)
    path.unlink()
    server.on("/r50.pth", file(b"another" * 1000))
    with pytest.raises(
        FetchError, match=r"the file it gave has sha256 .*first seen.*if the change is expected, delete"
    ):
        fetcher.fetch(wanted)
    assert not path.exists()
    (checkpoints / "sparsebench.lock.yaml").write_text("# nothing left\n")
    assert fetcher.fetch(wanted).read_bytes() == b"another" * 1000


def test_every_further_file_gets_an_entry(server: FileServer, fetcher: Fetcher, checkpoints: Path) -> None:
    for name in ("one", "two", "three"):
        fetcher.fetch(entry(server.on(f"/{name}", file()), name=f"{name}.pth"))
    assert sorted(pins(checkpoints)) == ["one.pth", "three.pth", "two.pth"]
    assert {str(pin["sha256"]) for pin in pins(checkpoints).values()} == {SHA}


def test_a_mirror_has_to_give_the_same(server: FileServer, fetcher: Fetcher, checkpoints: Path) -> None:
    wanted = entry(server.on("/a", file()), mirrors=[server.on("/b", file())])
    fetcher.fetch(wanted).unlink()
    server.on("/a", file(b"another" * 1000))
    assert fetcher.fetch(wanted).read_bytes() == BODY
    assert pins(checkpoints)["r50.pth"]["url"] == wanted.file.url


def test_a_published_hash_needs_no_lock_file(server: FileServer, fetcher: Fetcher, checkpoints: Path) -> None:
    locate(entry(str(fetcher.fetch(entry(server.on("/a", file()), sha256=SHA)) and server.url("/a")), sha256=SHA))
    assert not (checkpoints / "sparsebench.lock.yaml").exists()


def test_a_file_got_by_hand_is_held_to_its_first_hash(checkpoints: Path) -> None:
    wanted = entry(manual="ask the authors")
    checkpoints.mkdir()
    (checkpoints / "r50.pth").write_bytes(BODY)
    assert locate(wanted) == checkpoints / "r50.pth"
    assert pins(checkpoints)["r50.pth"]["sha256"] == SHA
    (checkpoints / "r50.pth").write_bytes(BODY + b"!")
    with pytest.raises(CheckpointError, match="first seen"):
        locate(wanted)


def test_a_file_of_the_users_own_may_change(tmp_path: Path, checkpoints: Path) -> None:
    (tmp_path / "own.pth").write_bytes(b"mine")
    wanted = entry()
    own = wanted.model_copy(update={"file": wanted.file.model_copy(update={"path": str(tmp_path / "own.pth")})})
    assert locate(own) == tmp_path / "own.pth"
    assert not checkpoints.exists()


def test_a_folder_moved_elsewhere_keeps_its_hashes(
    server: FileServer, fetcher: Fetcher, checkpoints: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = entry(server.on("/a", file()))
    fetcher.fetch(wanted)
    shutil.move(checkpoints, tmp_path / "elsewhere")
    monkeypatch.setenv("SPARSEBENCH_CHECKPOINTS", str(tmp_path / "elsewhere"))
    locate(wanted).write_bytes(b"tampered")
    with pytest.raises(CheckpointError, match="first seen"):
        locate(wanted)


@pytest.mark.parametrize("text", ["r50.pth: 3\n", "r50.pth: {id: a}\n", "- a\n", "a: {b\n"])
def test_a_lock_file_that_makes_no_sense_is_named_before_anything_is_fetched(
    server: FileServer, fetcher: Fetcher, checkpoints: Path, text: str
) -> None:
    checkpoints.mkdir()
    (checkpoints / "sparsebench.lock.yaml").write_text(text)
    with pytest.raises(RegistryError, match=r"sparsebench\.lock\.yaml"):
        fetcher.fetch(entry(server.on("/a", file())))
    assert server.requests == []


def test_a_lock_file_that_cannot_be_written_is_a_warning(checkpoints: Path) -> None:
    checkpoints.mkdir()
    (checkpoints / "r50.pth").write_bytes(BODY)
    (checkpoints / ".sparsebench.lock.yaml.lock").mkdir()
    with pytest.warns(UserWarning, match=r"the hash of r50\.pth is not kept"):
        locate(entry(manual="ask the authors"))


def test_nothing_is_written_down_for_what_failed(server: FileServer, fetcher: Fetcher, checkpoints: Path) -> None:
    with pytest.raises(FetchError):
        fetcher.fetch(entry(server.on("/a", status(404))))
    assert not (checkpoints / "sparsebench.lock.yaml").exists()
