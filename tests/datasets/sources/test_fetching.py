"""What is downloaded, what can't be, and that archives stay inside their folder; nothing goes over a network."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import disk
import pytest
import torchvision.datasets

from sparsebench.datasets import download_task
from sparsebench.registry import load_registry
from sparsebench.schema import DatasetError, Task

TASKS = load_registry().tasks


def test_downloads_go_through_torchvision_into_the_data_folder(tmp_path, monkeypatch):
    asked = []

    def fake(root, download):
        asked.append((root, download))
        disk.dtd(Path(root))

    monkeypatch.setattr(torchvision.datasets, "DTD", fake)
    seen = []
    place = tmp_path / "new" / "data"
    assert download_task(TASKS["dtd"], place, lambda done, total: seen.append((done, total))) == place
    assert (asked, seen) == ([(str(place), True)], [(0, 1), (1, 1)])
    assert download_task(TASKS["dtd"], place) == place / "dtd" / "dtd"  # there already
    assert len(asked) == 1


@pytest.mark.parametrize("name", ["cars", "sun397", "birdsnap"])
def test_dead_downloads_say_what_to_get_and_where_to_put_it(name, tmp_path):
    with pytest.raises(DatasetError, match=r"DIR/") as caught:
        download_task(TASKS[name], tmp_path)
    assert caught.value.exit_code == 2
    getattr(disk, name)(tmp_path)
    assert download_task(TASKS[name], tmp_path) is not None


def test_a_failing_download_says_how_else_to_get_it(tmp_path, monkeypatch):
    def fail(root, download):
        raise OSError("no route to host")

    monkeypatch.setattr(torchvision.datasets, "Food101", fail)
    monkeypatch.setattr(torchvision.datasets, "CIFAR100", fail)
    for name in ("food101", "cifar100"):
        with pytest.raises(DatasetError, match=r"no route to host \(unpack .*tar\.gz"):
            download_task(TASKS[name], tmp_path)


def test_embedded_tasks_need_none_and_ones_own_have_none(tmp_path):
    assert download_task(TASKS["digits"], tmp_path) is None
    with pytest.raises(DatasetError, match="your own"):
        download_task(Task(id="mine", loader="imagefolder", root="mine"), tmp_path)


def test_an_archive_that_leads_out_of_the_folder_is_refused(tmp_path, monkeypatch):
    archive = tmp_path / "evil.tar"
    with tarfile.open(archive, "w") as tar:
        member = tarfile.TarInfo("../outside.txt")
        member.size = 4
        tar.addfile(member, io.BytesIO(b"evil"))

    def unpack(root, download):
        with tarfile.open(archive) as tar:
            tar.extractall(root)

    monkeypatch.setattr(torchvision.datasets, "DTD", unpack)
    before = tarfile.TarFile.extraction_filter
    with pytest.raises(DatasetError, match="outside"):
        download_task(TASKS["dtd"], tmp_path / "data")
    assert not (tmp_path / "outside.txt").exists()
    assert tarfile.TarFile.extraction_filter is before
