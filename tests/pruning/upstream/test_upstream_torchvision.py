from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import datasets

from sparsebench.pruning.upstream import UpstreamData, open_upstream
from sparsebench.schema import DatasetError, UnknownNameError

SIZE = 12
COLOURS = {"red": (200, 0, 0), "green": (0, 200, 0), "blue": (0, 0, 200)}


def picture(place: Path, colour: str) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (SIZE, SIZE), COLOURS[colour]).save(place)


def colours_of(images: Any) -> list[str]:
    """Name the colour that each image has."""
    names = {colour: name for name, colour in COLOURS.items()}
    return [names[tuple(pixel)] for pixel in images[0 : len(images)][:, 0, 0].tolist()]


def fits(data: UpstreamData) -> None:
    """Check that every image has the colour that its class is named after."""
    for images, labels in ((data.train_images, data.train_labels), (data.val_images, data.val_labels)):
        assert colours_of(images) == [data.classes[label] for label in labels.tolist()]


def test_a_set_with_a_train_flag(tmp_path: Path) -> None:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    pixels = {}
    for split, count in (("train", 30), ("t10k", 20)):
        labels = (np.arange(count) % 10).astype(np.uint8)
        pixels[split] = np.random.default_rng(count).integers(0, 256, (count, 28, 28), dtype=np.uint8)
        header = struct.pack(">4BI", 0, 0, 8, 1, count)
        (raw / f"{split}-labels-idx1-ubyte").write_bytes(header + labels.tobytes())
        header = struct.pack(">4B3I", 0, 0, 8, 3, count, 28, 28)
        (raw / f"{split}-images-idx3-ubyte").write_bytes(header + pixels[split].tobytes())
    data = open_upstream(f"torchvision:MNIST:{tmp_path}", 28)
    assert data.name == "MNIST"
    assert data.classes[:2] == ("0 - zero", "1 - one")
    assert data.train_labels.tolist() == [i % 10 for i in range(30)]
    for images, split in ((data.train_images, "train"), (data.val_images, "t10k")):
        assert np.array_equal(images[0 : len(images)].numpy(), pixels[split][..., None].repeat(3, 3))
    lazy = open_upstream(f"torchvision:MNIST:{tmp_path}", 28, memory_limit=0)
    assert torch.equal(lazy.train_images[0:30], torch.as_tensor(data.train_images[0:30]))


def test_a_set_of_folders_validates_on_valid_rather_than_test(tmp_path: Path) -> None:
    for split, count in (("train", 3), ("valid", 2), ("test", 4)):
        for colour in COLOURS:
            for i in range(count):
                picture(tmp_path / "country211" / split / colour / f"{i}.png", colour)
    data = open_upstream(f"torchvision:Country211:{tmp_path}", SIZE)
    assert data.classes == ("blue", "green", "red")
    assert (len(data.train_images), len(data.val_images)) == (9, 6)
    fits(data)


def test_a_set_without_validation_images_validates_on_its_test_images(tmp_path: Path) -> None:
    root = tmp_path / "food-101"
    for split, count in (("train", 3), ("test", 2)):
        listed = {colour: [f"{colour}/{split}{i}" for i in range(count)] for colour in COLOURS}
        for colour, names in listed.items():
            for name in names:
                picture(root / "images" / f"{name}.jpg", colour)
        (root / "meta").mkdir(exist_ok=True)
        (root / "meta" / f"{split}.json").write_text(json.dumps(listed))
    data = open_upstream(f"torchvision:Food101:{tmp_path}", SIZE)
    assert data.classes == ("blue", "green", "red")
    assert (len(data.train_images), len(data.val_images)) == (9, 6)
    strongest = {"red": 0, "green": 1, "blue": 2}
    for images, labels in ((data.train_images, data.train_labels), (data.val_images, data.val_labels)):
        channels = images[0 : len(images)].long().argmax(3)[:, 6, 6].tolist()
        assert channels == [strongest[data.classes[label]] for label in labels.tolist()]


def test_a_set_that_lists_its_files(tmp_path: Path) -> None:
    root = tmp_path / "dtd" / "dtd"
    for split in ("train", "val", "test"):
        lines = []
        for i in range(2):
            for colour in COLOURS:
                picture(root / "images" / colour / f"{split}{i}.png", colour)
                lines.append(f"{colour}/{split}{i}.png")
        (root / "labels").mkdir(exist_ok=True)
        (root / "labels" / f"{split}1.txt").write_text("\n".join(lines))
    data = open_upstream(f"torchvision:DTD:{tmp_path}", SIZE)
    assert data.train_labels.tolist() == [2, 1, 0, 2, 1, 0]
    fits(data)


