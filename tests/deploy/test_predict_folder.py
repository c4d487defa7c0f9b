"""An exported network on a folder of images."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from exported_runs import Done
from PIL import Image

import sparsebench
from sparsebench import cli
from sparsebench.schema import InputError


@pytest.fixture(scope="module")
def model(done: Done, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("model") / "out"
    return sparsebench.export(done.key("lbfgs"), done.results, out, tasks_dirs=done.tasks)


@pytest.fixture
def images(done: Done, tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    (folder / "inside").mkdir(parents=True)
    for number, place in enumerate(("a.png", "inside/b.png")):
        (folder / place).write_bytes((done.tasks / "colours" / f"class{number}" / "0.png").read_bytes())
    (folder / "notes.txt").write_text("no image")
    return folder


def test_files_are_named_and_classified(model: Path, images: Path) -> None:
    found = sparsebench.predict(model, images)
    assert found.files.tolist() == ["a.png", "inside/b.png"]
    assert found.names.tolist() == ["class0", "class1"]
    assert found.logits.shape == (2, 3)
    expected = np.exp(found.logits).max(axis=1) / np.exp(found.logits).sum(axis=1)
    assert np.allclose(found.scores, expected)
    assert found.broken == {}
    frame = found.frame()
    assert frame.columns.tolist() == ["file", "class", "index", "score"]
    one = sparsebench.predict(model, images / "inside" / "b.png")
    assert one.files.tolist() == ["b.png"]
    assert np.allclose(one.logits, found.logits[1:], atol=1e-4)


def test_images_of_any_size_and_mode(model: Path, tmp_path: Path) -> None:
    for number, (mode, size) in enumerate([("L", (70, 40)), ("RGBA", (32, 90)), ("P", (33, 33)), ("RGB", (5, 5))]):
        Image.new(mode, size, 100 if mode != "RGBA" else (9, 9, 9, 9)).save(tmp_path / f"{number}.png")
    found = sparsebench.predict(model, tmp_path, batch=3)
    assert len(found.files) == 4
    assert np.isfinite(found.logits).all()


def test_batches_do_not_change_the_classes(done: Done, model: Path) -> None:
    whole = sparsebench.predict(model, done.tasks / "colours", batch=64)
    parts = sparsebench.predict(model, done.tasks / "colours", batch=5)
    assert whole.predicted.tolist() == parts.predicted.tolist()
    assert np.allclose(whole.logits, parts.logits, atol=1e-3)


def test_broken_images_are_named_and_the_others_go_on(
    model: Path, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (images / "broken.png").write_bytes((images / "a.png").read_bytes()[:60])
    (images / "empty.jpg").write_bytes(b"")
    assert cli.main(["predict", str(model), str(images), "--json"]) == 1
    printed = capsys.readouterr()
    document = json.loads(printed.out)
    assert [row["file"] for row in document["predictions"]] == ["a.png", "inside/b.png"]
    assert sorted(document["broken"]) == ["broken.png", "empty.jpg"]
    assert "broken.png" in printed.err
    assert "2 of 4 files" in printed.err


def test_all_images_broken(model: Path, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"nothing")
    found = sparsebench.predict(model, tmp_path)
    assert list(found.broken) == ["a.jpg"]
    assert len(found.scores) == len(found.frame()) == 0


def test_a_table_and_a_csv_file(model: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["predict", str(model), str(images)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["FILE", "CLASS", "SCORE"]
    assert lines[1].split()[:2] == ["a.png", "class0"]
    assert cli.main(["predict", str(model), str(images), "--out", str(tmp_path / "rows.csv")]) == 0
    with (tmp_path / "rows.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["class"] for row in rows] == ["class0", "class1"]
    assert capsys.readouterr().out == ""


def test_what_is_no_exported_network_is_refused(model: Path, images: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no folder"):
        sparsebench.predict(tmp_path / "gone", images)
    with pytest.raises(InputError, match=r"holds no config\.json"):
        sparsebench.predict(images, images)
    (tmp_path / "config.json").write_text('{"architecture": "resnet18"}')
    with pytest.raises(InputError, match="doesn't describe"):
        sparsebench.predict(tmp_path, images)
    with pytest.raises(InputError, match="holds no image"):
        sparsebench.predict(model, model)
    with pytest.raises(InputError, match="there is no folder"):
        sparsebench.predict(model, tmp_path / "gone")


def test_changed_weights_are_refused(model: Path, images: Path, tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((model / name).read_bytes())
    with (tmp_path / "model.safetensors").open("ab") as file:
        file.write(b"x")
    with pytest.raises(InputError, match="is not the file that was exported"):
        sparsebench.predict(tmp_path, images)
    document = json.loads((model / "config.json").read_text())
    document["sparsebench"]["weights"]["name"] = "../model.safetensors"
    (tmp_path / "config.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match="outside of its folder"):
        sparsebench.predict(tmp_path, images)
