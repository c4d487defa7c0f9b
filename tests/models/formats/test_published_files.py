"""Files in published layouts give the published network: its logits, its masks, its sparsity."""

from __future__ import annotations

import argparse
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from reference import FORWARD, State, images, random_state
from torch import Tensor

import sparsebench
from sparsebench.models.backbone import Backbone
from sparsebench.models.formats import read_checkpoint
from sparsebench.models.loading import load_entry
from sparsebench.registry import load_registry
from sparsebench.schema import Checkpoint, CheckpointError, FileSource

ARCH = {"resnet50_rigl": "resnet50_rigl", "resnet50": "resnet50", "resnet50_str": "resnet50"}


def large(published: str) -> Any:
    """Try this network with the slow tests: a smaller one, or one like it, is tried always."""
    return pytest.param(published, marks=pytest.mark.slow)


def weights_of(state: State) -> list[str]:
    return [name for name, value in state.items() if value.ndim > 1 and name.endswith("weight")]


def sparsify(state: State, sparsity: float) -> State:
    """Zero random weights in place; return the masks."""
    generator = torch.Generator().manual_seed(5)
    masks = {name: torch.rand(state[name].shape, generator=generator) >= sparsity for name in weights_of(state)}
    for name, mask in masks.items():
        state[name] = state[name] * mask
    return masks


def wrap(state: State, masks: State) -> State:
    """Return the state dict of IST's wrapped layers; masked weights keep some value, as after a forward pass."""
    wrapped: State = OrderedDict()
    for name, value in state.items():
        layer, _, kind = name.rpartition(".")
        if f"{layer}.weight" in masks:
            wrapped[f"{layer}._layer.{kind}"] = value
            mask = masks[name] if kind == "weight" else torch.ones_like(value)
            wrapped[f"{layer}._{kind}_mask"] = mask.float()
        else:
            wrapped[name] = value
    return wrapped


def logits(path: Path, size: int = 64) -> tuple[Tensor, Backbone]:
    backbone = sparsebench.load(path, head=True)
    with torch.inference_mode():
        return backbone.module(images(size)), backbone


def assert_same(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5 * float(theirs.abs().max()))


@pytest.mark.parametrize(
    "published", [large(name) if name in ("resnet50", "resnet50_rigl", "resnet50_str") else name for name in FORWARD]
)
def test_wrapped_layers_keep_masks_and_logits(tmp_path: Path, published: str) -> None:
    state = random_state(f"{published}.plain")
    masks = sparsify(state, 0.9)
    file = {
        "epoch": 99,
        "model_config": {"arch": published, "dataset": "imagenet"},
        "model_state_dict": {f"module.{k}": v for k, v in wrap(state, masks).items()},
        "optimizer": {"type": torch.optim.SGD, "state_dict": {"state": {}, "param_groups": [{"lr": 0.1}]}},
        "lr_scheduler": {"type": torch.optim.lr_scheduler.LambdaLR, "state_dict": {"last_epoch": 99}},
    }
    torch.save(file, tmp_path / "best_sparse_checkpoint.ckpt")
    ours, backbone = logits(tmp_path / "best_sparse_checkpoint.ckpt")
    with torch.inference_mode():
        assert_same(ours, FORWARD[published](state, images()))
    assert backbone.info.arch == ARCH.get(published, "mobilenet_v1")
    assert backbone.info.mask_source == "file"
    assert len(backbone.masks) == len(masks)
    assert sum(int(m.sum()) for m in backbone.masks.values()) == sum(int(m.sum()) for m in masks.values())
    assert backbone.info.sparsity.scope("pruned_layers") == pytest.approx(0.9, abs=1e-3)
    assert backbone.preprocess.interpolation == ("bicubic" if "rigl" in published else "bilinear")


@pytest.mark.parametrize("published", [large("resnet50_rigl"), large("resnet50_str"), "mobilenet_amc", "mobilenet_str"])
def test_plain_files_are_recognised_and_their_masks_inferred(tmp_path: Path, published: str) -> None:
    state = random_state(f"{published}.plain", seed=3)
    sparsify(state, 0.8)
    torch.save({"epoch": 1, "arch": "x", "state_dict": state}, tmp_path / "a.pth")
    ours, backbone = logits(tmp_path / "a.pth")
    with torch.inference_mode():
        assert_same(ours, FORWARD[published](state, images()))
    assert backbone.info.mask_source == "zeros"
    kept = sum(int((state[name] != 0).sum()) for name in weights_of(state))
    assert sum(int(m.sum()) for m in backbone.masks.values()) == kept


