"""Extensions from a user's own file: found by path, called by name and hash, refused with the reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from sparsebench import extensions
from sparsebench.extensions import KINDS, table
from sparsebench.schema import InputError

OWN = """
from sparsebench.extensions import Probe
from sparsebench.transfer.probes.declared.ridge import RIDGE

def fit(data, protocol, seeds, **options):
    raise NotImplementedError

MINE = Probe(name="mine", summary="one of my own", fit=fit)
ALSO = MINE
"""


@pytest.fixture(autouse=True)
def _forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "_from_files", {plural: {} for plural in KINDS})


def test_a_file_is_called_by_its_name_and_content(tmp_path: Path) -> None:
    one, two = tmp_path / "one.py", tmp_path / "two.py"
    one.write_text(OWN)
    two.write_text(OWN + "# another\n")
    first, second = (extensions.resolve("probes", path) for path in (one, two))
    assert first.startswith("mine@")
    assert first != second
    assert extensions.get("probes", first).title == "mine"
    assert extensions.get("probes", first).protocol_name == f"{first}-linear"
    assert extensions.given("probes", first) == str(one)
    assert extensions.resolve("probes", one) == first
    assert "mine" not in extensions.known("probes")
    assert extensions.resolve("probes", "ridge") == "ridge"


def test_another_process_loads_the_same_files_and_misses_one_that_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "one.py"
    path.write_text(OWN)
    name = extensions.resolve("probes", path)
    files = extensions.loaded_files()
    assert files == {"probes": [str(path)]}
    table._from_files["probes"].clear()
    extensions.load_files(files)
    assert extensions.find("probes", name) is not None
    table._from_files["probes"].clear()
    path.write_text(OWN + "# changed since\n")
    extensions.load_files(files)
    with pytest.raises(InputError, match="which has changed or isn't here"):
        extensions.get("probes", name)
    path.unlink()
    extensions.load_files(files)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "there is no file"),
        ("", "declares 0 probes"),
        ("from sparsebench.transfer.probes.declared.ridge import RIDGE", "declares 0 probes"),
        (OWN + OWN.replace('"mine"', '"other"').replace("MINE", "OTHER").replace("ALSO", "MORE"), "declares 2 probes"),
        (OWN.replace('"mine"', '"ridge"'), "the name 'ridge' is taken"),
        (OWN.replace('"mine"', '"mine@1"'), "the name 'mine@1' has a '@'"),
        (OWN.replace('"mine"', '"two words"'), r"line 8, can't be run: ValueError: 'two words' is no name"),
        ("import nothing_of_that_name", r"line 1, can't be run: ModuleNotFoundError"),
        ("x = 1\ndef", r"line 2, can't be run: SyntaxError"),
        ("from sparsebench.extensions import Probe\nPROBE = Probe(name='x')", "can't be run: TypeError"),
    ],
)
def test_a_file_that_is_no_probe_is_refused_with_the_reason(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "own.py"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=message):
        extensions.resolve("probes", path)
    assert not extensions.loaded_files()


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "folder.py").mkdir()
    with pytest.raises(InputError, match="can't be read"):
        extensions.resolve("engines", tmp_path / "folder.py")
