"""Each published data set in its own layout, reduced: parts, order, ids, and each mistake named."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import disk
import numpy as np
import pytest
import torchvision.datasets
from torchvision.datasets import utils

from sparsebench.datasets import LOADERS, TaskData, open_task
from sparsebench.datasets.sources.layouts import LAYOUTS, layout_of
from sparsebench.registry import load_registry
from sparsebench.runs.prefetch import Prefetch
from sparsebench.schema import DatasetError, DifferentDataError, RegistryError, Task

BUILD: dict[str, Callable[[Path], Path]] = {name: getattr(disk, name) for name in LAYOUTS}
SIZES = {  # train, val, test
    "aircraft": (4, 4, 4),
    "birdsnap": (18, 2, 6),
    "caltech101": (54, 6, 5),
    "caltech256": (108, 12, 3),
    "cars": (18, 2, 4),
    "dtd": (4, 4, 4),
    "flowers102": (3, 3, 6),
    "food101": (18, 2, 6),
    "pets": (18, 2, 6),
    "sun397": (18, 2, 6),
}
CLASSES = {
    "aircraft": ("707-320", "DHC-8 100"),
    "birdsnap": ("auk", "kite"),
    "caltech101": ("Faces", "yin_yang"),
    "caltech256": ("001.ak47", "002.clutter"),
    "cars": ("Jeep Wrangler", "Audi S4"),
    "dtd": ("banded", "woven"),
    "flowers102": ("001", "002", "077"),
    "food101": ("apple_pie", "waffles"),
    "pets": ("Bengal", "american_bulldog"),
    "sun397": ("abbey", "bazaar/indoor"),
}


def task(name: str, **fields: object) -> Task:
    return Task.model_validate({"id": "own", "loader": name} | fields)


def sizes(data: TaskData) -> tuple[int, ...]:
    return tuple(len(split) for split in data.splits.values())


def images(data: TaskData) -> dict[str, tuple[str, str]]:
    """The part (train and val are one) and the class of each image."""
    return {
        name: ("test" if part == "test" else "trainval", data.classes[int(label)])
        for part, split in data.splits.items()
        for name, label in zip(split.ids, split.labels, strict=True)
    }


@pytest.mark.parametrize("name", LAYOUTS)
def test_parts_classes_and_images(name, tmp_path):
    root = BUILD[name](tmp_path)
    data = open_task(task(name), tmp_path)
    assert sizes(data) == SIZES[name]
    assert data.classes == CLASSES[name]
    for split in data.splits.values():
        assert set(split.labels.tolist()) == set(range(len(data.classes)))
        assert split.load(0).mode == "RGB"
        assert (root / split.ids[0]).is_file()
    again = open_task(task(name, id="other", root=str(tmp_path)), None, tmp_path / "cache")
    assert again.split_sha256 == data.split_sha256


@pytest.mark.parametrize("name", LAYOUTS)
def test_sizes_are_asserted_before_images_are_read(name, tmp_path):
    root = BUILD[name](tmp_path)
    train, val, test = SIZES[name]
    fields = {"classes": len(CLASSES[name]), "sizes": {"trainval": train + val, "test": test}}
    open_task(task(name, **fields), tmp_path)
    next(root.rglob("*.jpg")).write_bytes(b"")  # is not looked at
    for wrong, message in (
        ({"sizes": {"trainval": train + val + 1}}, f"trainval images should be {train + val + 1}, found {train + val}"),
        ({"sizes": {"test": test - 1}}, f"test images should be {test - 1}, found {test}"),
        ({"classes": 50}, f"classes should be 50, found {len(CLASSES[name])}"),
    ):
        with pytest.raises(DatasetError, match=message):
            open_task(task(name, **wrong), tmp_path)


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_missing_or_broken_image_is_named(name, tmp_path):
    root = BUILD[name](tmp_path)
    victim = root / open_task(task(name), tmp_path).test.ids[0]
    whole = victim.read_bytes()
    victim.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DatasetError, match=rf"{victim}.*broken"):
        open_task(task(name), tmp_path)
    victim.unlink()
    if name not in ("birdsnap", "caltech101", "caltech256"):  # these list what is there
        with pytest.raises(DatasetError, match=f"{victim}: No such file"):
            open_task(task(name), tmp_path)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("aircraft", "data/variants.txt"),
        ("aircraft", "data/images_variant_val.txt"),
        ("cars", "devkit/cars_train_annos.mat"),
        ("cars", "cars_test_annos_withlabels.mat"),
        ("dtd", "labels/val1.txt"),
        ("flowers102", "setid.mat"),
        ("flowers102", "imagelabels.mat"),
        ("food101", "meta/test.json"),
        ("pets", "annotations/test.txt"),
        ("sun397", "Testing_01.txt"),
    ],
)
def test_a_missing_empty_or_damaged_annotation_is_named(name, file, tmp_path):
    path = BUILD[name](tmp_path) / file
    for damage in (b"", b"\xff\x00 no annotation"):
        path.write_bytes(damage)
        with pytest.raises(DatasetError, match=str(path)):
            open_task(task(name), tmp_path)
    path.unlink()
    with pytest.raises(DatasetError, match=f"{path}: the annotation file is missing"):
        open_task(task(name), tmp_path)


@pytest.mark.parametrize(
    ("name", "file", "line", "message"),
    [
        ("dtd", "labels/test1.txt", "banded", "line 1: 'banded' is not CLASS/FILE"),
        ("dtd", "labels/test1.txt", "banded/../../../secret.jpg", "not a path inside"),
        ("aircraft", "data/images_variant_test.txt", "0000001 Concorde", "line 1: '0000001 Concorde' is not"),
        ("aircraft", "data/images_variant_test.txt", "../../x 707-320", "not a path inside"),
        ("pets", "annotations/test.txt", "Bengal_3 one 1 1", "line 1"),
        ("pets", "annotations/test.txt", "Bengal_3 2 1 1", "is not of class 1"),
        ("sun397", "Testing_01.txt", "abbey/sun_1.jpg", "not /LETTER/CLASS/FILE"),
    ],
)
def test_a_wrong_line_is_named(name, file, line, message, tmp_path):
    root = BUILD[name](tmp_path)
    disk.lines(root / file, line)
    with pytest.raises(DatasetError, match=message):
        open_task(task(name), tmp_path)


@pytest.mark.parametrize("name", LAYOUTS)
def test_class_folders_do_as_well_and_may_have_a_val(name, tmp_path):
    folder = tmp_path / layout_of(name).folders[0]
    disk.class_folders(folder, {"train": 10, "test": 2})
    data = open_task(task(name), tmp_path)
    assert (data.classes, sizes(data)) == (("auk", "kite"), (18, 2, 4))
    disk.class_folders(folder, {"val": 3})
    assert sizes(open_task(task(name), tmp_path)) == (20, 6, 4)


@pytest.mark.parametrize("name", LAYOUTS)
def test_nothing_there_says_where_it_was_looked_for_and_how_to_get_it(name, tmp_path):
    with pytest.raises(DatasetError, match=str(tmp_path)) as caught:
        open_task(task(name), tmp_path)
    assert layout_of(name).folders[0] in str(caught.value)
    assert "DIR" in caught.value.hint
    assert not list(tmp_path.iterdir())
    with pytest.raises(DatasetError, match="--data DIR"):
        open_task(task(name))
    with pytest.raises(RegistryError, match=r"options\.downlaod"):
        open_task(task(name, options={"downlaod": True}), tmp_path)


@pytest.mark.parametrize(
    "name", ["aircraft", "caltech101", "caltech256", "cars", "dtd", "flowers102", "food101", "pets"]
)
def test_torchvision_sees_the_same(name, tmp_path, monkeypatch):
    BUILD[name](tmp_path)
    monkeypatch.setattr(utils, "check_integrity", lambda *_: True)
    monkeypatch.setattr(torchvision.datasets.flowers102, "check_integrity", lambda *_: True)
    cls = getattr(torchvision.datasets, layout_of(name).torchvision or "StanfordCars")
    data = open_task(task(name), tmp_path)
    mine = [split for split in data.splits.values() if len(split)]
    pixels = {split.load(i).tobytes(): int(split.labels[i]) for split in mine for i in range(len(split))}
    parts = {"pets": ("trainval", "test"), "cars": ("train", "test")}
    parts |= {"food101": ("train", "test"), "caltech101": (), "caltech256": ()}
    sources = [cls(tmp_path, part) for part in parts.get(name, ("train", "val", "test"))] or [cls(tmp_path)]
    theirs = {image.convert("RGB").tobytes(): int(label) for source in sources for image, label in source}
    assert len(theirs) == sum(len(split) for split in mine)
    assert theirs.keys() == pixels.keys()
    order = {}  # torchvision's class numbers count classes without images too
    for key, label in theirs.items():
        assert order.setdefault(label, pixels[key]) == pixels[key]
    assert [order[label] for label in sorted(order)] == list(range(len(data.classes)))


def test_partitions_and_places_of_lists(tmp_path):
    disk.dtd(tmp_path)
    assert sizes(open_task(task("dtd", options={"partition": 2}), tmp_path)) == (2, 2, 2)
    with pytest.raises(RegistryError, match="partition"):
        open_task(task("dtd", options={"partition": 11}), tmp_path)
    root = disk.sun397(tmp_path)
    first = open_task(task("sun397"), tmp_path)
    (root / "Partitions").mkdir()
    for path in root.glob("T*_01.txt"):
        shutil.move(path, root / "Partitions")
    assert open_task(task("sun397"), tmp_path).split_sha256 == first.split_sha256
    disk.savemat_cars(tmp_path / "stanford_cars", tmp_path / "stanford_cars" / "devkit")
    assert sizes(open_task(task("cars"), tmp_path)) == (18, 2, 4)


def test_the_data_sets_folder_itself_may_be_the_root(tmp_path):
    root = disk.dtd(tmp_path)
    here = open_task(task("dtd", root=str(root)))
    assert here.split_sha256 == open_task(task("dtd"), tmp_path).split_sha256


def test_caltech_takes_the_first_images_by_name(tmp_path):
    disk.caltech101(tmp_path)
    found = images(open_task(task("caltech101"), tmp_path))
    for label, count in (("Faces", 31), ("yin_yang", 34)):
        for i in range(1, count + 1):
            part = found[f"101_ObjectCategories/{label}/image_{i:04d}.jpg"][0]
            assert part == ("trainval" if i <= 30 else "test")
    assert sizes(open_task(task("caltech101", options={"train": 10}), tmp_path)) == (18, 2, 45)
    (tmp_path / "caltech101" / "101_ObjectCategories" / "Faces" / "image_0031.jpg").unlink()
    with pytest.raises(DatasetError, match=r"Faces: 30 \.jpg images"):
        open_task(task("caltech101"), tmp_path)


def test_val_is_cut_by_content_the_same_whatever_the_files_are_called(tmp_path):
    one = open_task(task("birdsnap"), disk.birdsnap(tmp_path / "one").parent)
    (tmp_path / "two").mkdir()
    shutil.copytree(tmp_path / "one" / "birdsnap", tmp_path / "two" / "birdsnap")
    for path in sorted((tmp_path / "two" / "birdsnap" / "train" / "auk").iterdir()):
        path.rename(path.with_name(f"renamed {path.name}"))
    two = open_task(task("birdsnap"), tmp_path / "two")
    assert set(one.val.hashes) == set(two.val.hashes)
    assert not set(one.val.hashes) & set(one.train.hashes)


def test_a_change_after_the_first_use_is_an_error_that_names_it(tmp_path):
    root, cache = disk.dtd(tmp_path), tmp_path / "cache"
    first = open_task(task("dtd"), tmp_path, cache)
    assert open_task(task("dtd"), tmp_path, cache).split_sha256 == first.split_sha256
    open_task(task("dtd", options={"partition": 2}), tmp_path, cache)  # another split, with a lock of its own
    disk.paint(root / "images" / "banded" / "banded_val_0.jpg")
    with pytest.raises(DatasetError, match=r"1 images are of another content \(images/banded/banded_val_0\.jpg\)") as e:
        open_task(task("dtd"), tmp_path, cache)
    disk.lines(root / "labels" / "val1.txt", "woven/woven_val_0.jpg", "banded/banded_val_1.jpg")
    with pytest.raises(DatasetError, match="2 images are missing"):
        open_task(task("dtd"), tmp_path, cache)
    lock = Path(e.value.hint.split("delete ")[1])
    lock.unlink()
    changed = open_task(task("dtd"), tmp_path, cache).split_sha256
    assert changed != first.split_sha256
    lock.write_text("{")
    with pytest.warns(UserWarning, match="remembered anew"):
        assert open_task(task("dtd"), tmp_path, cache).split_sha256 == changed


def test_a_task_with_a_fingerprint_needs_no_lock(tmp_path):
    disk.dtd(tmp_path)
    known = open_task(task("dtd"), tmp_path).split_sha256
    open_task(task("dtd", split_sha256=known), tmp_path, tmp_path / "cache")
    assert not (tmp_path / "cache" / "splits").exists()
    with pytest.raises(DatasetError, match="fingerprint"):
        open_task(task("dtd", split_sha256="0" * 64), tmp_path)


@pytest.mark.parametrize("protocol", [2, 5])
def test_cifar_of_other_bytes_is_read_where_the_task_says_so(protocol, tmp_path):
    root = disk.cifar10(tmp_path, protocol=protocol)
    with pytest.raises(DatasetError, match="checksums: false"):
        open_task(task("torchvision", options={"dataset": "CIFAR10"}), tmp_path)
    own = task("torchvision", options={"dataset": "CIFAR10", "checksums": False})
    data = open_task(own, tmp_path)
    assert (data.classes, sizes(data)) == (("airplane", "bird"), (90, 10, 20))
    content = pickle.loads((root / "test_batch").read_bytes())
    np.testing.assert_array_equal(
        np.asarray(data.test.load(3)), content["data"][3].reshape(3, 32, 32).transpose(1, 2, 0)
    )
    assert data.test.labels.tolist() == content["labels"]
    (root / "data_batch_2").unlink()
    with pytest.raises(DatasetError, match=r"data_batch_2: the file is missing"):
        open_task(own, tmp_path)


class Evil:
    def __reduce__(self):
        return (print, ("code was run",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps({"data": Evil()}), r"asks for builtins\.print"),
        (b"junk", "can't be read"),
        (pickle.dumps([1]), "holds no dictionary"),
        (pickle.dumps({"data": np.zeros((2, 3072), np.uint8), "labels": [0]}), "don't fit"),
        (pickle.dumps({"data": np.zeros((1, 3072), np.uint8), "labels": [2]}), "don't fit"),
        (pickle.dumps({"data": np.zeros((1, 3072)), "labels": [0]}), "not a batch of CIFAR"),
    ],
)
def test_a_cifar_file_that_runs_code_or_is_none_is_refused(content, message, tmp_path, capsys):
    (disk.cifar10(tmp_path) / "test_batch").write_bytes(content)
    with pytest.raises(DatasetError, match=message):
        open_task(task("torchvision", options={"dataset": "CIFAR10", "checksums": False}), tmp_path)
    assert capsys.readouterr().out == ""


def test_cifar_as_class_folders(tmp_path):
    disk.class_folders(tmp_path / "cifar10", {"train": 10, "test": 2})
    data = open_task(task("torchvision", options={"dataset": "CIFAR10"}), tmp_path)
    assert (data.classes, sizes(data)) == (("auk", "kite"), (18, 2, 4))


def test_the_twelve_registered_tasks_are_the_papers():
    registry = load_registry()
    suite = registry.suite("cvpr22")
    assert len(suite.tasks) == 12
    assert suite.tasks == registry.suite("cvpr22-tuned").tasks
    assert suite.modes["linear"].seeds == (21, 51, 81, 111, 141)
    total = 0
    for name in suite.tasks:
        entry = registry.task(name)
        assert entry.loader in LOADERS
        assert entry.classes is not None
        assert set(entry.sizes or {}) == {"trainval", "test"}
        assert entry.mean is not None
        assert entry.std is not None
        total += sum((entry.sizes or {}).values())
        rate = registry.protocol("cvpr22-full", "full", entry.overrides.get("full")).lr
        assert rate == (0.01 if name in ("aircraft", "cars") else 0.001)
        assert entry.metric == (
            "mean_per_class" if name in ("aircraft", "caltech101", "caltech256", "flowers102", "pets") else "top1"
        )
    assert total == 388_195


def test_cifar_of_other_bytes_is_said_to_differ(tmp_path):
    root = disk.cifar10(tmp_path)
    cifar = task("torchvision", options={"dataset": "CIFAR10"})
    with pytest.raises(
        DifferentDataError, match=r"data_batch_1 has checksum [0-9a-f]{32}, published is c99cafc152"
    ) as e:
        open_task(cifar, tmp_path)
    assert "checksums: false" in e.value.hint
    with pytest.raises(DifferentDataError, match="checksum"):  # not "not here", and nothing is fetched over it
        Prefetch(tmp_path, None, forbidden="--offline").provide([], [cifar], lambda _: None)
    (root / "data_batch_3").unlink()
    with pytest.raises(DatasetError, match=r"is not complete: data_batch_3 missing from .*cifar-10-batches-py") as e:
        open_task(cifar, tmp_path)
    assert not isinstance(e.value, DifferentDataError)
    with pytest.raises(DatasetError, match=r"is not complete: no folder .*cifar-100-python"):
        open_task(task("torchvision", options={"dataset": "CIFAR100"}), tmp_path)


def test_images_that_no_annotation_names_are_counted(tmp_path):
    root = disk.dtd(tmp_path)
    image = next((root / "images").rglob("*.jpg"))
    shutil.copy(image, image.with_name("extra.jpg"))
    with pytest.warns(
        UserWarning, match=r"left out: 1 image\(s\) that the annotations don't name, such as images/.*/extra\.jpg"
    ):
        open_task(task("dtd"), tmp_path)