def test_a_file_wrapped_after_training_shows_its_sparsity_by_its_zeros(tmp_path: Path) -> None:
    state = random_state("mobilenet.plain")
    masks = sparsify(state, 0.75)
    torch.save({"model_state_dict": wrap(state, {k: torch.ones_like(m) for k, m in masks.items()})}, tmp_path / "a.pth")
    backbone = sparsebench.load(tmp_path / "a.pth")
    assert backbone.info.mask_source == "zeros"
    assert backbone.info.sparsity_measured == pytest.approx(0.75, abs=0.01)


def test_masked_weights_that_are_not_zero_are_masked_and_biases_too(tmp_path: Path) -> None:
    state = random_state("mobilenet.wrapped")
    state["fc._bias_mask"][:10] = 0
    torch.save({"model_state_dict": state}, tmp_path / "a.pth")
    raw = read_checkpoint(tmp_path / "a.pth")
    assert raw.format == "ist"
    assert raw.masks is not None
    for name, mask in raw.masks.items():
        assert torch.equal(raw.state[name] != 0, mask)
    assert int((raw.state["fc.bias"] == 0).sum()) == 10


@pytest.mark.parametrize("layout", [large("resnet50_str"), "mobilenet_str"])
def test_native_str_files_are_thresholded(tmp_path: Path, layout: str) -> None:
    state = random_state(f"{layout}.plain")
    native: State = OrderedDict()
    effective = dict(state)
    for k, name in enumerate(weights_of(state)):
        threshold = torch.full((1, 1), -3.0 - 0.05 * k)
        native[f"module.{name}"] = state[name]
        native[f"module.{name.removesuffix('weight')}sparseThreshold"] = threshold
        effective[name] = torch.sign(state[name]) * torch.relu(state[name].abs() - torch.sigmoid(threshold))
    native.update({f"module.{k}": v for k, v in state.items() if f"module.{k}" not in native})
    torch.save({"epoch": 100, "arch": "ResNet50", "state_dict": native, "best_acc1": 76.12}, tmp_path / "str.pth")
    ours, backbone = logits(tmp_path / "str.pth")
    with torch.inference_mode():
        assert_same(ours, FORWARD[layout](effective, images()))
    assert backbone.info.format == "str"
    zeros = sum(int((effective[name] == 0).sum()) for name in weights_of(effective))
    assert sum(layer.zeros for layer in backbone.info.sparsity.layers) == zeros
    assert len(backbone.info.unused_keys) == len(weights_of(state))


@pytest.mark.slow
def test_torch_prune_files_of_lottery_tickets(tmp_path: Path) -> None:
    from torch.nn.utils import prune
    from torchvision.models import resnet18

    torch.manual_seed(0)
    network = resnet18().eval()
    layers = [(m, "weight") for n, m in network.named_modules() if isinstance(m, torch.nn.Conv2d) and n != "conv1"]
    prune.global_unstructured(layers, prune.L1Unstructured, amount=0.8)
    torch.save({"state_dict": network.state_dict(), "init_weight": {}}, tmp_path / "ticket.pth.tar")
    ours, backbone = logits(tmp_path / "ticket.pth.tar")
    with torch.inference_mode():
        assert_same(ours, network(images()))
    assert backbone.info.sparsity.scope("pruned_layers") == pytest.approx(0.8, abs=1e-6)
    assert "conv1.weight" not in backbone.masks
    assert backbone.info.mask_source == "file"


def test_superblock_masks_are_tiles_of_the_best_scores(tmp_path: Path) -> None:
    scores = torch.tensor([[0.3, -1.0, 0.9], [-2.0, 0.1, 0.2]])
    weight = torch.ones(10, 20)
    state = {"a.weight": weight, "a.scores": scores, "a.shift": torch.tensor([0.5]), "a.scale": torch.tensor([2.0])}
    torch.save({"model": state}, tmp_path / "sp0.60-ts8.pth")
    raw = read_checkpoint(tmp_path / "sp0.60-ts8.pth")  # 1 + round(0.6 * 5) = 4: the three smallest of six go
    expected = torch.zeros(10, 20)
    expected[:8, :8] = expected[:8, 16:] = expected[8:, 16:] = 2.5
    assert torch.equal(raw.state["a.weight"], expected)
    assert raw.masks is not None
    assert torch.equal(raw.masks["a.weight"], expected != 0)
    assert set(raw.unused) == {"a.scores", "a.shift", "a.scale"}
    assert (raw.meta["sparsity"], raw.meta["sparsity_scope"]) == (0.6, "pruned_layers")
    state["a.scores"] = torch.ones(4, 3)
    torch.save({"model": state}, tmp_path / "sp0.60-ts8.pth")
    with pytest.raises(CheckpointError, match="doesn't tile its layer"):
        read_checkpoint(tmp_path / "sp0.60-ts8.pth")


