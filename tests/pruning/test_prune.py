from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from trainings import (
    COMMAND,
    ENDS,
    EPOCH,
    QUICK,
    accuracy,
    log_lines,
    mini_weights,
    names,
    pruned,
    sparse,
    start_from,
    train,
)

import sparsebench
from sparsebench.common.files import sha256_file
from sparsebench.models import backbones
from sparsebench.models.formats import read_checkpoint
from sparsebench.pruning.initial import Initial
from sparsebench.pruning.methods import get_method, methods
from sparsebench.pruning.prune import make_recipe, output_paths, prune
from sparsebench.pruning.trainer import LOG_COLUMNS, Hardware
from sparsebench.pruning.upstream import UpstreamData
from sparsebench.schema import InputError


def test_acdc_leaves_a_loadable_sparse_file_a_log_and_a_dense_twin(upstream: UpstreamData, tmp_path: Path) -> None:
    events: list[tuple[str, Any]] = []

    def report(kind: str, values: dict[str, Any]) -> None:
        events.append((kind, values["done"] if kind == "step" else values["epoch"]))
        assert kind == "epoch" or values["total"] == 5 * EPOCH

    out = tmp_path / "mini.acdc_s80.safetensors"
    result = train(upstream, out, epochs=5, report=report)
    twin, made = result.made
    assert (twin.path.name, twin.sparsity) == ("mini.acdc_s80_dense.safetensors", 0.0)
    assert (made.path, made.sparsity) == (out, 0.8)
    assert names(tmp_path) == {out.name, twin.path.name, result.log.name}

    backbone = sparsebench.load(out, head=True)
    assert backbone.info.checkpoint.method == "acdc"
    assert backbone.info.mask_source == "file"
    assert set(backbone.masks) == set(mini_weights()) - {"conv1.weight", "fc.weight"}
    total = sum(mask.numel() for mask in backbone.masks.values())
    assert pruned(out) == round(0.8 * total)
    loaded = sparsebench.load(twin.path)
    assert loaded.info.checkpoint.method == "dense"
    assert loaded.masks == {}
    assert loaded.info.sparsity.scope("prunable") < 0.01

    lines = log_lines(result.log)
    assert tuple(lines[0]) == LOG_COLUMNS
    assert [int(line["epoch"]) for line in lines] == list(range(5))
    assert [int(line["step"]) for line in lines] == [EPOCH * k for k in range(1, 6)]
    assert float(lines[-1]["sparsity"]) == pytest.approx(0.8, abs=1e-6)
    assert lines[-1]["phase"] == "sparse"
    assert [value for kind, value in events if kind == "step"] == list(range(1, 5 * EPOCH + 1))
    assert [value for kind, value in events if kind == "epoch"] == list(range(5))


@pytest.mark.parametrize(
    ("method", "epochs"),
    [("magnitude", 0), pytest.param("lth", 3, marks=pytest.mark.slow), pytest.param("cram", 2, marks=pytest.mark.slow)],
)
def test_one_training_leaves_a_file_for_each_sparsity_that_says_what_it_is(
    method: str, epochs: int, upstream: UpstreamData, dense: Path, tmp_path: Path
) -> None:
    init = start_from(method, dense)
    initial = None if init is None else Initial.read(init)
    out = tmp_path / "mini.x.safetensors"
    recipe = make_recipe(method, (0.9, 0.8), upstream, init=initial, epochs=epochs, batch_size=16, seed=3)
    result = prune(recipe, upstream, out, init=initial, command=COMMAND)
    twin = ["mini.x_dense"] if method == "cram" else []
    files = [f"{stem}.safetensors" for stem in (*twin, "mini.x_s80", "mini.x_s90")]
    assert [made.path.name for made in result.made] == files
    assert [made.sparsity for made in result.made] == [0.0] * len(twin) + [0.8, 0.9]
    assert names(tmp_path) == {*files, "mini.x.log.csv"}
    prunable = sum(w.numel() for n, w in mini_weights().items() if n.removesuffix(".weight") not in ENDS)
    for made in result.made:
        meta = read_checkpoint(made.path).meta
        assert meta["arch"] == "mini"
        assert meta["method"] == (method if made.sparsity else "dense")
        assert meta["sparsity"] == made.sparsity
        assert meta["sparsity_scope"] == "prunable"
        assert meta["distribution"] == ("global" if made.sparsity else "dense")
        assert meta["nm"] is None
        assert meta["exempt"] == list(ENDS)
        assert meta["classes"] == ["a", "b", "c", "d"]
        assert meta["recipe"] == json.loads(json.dumps(dataclasses.asdict(recipe)))
        assert (meta["recipe"]["sparsities"], meta["recipe"]["seed"]) == ([0.8, 0.9], 3)
        assert meta["recipe"]["init_sha256"] == (sha256_file(init) if init else None)
        assert meta["command"] == COMMAND
        assert meta["upstream"] == {"dataset": "noise", "top1": made.top1}
        assert made.top1 == pytest.approx(accuracy(made.path, upstream))
        assert pruned(made.path) == round(made.sparsity * prunable)
    low, high = (sparse(made.path)[1] for made in result.made[-2:])
    assert not any(bool((high[name] & ~low[name]).any()) for name in high)  # what 90 % keeps, 80 % keeps
    origin = read_checkpoint(init or result.made[0].path).state
    for made in result.made[-2:]:
        raw, kept = sparse(made.path)
        for name, value in raw.state.items():
            if name in kept:
                assert torch.equal(value, origin[name] * kept[name])
            elif method == "lth" or not name.endswith(("running_mean", "running_var", "num_batches_tracked")):
                # the others estimate batch norm's statistics anew
                assert torch.equal(value, origin[name])


