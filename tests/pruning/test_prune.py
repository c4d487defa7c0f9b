from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch

import sparsebench
from sparsebench.pruning.prune import Pruned, make_recipe, prune
from sparsebench.pruning.upstream import UpstreamData
from sparsebench.schema import InputError, RunError


def train(data: UpstreamData, out: Path, method: str = "acdc", **more: object) -> Pruned:
    choices = {"epochs": 10, "batch_size": 16, "distribution": "global"} | more
    init = choices.pop("init", None)
    report = choices.pop("report", None)
    sparsity = float(choices.pop("sparsity", 0.0 if method == "dense" else 0.8))  # type: ignore[arg-type]
    recipe = make_recipe(method, sparsity, data, init=init, **choices)  # type: ignore[arg-type]
    return prune(recipe, data, out, init=init, command="sparsebench prune ...", report=report)  # type: ignore[arg-type]


def test_acdc_makes_a_loadable_sparse_file_a_log_and_a_twin(upstream: UpstreamData, tmp_path: Path) -> None:
    made = train(upstream, tmp_path / "mini.acdc_s80.safetensors")
    backbone = sparsebench.load(made.path, head=True)
    assert backbone.info.checkpoint.method == "acdc"
    assert backbone.info.mask_source == "file"
    assert set(backbone.masks) == {n for n, p in backbone.module.named_parameters() if p.ndim > 1} - {
        "conv1.weight",
        "fc.weight",
    }
    total = sum(m.numel() for m in backbone.masks.values())
    assert sum(int((~m).sum()) for m in backbone.masks.values()) == round(0.8 * total)
    assert made.twin is not None
    twin = sparsebench.load(made.twin)
    assert twin.info.checkpoint.method == "dense"
    assert twin.masks == {}
    with made.log.open() as handle:
        log = list(csv.DictReader(handle))
    assert [int(line["epoch"]) for line in log] == list(range(10))
    assert float(log[-1]["sparsity"]) == pytest.approx(0.8, abs=1e-4)
    assert not made.path.with_suffix(".resume").exists()


def test_an_interrupted_training_goes_on_to_the_same_checkpoint(upstream: UpstreamData, tmp_path: Path) -> None:
    whole = train(upstream, tmp_path / "whole.safetensors")

    def stop(kind: str, values: dict[str, object]) -> None:
        if kind == "step" and values["done"] == 23:  # in the middle of the sixth epoch
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(upstream, tmp_path / "parts.safetensors", report=stop)
    assert (tmp_path / "parts.resume").exists()
    parts = train(upstream, tmp_path / "parts.safetensors")
    a, b = sparsebench.load(whole.path), sparsebench.load(parts.path)
    assert a.info.weights_sha256 == b.info.weights_sha256
    assert a.info.mask_sha256 == b.info.mask_sha256
    assert whole.twin is not None
    assert parts.twin is not None
    assert sparsebench.load(whole.twin).info.weights_sha256 == sparsebench.load(parts.twin).info.weights_sha256


def test_a_resume_with_other_arguments_is_refused(upstream: UpstreamData, tmp_path: Path) -> None:
    def stop(kind: str, values: dict[str, object]) -> None:
        if kind == "epoch":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(upstream, tmp_path / "a.safetensors", report=stop)
    with pytest.raises(InputError, match=r"other arguments: lr was 0\.2, is 0\.1, seed was 0, is 4"):
        train(upstream, tmp_path / "a.safetensors", lr=0.1, seed=4)
    (tmp_path / "a.resume").write_bytes(b"garbage")
    with pytest.raises(sparsebench.SparsebenchError, match="can't be resumed from"):
        train(upstream, tmp_path / "a.safetensors")


def test_gmp_starts_from_dense_weights(upstream: UpstreamData, tmp_path: Path) -> None:
    dense = train(upstream, tmp_path / "dense.safetensors", "dense", epochs=2)
    with pytest.raises(InputError, match="give them with --init"):
        train(upstream, tmp_path / "gmp.safetensors", "gmp")
    gmp = train(upstream, tmp_path / "gmp.safetensors", "gmp", epochs=2, init=dense.path, sparsity=0.5)
    assert sparsebench.load(gmp.path).info.sparsity_measured == pytest.approx(0.5, abs=1e-5)
    stem = [sparsebench.load(p).module.conv1.weight for p in (dense.path, gmp.path)]
    assert torch.nn.functional.cosine_similarity(stem[0].flatten(), stem[1].flatten(), 0) > 0.9


def test_a_diverging_loss_stops_with_the_step_and_keeps_the_last_state(upstream: UpstreamData, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"the loss is (nan|inf) at step \d+ .*lower --lr"):
        train(upstream, tmp_path / "a.safetensors", "dense", lr=1e12, epochs=20)
    assert not (tmp_path / "a.safetensors").exists()