class Small:
    """A data set in torchvision's manner: two images of each colour per split, red, green, blue, red, ..."""

    classes: ClassVar[Sequence[Any]] = ("red", "green", "blue")
    numbers: ClassVar[tuple[int, ...]] = (0, 1, 2)
    count: ClassVar[int] = 6

    def __init__(
        self,
        root: Path,
        split: str = "train",
        transform: Callable[[Any], Any] | None = None,
        target_transform: Callable[[Any], Any] | None = None,
        download: bool = False,
    ) -> None:
        assert not download
        if split not in ("train", "val"):
            raise ValueError(f"Unknown value '{split}' for argument split. Valid values are {{'train', 'val'}}.")
        self.root, self.split = root, split

    def __len__(self) -> int:
        return self.count

    def image(self, i: int) -> Any:
        return Image.new("RGB", (SIZE, SIZE), list(COLOURS.values())[i % 3])

    def label(self, i: int) -> Any:
        return self.numbers[i % 3]

    def __getitem__(self, i: int) -> Any:
        return self.image(i), self.label(i)


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., UpstreamData]:
    """Opens a class as if torchvision had it under the name Small."""

    def opening(reader: type[Any], **options: Any) -> UpstreamData:
        monkeypatch.setattr(datasets, "Small", reader, raising=False)
        monkeypatch.setattr(datasets, "__all__", (*datasets.__all__, "Small"))
        return open_upstream(f"torchvision:Small:{tmp_path}", SIZE, **options)

    return opening


def test_labels_that_a_set_lists_are_taken_without_decoding_every_image(opened: Callable[..., UpstreamData]) -> None:
    decoded: list[int] = []

    class Listed(Small):
        count = 60
        targets = (0, 1, 2) * 20

        def image(self, i: int) -> Any:
            decoded.append(i)
            return super().image(i)

    data = opened(Listed, memory_limit=0)
    assert len(decoded) < 10
    assert data.train_labels.tolist() == [0, 1, 2] * 20
    fits(data)


@pytest.mark.parametrize("attribute", ["targets", "labels", "_labels"])
@pytest.mark.parametrize(
    "listed",
    [[0, 1, 2, 0, 1, 2], np.array([0, 1, 2, 0, 1, 2], np.uint8), torch.tensor([0, 1, 2] * 2)],
    ids=["list", "array", "tensor"],
)
def test_labels_may_be_listed_in_any_way(attribute: str, listed: Any, opened: Callable[..., UpstreamData]) -> None:
    data = opened(type("Listed", (Small,), {attribute: listed}))
    assert data.val_labels.dtype == torch.int64
    fits(data)


@pytest.mark.parametrize(
    "listed",
    [[2, 0, 1, 2, 0, 1], [0, 1, 2], [[0, 1]] * 6, ["red", "green", "blue"] * 2, [0.0, 1.0, 2.0] * 2],
    ids=["others", "fewer", "pairs", "names", "floats"],
)
def test_listed_labels_that_are_not_the_items_are_left_aside(listed: Any, opened: Callable[..., UpstreamData]) -> None:
    reports: list[tuple[int, int]] = []
    data = opened(
        type("Listed", (Small,), {"targets": listed}), report=lambda *pair: reports.append(pair), memory_limit=0
    )
    assert data.train_labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert (6, 6) in reports
    fits(data)


def test_classes_without_names_are_named_by_their_numbers(opened: Callable[..., UpstreamData]) -> None:
    data = opened(type("Nameless", (Small,), {"classes": (), "numbers": (7, 3, 12)}))
    assert data.classes == ("3", "7", "12")
    assert data.train_labels.tolist() == [1, 0, 2, 1, 0, 2]
    assert data.val_labels.tolist() == [1, 0, 2, 1, 0, 2]


def test_a_class_of_several_names_keeps_them(opened: Callable[..., UpstreamData]) -> None:
    data = opened(type("Named", (Small,), {"classes": [("tench", "Tinca tinca"), ("b",), ("c",)]}))
    assert data.classes == ("tench, Tinca tinca", "b", "c")


@pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK", "P"])
def test_images_of_any_mode_become_rgb(mode: str, opened: Callable[..., UpstreamData]) -> None:
    white = Image.new("RGB", (SIZE, SIZE), "white").convert(mode)
    data = opened(type("Modes", (Small,), {"image": lambda self, i: white}))
    assert (data.train_images[0:6] == 255).all()