def test_a_single_sparsity_is_the_file_itself(upstream: UpstreamData, dense: Path, tmp_path: Path) -> None:
    for sparsities in ((0.8,), (0.8, 0.8)):
        out = tmp_path / str(len(sparsities)) / "mini.safetensors"
        result = train(upstream, out, "magnitude", sparsities, init=dense)
        assert [(made.path, made.sparsity) for made in result.made] == [(out, 0.8)]


@given(st.sets(st.integers(1000, 9999), min_size=2), st.sampled_from(["lth", "cram"]))
def test_no_two_sparsities_share_a_file(parts: set[int], method: str) -> None:
    sparsities = [part / 10_000 for part in parts]
    paths = output_paths(Path("here") / "mini.safetensors", get_method(method), sparsities)
    assert set(paths) == {*sparsities, *([0.0] if method == "cram" else [])}
    assert len({*paths.values(), Path("here") / "mini.safetensors"}) == len(paths) + 1
    assert {path.parent for path in paths.values()} == {Path("here")}
    assert {path.suffix for path in paths.values()} == {".safetensors"}


@pytest.mark.parametrize("method", [name for name, method in methods().items() if method.start == "dense"])
def test_methods_from_dense_weights_need_them(method: str, upstream: UpstreamData, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"method {method} starts from trained dense weights .*--init"):
        train(upstream, tmp_path / "a.safetensors", method)
    assert names(tmp_path) == set()


@pytest.mark.parametrize(
    "method", ["gmp", *(pytest.param(name, marks=pytest.mark.slow) for name in ("woodfisher", "mfac"))]
)
def test_methods_from_dense_weights_use_them(method: str, upstream: UpstreamData, dense: Path, tmp_path: Path) -> None:
    settings = {} if method == "gmp" else QUICK | {"damp": 1.0}
    made = train(
        upstream, tmp_path / "a.safetensors", method, (0.2,), init=dense, epochs=1, lr=1e-6, settings=settings
    ).made[0]
    (raw, kept), origin = sparse(made.path), read_checkpoint(dense).state
    for name, value in raw.state.items():
        if value.ndim > 1:
            expected = origin[name] * kept[name] if name in kept else origin[name]
            assert float((value - expected).norm() / expected.norm()) < 0.05


def test_a_sparsity_of_all_parameters_counts_every_parameter(
    upstream: UpstreamData, dense: Path, tmp_path: Path
) -> None:
    exempt = (*ENDS, "layer4.0.conv2")
    result = train(
        upstream, tmp_path / "a.safetensors", "magnitude", (0.2, 0.5), init=dense, scope="all_params", exempt=exempt
    )
    total = sum(p.numel() for p in backbones.build(backbones.find("mini")[0], 4).parameters())
    for made, sparsity in zip(result.made, (0.2, 0.5), strict=True):
        raw, kept = sparse(made.path)
        assert made.sparsity == raw.meta["sparsity"] == sparsity
        assert raw.meta["sparsity_scope"] == "all_params"
        assert raw.meta["exempt"] == list(exempt)
        assert pruned(made.path) == round(sparsity * total)
        assert "layer4.0.conv2.weight" not in kept
        stored = sum(int((value == 0).sum()) for value in raw.state.values() if value.ndim > 1)
        assert stored == round(sparsity * total)


def test_a_pattern_holds_in_every_group_of_the_written_file(upstream: UpstreamData, tmp_path: Path) -> None:
    result = train(upstream, tmp_path / "a.safetensors", "acdc", (0.5,), distribution="nm", nm=(2, 4))
    raw, kept = sparse(result.made[-1].path)
    assert set(kept) == set(mini_weights()) - {"conv1.weight", "fc.weight"}
    for name in kept:
        groups = (raw.state[name] != 0).movedim(1, -1).unflatten(-1, (-1, 4)).sum(-1)
        assert groups.unique().tolist() == [2]
    assert (raw.meta["nm"], raw.meta["distribution"], raw.meta["sparsity"]) == ("2:4", "nm", 0.5)
    twin = read_checkpoint(result.made[0].path).meta
    assert (twin["nm"], twin["distribution"], twin["sparsity"]) == (None, "dense", 0.0)
    assert sparsebench.load(result.made[-1].path).info.checkpoint.nm == "2:4"


@pytest.mark.slow
def test_bf16_trains(upstream: UpstreamData, tmp_path: Path) -> None:
    results = [
        train(upstream, tmp_path / name / "a.safetensors", epochs=3, hardware=Hardware(precision=name))
        for name in ("fp32", "bf16")
    ]
    full, low = (sparse(result.made[-1].path)[0] for result in results)
    assert low.meta["recipe"] == full.meta["recipe"]
    difference = float((full.state["conv1.weight"] - low.state["conv1.weight"]).norm())
    assert 0 < difference < 0.5 * float(full.state["conv1.weight"].norm())
    low_file = results[1].made[-1]
    assert low_file.top1 == pytest.approx(accuracy(low_file.path, upstream))
    assert low_file.top1 > 0.5  # of four classes
    assert pruned(low_file.path) == pruned(results[0].made[-1].path)
    loss = [float(line["train_loss"]) for line in log_lines(results[1].log)]
    assert loss[-1] < loss[0]
