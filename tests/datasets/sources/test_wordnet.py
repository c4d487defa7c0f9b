"""Test images by WordNet id: every layout gives the same task, and classes are numbered as a head numbers them."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from sparsebench.common.progress import listening
from sparsebench.datasets import TaskData, open_task
from sparsebench.registry import load_tasks
from sparsebench.schema import DatasetError, InputError, MissingDataError, RegistryError, Task

CLASSES = ("n00000001", "n00000002", "n00000005", "n00000009")
SHOWN = {"a.JPEG": "n00000005", "b.JPEG": "n00000001", "c.JPEG": "n00000005", "d.JPEG": "n00000009"}
LABELS = {"a.JPEG": 2, "b.JPEG": 0, "c.JPEG": 2, "d.JPEG": 3}


def task(**changes: object) -> Task:
    fields = {"id": "own", "loader": "wordnet", "upstream": ("made-up",), "options": {"classes": CLASSES}}
    return Task.model_validate(fields | changes)


def jpeg(name: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (12, 9), (ord(name[0]), 2 * ord(name[0]) % 256, 7)).save(out, "JPEG")
    return out.getvalue()


def put(path: Path, name: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(jpeg(name))


def class_folders(root: Path) -> None:
    for name, wnid in SHOWN.items():
        put(root / wnid / name, name)


def val_folder(root: Path) -> None:
    class_folders(root / "val")


def words_after_the_id(root: Path) -> None:
    for name, wnid in SHOWN.items():
        put(root / "val" / f"{wnid}_goldfish" / name, name)


def listed(root: Path) -> None:
    """As Tiny ImageNet is published: no class folders, but a list."""
    for name in SHOWN:
        put(root / "val" / "images" / name, name)
    rows = [f"{name}\t{wnid}\t0\t0\t9\t9" for name, wnid in SHOWN.items()]
    (root / "val" / "val_annotations.txt").write_text("\n".join(rows) + "\n")


def kaggle(root: Path) -> None:
    for name in SHOWN:
        put(root / "Data" / "CLS-LOC" / "val" / name, name)
    rows = [f"{Path(name).stem},{wnid} 1 2 3 4 " for name, wnid in SHOWN.items()]
    (root / "LOC_val_solution.csv").write_text("ImageId,PredictionString\n" + "\n".join(rows) + "\n")


def archives(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    with tarfile.open(root / "ILSVRC2012_img_val.tar", "w") as tar:
        for name in reversed(SHOWN):  # the order of the ground truth is that of the names
            add(tar, name, jpeg(name))
    numbers = {wnid: number for number, wnid in enumerate(reversed(CLASSES), start=1)}
    synsets = np.array(list(numbers.items()), dtype=[("WNID", object), ("ILSVRC2012_ID", object)])
    meta = io.BytesIO()
    savemat(meta, {"synsets": synsets})
    truth = "".join(f"{numbers[SHOWN[name]]}\n" for name in sorted(SHOWN))
    with tarfile.open(root / "ILSVRC2012_devkit_t12.tar.gz", "w:gz") as tar:
        folder = "ILSVRC2012_devkit_t12/data"
        add(tar, f"{folder}/meta.mat", meta.getvalue())
        add(tar, f"{folder}/ILSVRC2012_validation_ground_truth.txt", truth.encode())


def add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def npz(path: Path, classes: tuple[str, ...] = ("n00000009 x", "n00000001 y", "n00000005 z", "n00000002 w")) -> Path:
    """The classes are not in the order of their ids."""
    data = [jpeg(name) for name in SHOWN]
    ids = [text.split()[0] for text in classes]
    np.savez(
        path,
        classes=np.array(classes),
        val_jpeg=np.frombuffer(b"".join(data), dtype=np.uint8),
        val_offset=np.cumsum([0, *map(len, data)]),
        val_label=np.array([ids.index(wnid) for wnid in SHOWN.values()]),
    )
    return path


def opened(place: Path, cache: Path | None = None, **changes: object) -> TaskData:
    return open_task(task(**changes), place, cache)


LAYOUTS = [class_folders, val_folder, words_after_the_id, listed, kaggle, archives]


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_every_layout_is_the_same_task(layout: Callable[[Path], None], tmp_path: Path) -> None:
    layout(tmp_path / "data")
    val_folder(tmp_path / "usual")
    data, usual = opened(tmp_path / "data"), opened(tmp_path / "usual")
    assert data.classes == CLASSES
    assert dict(zip(data.test.ids, data.test.labels.tolist(), strict=True)) == LABELS
    assert (len(data.train), len(data.val)) == (0, 0)
    assert data.split_sha256 == usual.split_sha256
    for i in range(4):
        assert data.test.load(i).tobytes() == usual.test.load(i).tobytes()


def test_names_that_hold_the_id(tmp_path: Path) -> None:
    for name in ("n00000002_10.JPEG", "ILSVRC2012_val_00000007_n00000009.JPEG", "n00000001.jpg"):
        put(tmp_path / name, name)
    data = opened(tmp_path)
    assert data.test.ids == ("ILSVRC2012_val_00000007_n00000009.JPEG", "n00000001.jpg", "n00000002_10.JPEG")
    assert data.test.labels.tolist() == [3, 0, 1]


def test_an_npz_in_another_order(tmp_path: Path) -> None:
    npz(tmp_path / "own.npz")
    data = opened(tmp_path, options={"classes": CLASSES, "places": ["own.npz"]})
    assert data.test.labels.tolist() == list(LABELS.values())
    assert opened(tmp_path / "own.npz").split_sha256 == data.split_sha256
    assert opened(tmp_path, root="own.npz").split_sha256 == data.split_sha256
    assert data.test.load(3).getpixel((5, 5)) == Image.open(io.BytesIO(jpeg("d"))).getpixel((5, 5))


def test_archives_are_read_once(tmp_path: Path) -> None:
    archives(tmp_path / "data")
    said: list[str] = []
    with listening(said.append):
        first = opened(tmp_path / "data", tmp_path / "cache")
        again = opened(tmp_path / "data", tmp_path / "cache")
    assert again.split_sha256 == first.split_sha256
    assert [text for text in said if "img_val.tar" in text] == said[:1]


def without_devkit(root: Path) -> None:
    archives(root)
    (root / "ILSVRC2012_devkit_t12.tar.gz").unlink()


def truncated_devkit(root: Path) -> None:
    archives(root)
    file = root / "ILSVRC2012_devkit_t12.tar.gz"
    file.write_bytes(file.read_bytes()[:60])


def one_image_less(root: Path) -> None:
    archives(root)
    with tarfile.open(root / "ILSVRC2012_img_val.tar", "w") as tar:
        add(tar, "a.JPEG", jpeg("a"))


def no_tar(root: Path) -> None:
    archives(root)
    (root / "ILSVRC2012_img_val.tar").write_bytes(b"no archive" * 100)


def another_class(root: Path) -> None:
    val_folder(root)
    put(root / "val" / "n00000004" / "x.JPEG", "x")


def a_class_without_id(root: Path) -> None:
    val_folder(root)
    put(root / "val" / "goldfish" / "x.JPEG", "x")


def a_broken_image(root: Path) -> None:
    val_folder(root)
    (root / "val" / "n00000001" / "b.JPEG").write_bytes(jpeg("b")[:100])


def a_bad_line(root: Path) -> None:
    listed(root)
    path = root / "val" / "val_annotations.txt"
    path.write_text(path.read_text() + "e.JPEG\tgoldfish\n")


def a_list_that_leads_out(root: Path) -> None:
    listed(root)
    (root / "val" / "val_annotations.txt").write_text("../../x.JPEG\tn00000001\n")


def images_elsewhere(root: Path) -> None:
    listed(root)
    (root / "val" / "images").rename(root / "elsewhere")


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        (without_devkit, r"devkit_t12\.tar\.gz: the archive is missing"),
        (truncated_devkit, r"devkit_t12\.tar\.gz: can't be read"),
        (one_image_less, "1 images, but .* the classes of 4"),
        (no_tar, r"img_val\.tar: can't be read"),
        (another_class, r"n00000004 \(of x.JPEG\) is none of its 4 classes"),
        (a_class_without_id, "'goldfish' names no WordNet id"),
        (a_broken_image, r"b\.JPEG: broken image"),
        (a_bad_line, r"val_annotations\.txt, line 5"),
        (a_list_that_leads_out, r"line 1: .* is not a path inside the data set"),
        (images_elsewhere, r"its first image, a\.JPEG, isn't there"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_is_wrong_is_named(layout: Callable[[Path], None], message: str, tmp_path: Path) -> None:
    layout(tmp_path)
    with pytest.raises(DatasetError, match=message):
        opened(tmp_path)


def test_nothing_there(tmp_path: Path) -> None:
    (tmp_path / "cats").mkdir()
    with pytest.raises(MissingDataError, match=r"not found in .*--data DIR"):
        opened(tmp_path)
    with pytest.raises(MissingDataError):
        opened(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("classes", "message"), [(("n00000002", "n00000001"), "sorted"), (("cat", "dog"), "no WordNet id")]
)
def test_classes_of_a_task_file(classes: tuple[str, ...], message: str, tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match=message):
        opened(tmp_path, options={"classes": classes})


def test_a_class_of_an_npz_without_id(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="'cat' names no WordNet id"):
        opened(npz(tmp_path / "a.npz", ("cat", "n00000001", "n00000005", "n00000009")))


def test_a_few_images_may_be_fewer_than_classes(tmp_path: Path) -> None:
    val_folder(tmp_path)
    whole, few = opened(tmp_path), open_task(task().with_limit(2), tmp_path)
    assert len(few.test) == 2
    assert few.classes == CLASSES
    assert set(zip(few.test.ids, few.test.labels, strict=True)) < set(
        zip(whole.test.ids, whole.test.labels, strict=True)
    )
    assert open_task(task().with_limit(2), tmp_path).split_sha256 == few.split_sha256


def test_imagenet_numbers_classes_as_networks_do(tmp_path: Path) -> None:
    for wnid in ("n01440764", "n15075141", "n02123045"):  # tench, toilet tissue, tabby
        put(tmp_path / "imagenet" / "val" / wnid / f"{wnid}.JPEG", wnid)
    data = open_task(load_tasks().task("imagenet"), tmp_path)
    assert len(data.classes) == 1000
    assert dict(zip(data.test.ids, data.test.labels.tolist(), strict=True)) == {
        "n01440764.JPEG": 0, "n02123045.JPEG": 281, "n15075141.JPEG": 999
    }  # fmt: skip


def test_a_task_that_learns_still_needs_as_many_images_as_classes() -> None:
    with pytest.raises(InputError, match="too few"):
        open_task(load_tasks().task("digits").with_limit(9))