@pytest.mark.slow
def test_superblock_masks_follow_from_the_scores(tmp_path: Path) -> None:
    from torchvision.models import vit_b_16

    torch.manual_seed(0)
    network = vit_b_16().eval()
    network.heads.head.reset_parameters()  # torchvision starts it at zero, as no trained head is
    state = dict(network.state_dict())
    layers = [n for n, m in network.named_modules() if isinstance(m, torch.nn.Linear)]
    effective = dict(state)
    for layer in layers:
        weight = state[f"{layer}.weight"]
        grid = [-(-size // 32) for size in weight.shape]
        scores = torch.randn(grid)
        state |= {f"{layer}.scores": scores, f"{layer}.shift": torch.zeros(1), f"{layer}.scale": torch.ones(1)}
        order = torch.argsort(scores.reshape(-1))
        kept = torch.ones(scores.numel())
        kept[order[: round(0.9 * (scores.numel() - 1))]] = 0
        mask = torch.kron(kept.view(grid), torch.ones(32, 32))[: weight.shape[0], : weight.shape[1]]
        effective[f"{layer}.weight"] = weight * mask
    torch.save({"model": state}, tmp_path / "sp0.90-ts32.pth")
    ours, backbone = logits(tmp_path / "sp0.90-ts32.pth", 224)
    network.load_state_dict(effective)
    with torch.inference_mode():
        assert_same(ours, network(images(224)))
    assert backbone.info.sparsity.scope("pruned_layers") == pytest.approx(0.9, abs=0.002)
    (tmp_path / "sp0.90-ts32.pth").rename(tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match="doesn't say how sparse"):
        sparsebench.load(tmp_path / "other.pth")


def test_what_training_leaves_in_a_file_is_not_needed(tmp_path: Path) -> None:
    file = {
        "state_dict": random_state("mobilenet.plain"),
        "best_acc1": np.float64(70.1),
        "args": argparse.Namespace(lr=0.1),
        "scheduler": torch.optim.lr_scheduler.CosineAnnealingLR,
    }
    torch.save(file, tmp_path / "a.pth")
    assert sparsebench.load(tmp_path / "a.pth").info.arch == "mobilenet_v1"


def test_classes_of_the_authors_own_modules_are_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys
    import types

    module = types.ModuleType("optimization.lr_schedulers")
    made: type = type("CosineLR", (), {"__module__": "optimization.lr_schedulers"})
    module.CosineLR = made  # type: ignore[attr-defined]
    for name, value in (("optimization", types.ModuleType("optimization")), ("optimization.lr_schedulers", module)):
        monkeypatch.setitem(sys.modules, name, value)
    torch.save(
        {"model_state_dict": random_state("mobilenet.plain"), "lr_scheduler": {"type": made}}, tmp_path / "a.pth"
    )
    monkeypatch.undo()
    assert sparsebench.load(tmp_path / "a.pth").info.num_classes == 1000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.update({"fc._weight_mask": s["fc._weight_mask"] * 0.5}), "not a mask"),
        (lambda s: s.update({"fc._weight_mask": s["fc._weight_mask"][:5]}), "another shape"),
        (lambda s: s.pop("fc._layer.weight"), "not that tensor"),
    ],
)
def test_damaged_masks_are_named(tmp_path: Path, change: object, message: str) -> None:
    state = random_state("mobilenet.wrapped")
    change(state)  # type: ignore[operator]
    torch.save({"model_state_dict": state}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=message) as caught:
        read_checkpoint(tmp_path / "a.pth")
    assert "a.pth" in str(caught.value)


