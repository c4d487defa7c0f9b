"""A trained network as files: what is in them, and what can't be exported."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from exported_runs import Done
from safetensors.torch import load_file

import sparsebench
from sparsebench import cli
from sparsebench.deploy.folder import read_folder
from sparsebench.deploy.predict import load_network
from sparsebench.schema import InputError, ResultsError, RunError
from sparsebench.store import Store

WAYS = ["sgd", "lbfgs", "ridge", "full"]


@pytest.mark.parametrize("way", WAYS)
def test_predictions_equal_those_of_the_record(done: Done, tmp_path: Path, way: str) -> None:
    key = done.key(way)
    folder = sparsebench.export(key, done.results, tmp_path / "out", tasks_dirs=done.tasks)
    kept = sparsebench.predictions(key, done.results)
    found = sparsebench.predict(folder, done.tasks / "colours")
    by_file = dict(zip(found.files.tolist(), range(len(found.files)), strict=True))
    rows = [by_file[name] for name in kept.ids.tolist()]
    assert found.predicted[rows].tolist() == kept.predicted.tolist()
    assert kept.logits is not None
    assert np.abs(found.logits[rows] - kept.logits).max() <= 2e-3 * max(1.0, np.abs(kept.logits).max())
    assert kept.classes is not None
    assert found.classes.tolist() == kept.classes.tolist()


def test_an_exported_network_is_as_sparse_as_its_backbone(done: Done, tmp_path: Path) -> None:
    folder = sparsebench.export(done.key("full"), done.results, tmp_path / "out", tasks_dirs=done.tasks)
    weights = load_file(folder / "model.safetensors")
    for name, mask in sparsebench.load("mini.acdc_s90").masks.items():
        assert not weights[name][~mask].any()
    again = sparsebench.load(folder)  # a network like any other, for the next benchmark
    assert again.info.sparsity_measured == pytest.approx(0.9, abs=1e-4)
    assert again.info.num_classes == 3
    assert again.preprocess == sparsebench.load("mini.acdc_s90").preprocess


def test_the_card_says_what_it_is_and_where_from(done: Done, tmp_path: Path) -> None:
    key = done.key("sgd")
    folder = sparsebench.export(key, done.results, tmp_path / "out", tasks_dirs=done.tasks)
    text = (folder / "README.md").read_text()
    (record,) = Store(done.results).read([key])
    assert record.scores is not None
    for part in (
        key, "mini.acdc_s90", "colours", "class0", f"{record.scores.top1:.2%}", "Over the 2 seeds", "90.00%",
        record.spec.weights_sha256, record.spec.split_sha256, "sparsebench predict", "load_state_dict",
    ):  # fmt: skip
        assert part in text, part
    config = json.loads((folder / "config.json").read_text())
    assert config["architecture"] == "mini"
    assert config["num_classes"] == 3
    assert config["pretrained_cfg"]["label_names"] == ["class0", "class1", "class2"]
    assert config["sparsebench"]["provenance"]["accuracy"]["seeds"] == 2


def test_text_from_elsewhere_does_not_shape_the_card(done: Done, tmp_path: Path) -> None:
    from sparsebench.deploy.card import card

    description = read_folder(
        sparsebench.export(done.key("sgd"), done.results, tmp_path / "out", tasks_dirs=done.tasks)
    ).description
    hostile = description.model_copy(update={"classes": ("a|b", "<b>\n# title", "c")})
    text = card(hostile)
    assert "\n# title" not in text
    assert "<b>" not in text.replace("\\<b\\>", "")


def test_a_network_that_was_not_kept_is_refused_with_what_keeps_it(done: Done, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the probe knn keeps no linear one"):
        sparsebench.export(done.key("knn"), done.results, tmp_path / "out", tasks_dirs=done.tasks)
    table = sparsebench.run(
        suite="quick", tasks_dirs=done.tasks, checkpoint="mini.acdc_s90", probe="sgd", seed=0,
        results=tmp_path / "runs", save_heads=False,
    )  # fmt: skip
    with pytest.raises(InputError, match="kept no head") as caught:
        sparsebench.export(table["run_id"].iloc[0], tmp_path / "runs", tmp_path / "out")
    assert "--overwrite always" in (caught.value.hint or "")
    (record,) = Store(done.results).read([done.key("full")])
    without = record.model_copy(update={"weights_file": None})
    from sparsebench.deploy.trained import kept_file

    with pytest.raises(InputError, match="kept no weights") as caught:
        kept_file(without, done.results)
    assert "--save-weights" in (caught.value.hint or "")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_there_is_left_alone(done: Done, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="is there already"):
        sparsebench.export(done.key("sgd"), done.results, tmp_path, tasks_dirs=done.tasks)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_head_of_another_run_is_refused(done: Done, tmp_path: Path) -> None:
    from sparsebench.deploy.trained import read_kept

    (one,) = Store(done.results).read([done.key("sgd")])
    (other,) = Store(done.results).read([done.key("ridge")])
    with pytest.raises(ResultsError, match="isn't what the run"):
        read_kept(done.results / (other.head_file or ""), one)
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"\xff" * 64)
    with pytest.raises(ResultsError, match="isn't what the run"):
        read_kept(broken, one)


def test_onnx_names_its_extra_where_it_is_missing(done: Done, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sparsebench.deploy.onnx.find_spec", lambda name: None)
    with pytest.raises(InputError, match="needs onnx and onnxruntime") as caught:
        sparsebench.export(done.key("sgd"), done.results, tmp_path / "out", tasks_dirs=done.tasks, onnx=True)
    assert "sparsebench[onnx]" in (caught.value.hint or "")
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(not find_spec("onnx") or not find_spec("onnxruntime"), reason="needs the extra onnx")
def test_onnx_gives_torchs_logits_for_any_batch(done: Done, tmp_path: Path) -> None:
    import onnxruntime

    key = done.key("full")
    folder = sparsebench.export(key, done.results, tmp_path / "out", tasks_dirs=done.tasks, onnx=True)
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    network = load_network(read_folder(folder))
    for batch in (1, 5):
        images = torch.randn(batch, 3, 32, 32)
        (found,) = session.run(None, {"images": images.numpy()})
        with torch.inference_mode():
            assert np.allclose(found, network(images).numpy(), rtol=1e-4, atol=1e-4)
    assert json.loads(session.get_modelmeta().custom_metadata_map["classes"]) == ["class0", "class1", "class2"]
    from sparsebench.deploy import onnx

    onnx._check(network, 32, (folder / "model.onnx").read_bytes())
    torch.nn.init.zeros_(network.fc.weight)
    with pytest.raises(RunError, match="differ from torch's"):
        onnx._check(network, 32, (folder / "model.onnx").read_bytes())


def test_the_command_writes_a_folder_and_names_it(
    done: Done, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    arguments = ["export-model", done.key("ridge"), "--results", str(done.results), "--out", str(out)]
    assert cli.main([*arguments, "--tasks-dir", str(done.tasks)]) == 0
    assert "sparsebench predict" in capsys.readouterr().out
    assert sorted(path.name for path in out.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    assert cli.main(["export-model", "0" * 16, "--results", str(done.results)]) == 2
    assert "has no run" in capsys.readouterr().err
