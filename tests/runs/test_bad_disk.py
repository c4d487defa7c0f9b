"""A results folder on a disk that is full or read-only: said before the first run, survived during it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

import sparsebench
from made_up import statuses
from sparsebench.schema import ResultsError
from sparsebench.store import Store, gather
from sparsebench.store.recordfile import to_json
from tasks_quick import quick_suite


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return quick_suite(tmp_path_factory.mktemp("quick"))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 256 KiB."""
    mounted = tmp_path / "disk"
    mounted.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(mounted)]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        pytest.skip(f"there is no mount here: {error}")
    if done.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {done.stderr.strip()}")
    yield mounted
    subprocess.run(["umount", str(mounted)], check=True)


def run(tasks: Path, results: Path, **more: object) -> pd.DataFrame:
    options = {"suite": "quick", "tasks_dirs": [tasks], "checkpoint": "mini.acdc_s90", "mode": "linear"} | more
    return sparsebench.run(results=results, **options)  # type: ignore[arg-type]


def fill(disk: Path, leave: int) -> Path:
    """Fill the disk but for some 4 KiB pages."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as handle:
        try:
            while handle.write(bytes(4096)) == 4096:
                pass
        except OSError:
            handle.truncate(handle.tell() - 4096 * leave)
    return ballast


def whole(results: Path) -> None:
    """Check that nothing in a results folder is half written."""
    store = Store(results)
    for record in store.read():
        assert store.path_of(record).read_bytes() == to_json(record)
        if record.status == "ok":
            store.predictions(record)
    assert not [path for path in results.rglob("*") if path.name.endswith(".tmp")]
    assert list(store.claims_dir.glob("*")) == []


@pytest.mark.parametrize("leave", [3, 5])
def test_a_disk_that_fills_up_loses_nothing(disk: Path, tasks: Path, leave: int) -> None:
    results = disk / "runs"
    before = run(tasks, results, seed=0)
    ballast = fill(disk, leave)
    table = run(tasks, results, seed=[0, 1, 2, 3])
    assert len(table) == 4
    failed = table[table["status"] == "failed"]
    assert len(failed) > 0
    assert failed["error"].str.contains("No space left").all()
    whole(results)
    ballast.unlink()
    assert (run(tasks, results, seed=[0, 1, 2, 3])["status"] == "ok").all()
    whole(results)
    after = gather(results)
    pd.testing.assert_frame_equal(after[after["seed"] == 0].reset_index(drop=True), before)


def test_a_full_disk_is_an_error_before_the_first_run(disk: Path, tasks: Path) -> None:
    fill(disk, 0)
    with pytest.raises(ResultsError, match=r"can't write to .*No space left"):
        run(tasks, disk / "runs")
    assert not (disk / "runs").exists()


def test_a_read_only_disk_can_be_read_but_not_run_on(disk: Path, tasks: Path) -> None:
    before = run(tasks, disk / "runs", seed=0)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    with pytest.raises(ResultsError, match=r"can't write to .*Read-only") as caught:
        run(tasks, disk / "runs", seed=1)
    assert caught.value.exit_code == 2
    pd.testing.assert_frame_equal(sparsebench.results(disk / "runs"), before)
    assert list(statuses(Store(disk / "runs")).values()) == ["ok"]
