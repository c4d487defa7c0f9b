"""Processes killed at random lose nothing; the check itself notices what it should."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest

import sparsebench
from sparsebench.schema import RunError
from sparsebench.store import Store
from tasks_quick import quick_suite

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture
def storm(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module("kill_storm")


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return quick_suite(tmp_path_factory.mktemp("quick"))


def test_what_is_lost_or_torn_is_noticed(storm: ModuleType, tasks: Path, tmp_path: Path) -> None:
    for name in ("calm", "stormy"):
        sparsebench.run(results=tmp_path / name, suite="quick", tasks_dirs=[tasks], checkpoint="mini.acdc_s90",
                        mode="linear")  # fmt: skip
    calm, stormy = tmp_path / "calm", tmp_path / "stormy"
    assert storm.compare(calm, stormy) == 2
    (first, second), store = Store(stormy).read(), Store(stormy)
    (stormy / "claims" / "x.json").write_text("")
    with pytest.raises(RunError, match="1 claims are left"):
        storm.compare(calm, stormy)
    other = first.model_copy(update={"scores": second.scores})
    store.write(other)
    with pytest.raises(RunError, match="other numbers"):
        storm.compare(calm, stormy)
    store.path_of(first).write_bytes(store.path_of(first).read_bytes() + b"\n")
    with pytest.raises(RunError, match="not whole"):
        storm.compare(calm, stormy)
    store.path_of(first).unlink()
    with pytest.raises(RunError, match="1 record files for 2 runs"):
        storm.compare(calm, stormy)


@pytest.mark.slow
def test_a_storm_of_kills_loses_nothing(storm: ModuleType, tasks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = ["--suite", "quick", "--tasks-dir", str(tasks), "--checkpoint", "mini.acdc_s90", "--checkpoint",
            "mini.gmp_s90", "--seed", "0", "--seed", "1", "--seed", "2"]  # fmt: skip
    assert storm.main(["--seconds", "90", "--calm", "8", "--", *plan]) == 0
    assert "nothing lost: 12 records" in capsys.readouterr().out