def fail(self: Small, i: int) -> Any:
    raise OSError("image file is truncated")


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a broken image": ({"image": fail}, "Small train image 0 can't be decoded: image file is truncated"),
    "tensors": (
        {"image": lambda self, i: torch.zeros(3, 2, 2)},
        "Small train holds no images but Tensor .give a folder with train/ and val/ instead",
    ),
    "boxes": ({"label": lambda self, i: {"box": 1}}, "Small train: item 0 is not an image and the number of its class"),
    "no pairs": ({"__getitem__": lambda self, i: self.image(i)}, "item 0 is not an image and the number"),
    "no images": ({"count": 0}, "torchvision Small train has no images"),
    "labels beyond the classes": ({"numbers": (0, 1, 3)}, "the train label 3 is none of the 3 classes"),
    "an unused class": ({"numbers": (0, 1, 1)}, "no train images of 'blue'"),
    "one class": ({"numbers": (0, 0, 0), "classes": ["red"]}, r"has 1 class\(es\)"),
    "pixels that can't be": (
        {"image": lambda self, i: Image.new("F", (SIZE, SIZE))},
        "train image 0 can't be decoded: mode F",
    ),
}


@pytest.mark.parametrize("problem", WRONG)
def test_a_set_that_cannot_be_trained_on_is_refused(problem: str, opened: Callable[..., UpstreamData]) -> None:
    change, message = WRONG[problem]
    with pytest.raises(DatasetError, match=message):
        opened(type("Wrong", (Small,), change))


def test_a_broken_image_is_named_when_it_is_decoded_on_demand(opened: Callable[..., UpstreamData]) -> None:
    class Broken(Small):
        targets = (0, 1, 2, 0, 1, 2)

        def image(self, i: int) -> Any:
            return fail(self, i) if i == 1 and self.split == "val" else super().image(i)

    data = opened(Broken, memory_limit=0)
    assert len(data.train_images[0:6]) == 6
    with pytest.raises(DatasetError, match="torchvision Small val image 1 can't be decoded"):
        data.val_images[0:6]


def test_a_set_without_splits_of_known_names_is_refused(opened: Callable[..., UpstreamData]) -> None:
    class Odd(Small):
        def __init__(
            self, root: Path, split: str = "east", transform: Any = None, target_transform: Any = None
        ) -> None:
            if split not in ("train", "west"):
                raise ValueError(f"Unknown value '{split}' for argument split.")
            super().__init__(root)

    with pytest.raises(DatasetError, match=r"Small has none of the splits val, valid, test .give a folder"):
        opened(Odd)


@pytest.mark.parametrize("name", ["FakeData", "EuroSAT", "ImageFolder", "VOCSegmentation", "CocoDetection", "EMNIST"])
def test_sets_without_classes_or_splits_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=f"torchvision's {name} is not a set of classes with train and val splits"):
        open_upstream(f"torchvision:{name}:{tmp_path}", SIZE)


@pytest.mark.parametrize("spec", ["torchvision:", "torchvision:CIFAR10", "torchvision:CIFAR10:", "torchvision::data"])
def test_a_specification_that_lacks_a_part_is_refused(spec: str) -> None:
    with pytest.raises(
        DatasetError, match=r"is not torchvision:NAME:FOLDER .for example torchvision:CIFAR10:data/cifar"
    ):
        open_upstream(spec, SIZE)


def test_an_unknown_set_is_refused_naming_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown torchvision data set 'CIFAR01' .did you mean CIFAR10"):
        open_upstream(f"torchvision:CIFAR01:{tmp_path}", SIZE)
    with pytest.raises(UnknownNameError, match="unknown torchvision data set 'vision'"):
        open_upstream(f"torchvision:vision:{tmp_path}", SIZE)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"torchvision CIFAR10: there is no folder .*none"):
        open_upstream(f"torchvision:CIFAR10:{tmp_path / 'none'}", SIZE)


@pytest.mark.parametrize(
    "name", ["CIFAR10", "MNIST", "Country211", "Food101", "DTD", "SVHN", "Flowers102", "Imagenette"]
)
def test_incomplete_files_are_refused_and_nothing_is_fetched(name: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=rf"torchvision {name} can't be opened in .*put its files there"):
        open_upstream(f"torchvision:{name}:{tmp_path}", SIZE)
    assert not [place for place in tmp_path.rglob("*") if place.is_file()]


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for name in ("data_batch_1", "test_batch", "batches.meta"):
        (folder / name).write_bytes(b"garbage")
    with pytest.raises(DatasetError, match=r"torchvision CIFAR10 can't be opened in .*corrupted"):
        open_upstream(f"torchvision:CIFAR10:{tmp_path}", SIZE)
