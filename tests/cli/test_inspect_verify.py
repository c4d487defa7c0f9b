"""``inspect --verify``: whether a published accuracy holds, in words, as JSON, and by the exit status."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from made_up_images import own_images
from sparsebench import cli
from sparsebench.registry import load_registry

COUNT = 12


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return own_images(tmp_path / "data", COUNT)


def registered(folder: Path, claimed: float | None) -> list[str]:
    """Return the options that know the embedded dense network under another name and claim, on all of the images."""
    entry = load_registry().checkpoint("mini.dense")
    fields = entry.model_dump(mode="json", exclude_none=True, exclude={"id"})
    fields["upstream"] = {"dataset": "tiny-imagenet-32", "classes": 200} | (
        {} if claimed is None else {"top1": claimed}
    )
    (folder / "more.yaml").write_text(yaml.safe_dump({"mini.again": fields}))
    task = load_registry().task("tinyimagenet32")
    (folder / "tasks").mkdir()
    own = task.model_dump(mode="json", exclude_none=True, exclude={"limit"}) | {"id": "own", "published_images": COUNT}
    (folder / "tasks" / "own.yaml").write_text(yaml.safe_dump(own))
    return ["--registry", str(folder / "more.yaml"), "--tasks-dir", str(folder / "tasks"), "--task", "own"]


@pytest.mark.parametrize(
    ("claimed", "claim", "status"), [(0.0, "holds", 0), (0.9, "too high", 1), (None, "no claim", 0)]
)
def test_the_verdict(
    claimed: float | None, claim: str, status: int, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = registered(tmp_path, claimed)
    assert cli.main(["inspect", "mini.again", "--verify", "--json", "--data", str(data), *own]) == status
    found = json.loads(capsys.readouterr().out)["verification"]
    assert (found["claim"], found["claimed"], found["images"]) == (claim, claimed, COUNT)
    assert found["low"] <= found["top1"] <= found["high"]
    assert (found["classes"], found["classes_present"]) == (200, COUNT)
    assert f"measured on {COUNT} images of {COUNT} of 200 classes" in found["verdict"]


def test_a_part_of_the_images_decides_nothing(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["inspect", "mini.acdc_s90", "--verify", "--data", str(data / "tiny-imagenet-32.npz")]) == 0
    assert "the published 26.43 % can be neither confirmed nor refuted: it is about 10,000 images" in (
        capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mini.dense", "--task", "tinyimagenet32"], "add --verify"),
        (["mini.dense", "--verify", "--task", "digits"], "'digits' is no checkpoint's own"),
        (["mini.dense", "--verify", "--task", "imagenet"], "was trained on tiny-imagenet-32"),
        (["vit_b_16.superblock_dense", "--verify"], "trained on imagenet-1k-blurred: there is no task"),
    ],
)
def test_what_can_not_be_verified(
    arguments: list[str], message: str, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["inspect", *arguments, "--data", str(data)]) == 2
    assert message in capsys.readouterr().err
