"""Data sets in tables of the Hugging Face hub: read as they lie, checked, and fetched."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("pyarrow", reason="needs the extra sparsebench[hub]")

from hub_server import COMMIT, Hub, image_bytes, running, write_table

from sparsebench.datasets import can_download, download_task, open_task
from sparsebench.registry import load_registry
from sparsebench.schema import DatasetError, DifferentDataError, InputError, MissingDataError, RegistryError, Task

NAMES = ["cat", "dog"]
IMAGES = {"train": [image_bytes(i) for i in range(20)], "test": [image_bytes(100 + i, "JPEG") for i in range(6)]}


def made(folder: Path, **options: Any) -> Path:
    """Write a data set of two classes: two tables of train, one of test."""
    for split, parts in (("train", [slice(0, 9), slice(9, 20)]), ("test", [slice(0, 6)])):
        for number, part in enumerate(parts):
            images = IMAGES[split][part]
            labels = [i % 2 for i in range(part.start, part.stop)]
            name = f"data/{split}-{number:05d}-of-{len(parts):05d}.parquet"
            write_table(folder / name, list(images), labels, **({"names": NAMES} | options))
    return folder


def task(**fields: Any) -> Task:
    options = {"hub": "someone/pets"} | fields.pop("options", {})
    return Task(**({"id": "pets-hub", "loader": "hub", "options": options} | fields))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    made(tmp_path / "data" / "someone--pets")
    return tmp_path / "data"


def test_rows_become_images_with_ids_labels_and_hashes(data: Path) -> None:
    opened = open_task(task(classes=2, sizes={"trainval": 20, "test": 6}), data)
    assert opened.classes == ("cat", "dog")
    assert {name: len(split) for name, split in opened.splits.items()} == {"train": 18, "val": 2, "test": 6}
    assert opened.published
    ids = {
        **dict(zip(opened.train.ids, opened.train.hashes, strict=True)),
        **dict(zip(opened.val.ids, opened.val.hashes, strict=True)),
    }
    assert ids["data/train-00001-of-00002.parquet:3"] == hashlib.sha256(IMAGES["train"][12]).hexdigest()
    for split in (opened.train, opened.test):
        for i in reversed(range(len(split))):  # in any order, over row groups and files
            file, row = split.ids[i].split(":")
            number = int(row) + (9 if "00001-of-00002" in file else 0)
            source = IMAGES["train" if "train" in file else "test"][number]
            assert np.array_equal(np.asarray(split.load(i)), np.asarray(Image.open(io.BytesIO(source)).convert("RGB")))
            assert split.labels[i] == number % 2


def test_the_split_does_not_depend_on_how_rows_lie_in_files(tmp_path: Path, data: Path) -> None:
    other = tmp_path / "other" / "someone--pets"
    for split, images in IMAGES.items():
        write_table(other / f"{split}.parquet", list(images), [i % 2 for i in range(len(images))], rows_per_group=100)
    first, second = open_task(task(), data), open_task(task(), other.parent)
    assert second.classes == ("0", "1")  # nothing says what they are called
    assert set(first.val.hashes) == set(second.val.hashes)


@pytest.mark.parametrize(
    ("layout", "options"),
    [
        ("{split}/0000.parquet", {}),
        ("default/{split}/0000.parquet", {}),
        ("{split}-00000-of-00001-0123456789abcdef.parquet", {}),
        ("x_{split}_y.parquet", {"splits": {"train": "x_train*", "test": "x_test*"}}),
    ],
)
def test_tables_are_found_by_their_names(tmp_path: Path, layout: str, options: dict[str, Any]) -> None:
    folder = tmp_path / "someone--pets"
    for split, images in IMAGES.items():
        write_table(folder / layout.format(split=split), list(images), [i % 2 for i in range(len(images))])
    assert len(open_task(task(options=options), tmp_path).test) == 6


def test_columns_splits_and_kinds_of_values(tmp_path: Path) -> None:
    folder = tmp_path / "tables"
    for split, images in (("fit", IMAGES["train"]), ("validation", IMAGES["test"][:4]), ("test", IMAGES["test"][2:])):
        labels = [("yes", "no")[i % 2] for i in range(len(images))]
        write_table(folder / f"{split}.parquet", list(images), labels, columns=("img", "answer"), structured=False)
    options = {"image": "img", "label": "answer", "splits": {"train": "fit", "val": "validation", "test": "test"}}
    opened = open_task(task(options=options, root=str(folder)), None)
    assert opened.classes == ("no", "yes")
    assert {name: len(split) for name, split in opened.splits.items()} == {"train": 20, "val": 4, "test": 4}


def test_numeric_names_are_names_not_numbers(tmp_path: Path) -> None:
    """A class named 1 may be number 0."""
    folder = made(tmp_path / "someone--pets", names=["1", "0"])
    opened = open_task(task(), tmp_path)
    assert opened.classes == ("1", "0")
    assert opened.test.labels.tolist() == [0, 1, 0, 1, 0, 1]
    assert folder.is_dir()


def test_four_lines_are_a_task(tmp_path: Path, data: Path) -> None:
    folder = tmp_path / "tasks"
    folder.mkdir()
    (folder / "mine.yaml").write_text("id: mine\nloader: hub\nmetric: top1\noptions: {hub: someone/pets}\n")
    own = load_registry(tasks_dirs=[folder]).task("mine")
    assert len(open_task(own, data).test) == 6


def test_the_three_whose_download_is_gone_are_registered() -> None:
    registry = load_registry()
    for name in ("cars", "sun397", "birdsnap"):
        own = registry.task(f"{name}-hub")
        assert can_download(own)
        assert own.classes == registry.task(name).classes
    assert registry.task("cars-hub").sizes == registry.task("cars").sizes


def test_damaged_rows_are_all_named_and_can_be_left_out(tmp_path: Path) -> None:
    folder = made(tmp_path / "someone--pets")
    images: list[bytes | None] = list(IMAGES["train"][9:])
    images[2], images[5], images[6] = images[2][:-30] if images[2] else None, None, b"no image"
    write_table(folder / "data/train-00001-of-00002.parquet", images, [i % 2 for i in range(9, 20)], names=NAMES)
    with pytest.raises(
        DatasetError, match=r"00001-of-00002\.parquet, row 2: broken image.*row 11 of train \(and 2 more"
    ) as caught:
        open_task(task(), tmp_path, tmp_path / "cache")
    assert "leave_out: {train: [11, 14, 15]}" in caught.value.hint
    opened = open_task(task(options={"leave_out": {"train": [11, 14, 15]}}), tmp_path, tmp_path / "cache")
    assert len(opened.train) + len(opened.val) == 17
    assert not [i for i in opened.train.ids if i.endswith("00001-of-00002.parquet:2")]
    with pytest.raises(DatasetError, match="train has no row 20"):
        open_task(task(options={"leave_out": {"train": [20]}}), tmp_path)


def test_what_was_checked_is_remembered_until_it_changes(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sparsebench.datasets.sources import tables

    first = open_task(task(), data, tmp_path / "cache")
    with monkeypatch.context() as patch:
        patch.setattr(tables, "check_data", None)
        assert open_task(task(), data, tmp_path / "cache").split_sha256 == first.split_sha256
    write_table(
        data / "someone--pets/data/test-00000-of-00001.parquet", list(IMAGES["train"][:6]), [0, 1] * 3, names=NAMES
    )
    with pytest.raises(DatasetError, match="pets-hub"):  # the fingerprint of the first time is kept
        open_task(task(), data, tmp_path / "cache")


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"sizes": {"trainval": 21}}, DifferentDataError, "trainval images should be 21, found 20"),
        ({"classes": 3}, DifferentDataError, "number of classes should be 3"),
        ({"split_sha256": "0" * 64}, DifferentDataError, "fingerprint"),
        ({"options": {"label": "labl"}}, DatasetError, "has no column 'labl', but image, label"),
        ({"options": {"image": "label"}}, DatasetError, "holds no images but int64"),
        ({"options": {"splits": {"train": "train", "test": "validation"}}}, MissingDataError, "no table of validation"),
        ({"options": {"hub": "no-owner"}}, RegistryError, "options.hub"),
        ({"options": {"splits": {"test": "test"}}}, RegistryError, "splits name train and test"),
        ({"options": {"revison": "x"}}, RegistryError, "revison"),
        ({"options": {"hub": "../x"}}, RegistryError, "options.hub"),
    ],
)
def test_what_differs_is_said(data: Path, fields: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        open_task(task(**fields), data)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1, -1, 1, 0, 1], "row 2: label '-1'"),
        ([0, None, 1, 1, 0, 1], "row 1: has no label"),
        ([0, 1, 2, 1, 0, 1], "row 2: label '2'"),
        ([0.5] * 6, "row 0: has the label '0.5'"),
        ([0] * 6, "no test images of 'dog'"),
    ],
)
def test_labels_that_are_none(data: Path, labels: list[Any], message: str) -> None:
    path = data / "someone--pets/data/test-00000-of-00001.parquet"
    write_table(path, list(IMAGES["test"]), labels, names=NAMES)
    with pytest.raises(DatasetError, match=message):
        open_task(task(), data)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + b"\xff" * 64 + b"PAR1", b"<html>"])
def test_damaged_tables_are_named(data: Path, content: bytes) -> None:
    (data / "someone--pets/data/test-00000-of-00001.parquet").write_bytes(content)
    with pytest.raises(DatasetError, match=r"test-00000-of-00001\.parquet: can't be read as a table"):
        open_task(task(), data)


def test_a_name_in_several_folders_is_unclear(tmp_path: Path) -> None:
    for config in ("big", "small"):
        for split, images in IMAGES.items():
            write_table(
                tmp_path / f"someone--pets/{config}/{split}.parquet", list(images), [i % 2 for i in range(len(images))]
            )
    with pytest.raises(InputError, match="several folders: big, small"):
        open_task(task(), tmp_path)
    assert len(open_task(task(options={"config": "small"}), tmp_path).test) == 6


def test_the_package_that_is_missing_is_named(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(InputError, match="read by pyarrow") as caught:
        open_task(task(), data)
    assert caught.value.hint == "pip install 'sparsebench[hub]'"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    for name in (
        "http_proxy",
        "HTTP_PROXY",
        "https_proxy",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "all_proxy",
        "SPARSEBENCH_OFFLINE",
        "HF_HUB_OFFLINE",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SPARSEBENCH_CHECKPOINTS", str(tmp_path / "checkpoints"))
    with running(Hub()) as there:
        there.add("someone/pets", made(tmp_path / "origin"))
        there.files["someone/pets"]["README.md"] = b"# Pets"
        monkeypatch.setenv("HF_ENDPOINT", there.url)
        yield there


def fetched_files(hub: Hub) -> list[str]:
    return [path.rpartition("/")[2] for path, _ in hub.asked if "/resolve/" in path]


def test_tables_are_fetched_once_and_only_they(tmp_path: Path, hub: Hub) -> None:
    with pytest.raises(MissingDataError, match="no table of train, test"):
        open_task(task(), tmp_path / "data")
    seen: list[tuple[float, float]] = []
    folder = download_task(task(), tmp_path / "data", lambda done, total: seen.append((done, total)))
    assert folder == tmp_path / "data" / "someone--pets"
    names = sorted(path.rpartition("/")[2] for path in hub.files["someone/pets"] if path.endswith(".parquet"))
    assert sorted(fetched_files(hub)) == names
    total = sum(len(v) for n, v in hub.files["someone/pets"].items() if n.endswith(".parquet"))
    assert seen[-1] == (total, total)
    assert all(f"/resolve/{COMMIT}/" in path for path, _ in hub.asked if "/resolve/" in path)
    assert len(open_task(task(), tmp_path / "data").test) == 6
    hub.asked.clear()
    download_task(task(), tmp_path / "data")
    assert not hub.asked


def test_a_fetch_goes_on_where_it_ended(tmp_path: Path, hub: Hub) -> None:
    name = "data/train-00001-of-00002.parquet"
    hub.cut.add(name)
    download_task(task(), tmp_path / "data")
    ranges = [given for path, given in hub.asked if path.endswith(name)]
    assert ranges[0] is None
    assert ranges[1] == f"bytes={len(hub.files['someone/pets'][name]) // 2}-"
    folder = tmp_path / "data/someone--pets"
    (folder / name).unlink()
    with pytest.raises(MissingDataError, match="lacks 1 of 3 tables, such as data/train-00001"):
        open_task(task(), tmp_path / "data")
    hub.asked.clear()
    download_task(task(), tmp_path / "data")
    assert fetched_files(hub) == ["train-00001-of-00002.parquet"]
    with pytest.raises(MissingDataError, match="holds someone/pets at main, not v2"):
        open_task(task(options={"revision": "v2"}), tmp_path / "data")


def test_what_the_hub_lacks_is_said(tmp_path: Path, hub: Hub) -> None:
    with pytest.raises(DatasetError, match="the tables of someone/cars can't be listed"):
        download_task(task(options={"hub": "someone/cars"}), tmp_path / "data")
    with pytest.raises(DatasetError, match="has no tables of train and val; it has: data/test"):
        download_task(task(options={"splits": {"train": "train", "test": "val"}}), tmp_path / "data")
    hub.files["someone/evil"] = {"../train.parquet": b"x", "/test.parquet": b"x"}
    with pytest.raises(DatasetError, match=r"has no tables.*it has: none"):
        download_task(task(options={"hub": "someone/evil"}), tmp_path / "data")


def test_a_table_that_changed_on_the_way_is_refused(tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    import hub_server

    monkeypatch.setattr(
        hub_server,
        "_entry",
        lambda name, data: {
            "type": "file",
            "path": name,
            "size": len(data),
            "oid": "0" * 40,
            "lfs": {"oid": "0" * 64, "size": len(data), "pointerSize": 1},
        },
    )
    with pytest.raises(DatasetError, match=r"can't be fetched.*sha256"):
        download_task(task(), tmp_path / "data")
    assert not list((tmp_path / "data").rglob("*.parquet"))