def test_a_format_that_was_insisted_on(tmp_path: Path) -> None:
    torch.save(random_state("mobilenet.plain"), tmp_path / "a.pth")
    assert read_checkpoint(tmp_path / "a.pth", "plain").format == "plain"
    with pytest.raises(CheckpointError, match="in format plain, not ist"):
        read_checkpoint(tmp_path / "a.pth", "ist")


def test_a_ticket_of_masks_alone_is_completed_from_its_base(tmp_path: Path) -> None:
    state = random_state("resnet18.plain")
    torch.save(state, tmp_path / "dense.pth")
    masks = {
        f"{k}_mask": torch.rand(state[k].shape) < 0.2
        for k in weights_of(state)
        if k not in ("conv1.weight", "fc.weight")
    }
    torch.save({k: m.float() for k, m in masks.items()}, tmp_path / "ticket.pth")
    fields = {"id": "r.t", "method": "lth", "arch": "resnet18", "sparsity": 0.8, "exempt": ("conv1", "fc")}
    files = {"file": {"path": str(tmp_path / "ticket.pth")}, "base": {"path": str(tmp_path / "dense.pth")}}
    backbone = load_entry(Checkpoint.model_validate(fields | files), head=True)
    parameters = dict(backbone.module.named_parameters())
    for name, mask in masks.items():
        weight = name.removesuffix("_mask")
        assert torch.equal(parameters[weight], state[weight] * mask)
        assert torch.equal(backbone.masks[weight], mask)
    with pytest.raises(CheckpointError, match="masks but no weights"):
        sparsebench.load(tmp_path / "ticket.pth")


def test_dense_files_of_a_pattern_are_masked_when_they_are_read(tmp_path: Path) -> None:
    state = random_state("resnet18.plain")
    torch.save({"state_dict": state}, tmp_path / "srste.pth")
    raw = read_checkpoint(tmp_path / "srste.pth", "nm-dense", nm="2:4")
    assert raw.masks is not None
    assert "fc.weight" not in raw.masks
    for name, mask in raw.masks.items():
        theirs = state[name].abs().permute(0, 2, 3, 1).reshape(-1, 4)
        ours = mask.permute(0, 2, 3, 1).reshape(-1, 4)
        assert bool((ours.sum(1) == 2).all())
        assert bool((theirs.masked_fill(~ours, 9).amin(1) >= theirs.masked_fill(ours, 0).amax(1)).all())
    with pytest.raises(CheckpointError, match="needs the pattern"):
        read_checkpoint(tmp_path / "srste.pth", "nm-dense")


def test_chitas_files_are_plain(tmp_path: Path) -> None:
    state = random_state("mobilenet.plain", seed=2)
    sparsify(state, 0.89)
    file = {
        "epoch": 99,
        "model_state_dict": {f"module.{name}": value for name, value in state.items()},
        "optimizer_state_dict": {"state": {0: {"momentum_buffer": torch.ones(3)}}, "param_groups": [{"lr": 0.1}]},
    }
    torch.save(file, tmp_path / "chita.pth")
    registered = load_registry().checkpoint("mobilenet_v1.chita_s89")
    entry = registered.model_copy(update={"file": FileSource(path=str(tmp_path / "chita.pth"))})
    backbone = load_entry(entry, head=True)
    assert backbone.info.sparsity.scope("prunable") == pytest.approx(0.89, abs=1e-3)
    assert len(backbone.masks) == len(weights_of(state))
    sparsify(state, 0.95)
    torch.save(file | {"model_state_dict": state}, tmp_path / "chita.pth")
    with pytest.raises(CheckpointError, match=r"claims sparsity 0\.89 but measures"):
        load_entry(entry)


@pytest.mark.slow
@pytest.mark.parametrize("size", ["large", "small"])
def test_srigls_mobilenets_need_no_architecture(tmp_path: Path, size: str) -> None:
    from torchvision.models import get_model

    torch.manual_seed(0)
    network = get_model(f"mobilenet_v3_{size}", weights=None, dropout=0)
    state = dict(network.state_dict())
    sparsify(state, 0.9)
    torch.save({"model": state, "epoch": 3, "step": 7, "best_acc": 70.0, "run_id": "x"}, tmp_path / "best.pt.tar")
    backbone = sparsebench.load(tmp_path / "best.pt.tar", head=True)
    assert backbone.info.arch == f"torchvision/mobilenet_v3_{size}"
    assert backbone.info.sparsity.scope("pruned_layers") == pytest.approx(0.9, abs=0.01)
