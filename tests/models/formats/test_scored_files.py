"""Masks that follow from what lies beside the weights: OptG's and hidden networks' scores, LBC's combinations."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest
import torch
from files import saved
from torch import Tensor

import sparsebench
from sparsebench.models import backbones
from sparsebench.models.formats import read_checkpoint
from sparsebench.models.loading import load_entry
from sparsebench.schema import Checkpoint, CheckpointError, FileSource

State = dict[str, Tensor]


@pytest.fixture(scope="module")
def network() -> State:
    """Return a small ResNet's weights, none of them zero."""
    torch.manual_seed(3)
    return dict(backbones.build(backbones.find("mini")[0], 5).state_dict())


def layers_of(state: State, *, head: bool = True) -> list[str]:
    return [n.removesuffix(".weight") for n, v in state.items() if v.ndim == 4 or (head and n == "fc.weight")]


def entry(path: Path, sparsity: float, **fields: object) -> Checkpoint:
    given: dict[str, object] = {"method": "custom", "arch": "mini", "sparsity_scope": "pruned_layers"}
    return Checkpoint(id="mine", sparsity=sparsity, file=FileSource(path=str(path)), **(given | fields))  # type: ignore[arg-type]


def optg_file(path: Path, state: State, *, convolution: bool = True) -> State:
    """Save a state as OptG does; return the scores by layer. Its head is a 1x1 convolution."""
    torch.manual_seed(4)
    scores = {}
    for number, layer in enumerate(layers_of(state)):
        shape = state[f"{layer}.weight"].shape
        scores[layer] = torch.randn(shape) * (1 + number % 3 / 4)
    file = dict(state) | {f"{layer}.mask": value for layer, value in scores.items()}
    for name in ("fc.weight", "fc.mask") if convolution else ():
        file[name] = file[name][:, :, None, None]
    saved(path, {"epoch": 100, "arch": "ResNet", "state_dict": {f"module.{n}": v for n, v in file.items()}})
    return scores


def test_optgs_scores_are_ranked_over_all_layers(tmp_path: Path, network: State) -> None:
    scores = optg_file(tmp_path / "model_best.pth", network)
    backbone = load_entry(entry(tmp_path / "model_best.pth", 0.9), head=True)
    total = sum(value.numel() for value in scores.values())
    threshold = torch.cat([v.flatten() for v in scores.values()]).sort(descending=True).values[int(total * 0.1) - 1]
    for layer, value in scores.items():
        mask = backbone.masks.get(f"{layer}.weight", torch.ones_like(value, dtype=torch.bool))
        below = int((value < threshold).sum())
        assert abs(int((~mask).sum()) - below) <= 1  # the published code rounds a rate
        assert not below or not mask.any() or value[mask].min() >= value[~mask].max()
        kept = torch.where(mask, network[f"{layer}.weight"], 0.0)
        assert torch.equal(backbone.module.get_parameter(f"{layer}.weight"), kept)
    assert backbone.info.format == "optg"
    assert backbone.info.sparsity.scope("pruned_layers") == pytest.approx(0.9, abs=1e-4)
    assert backbone.info.mask_source == "file"


def test_optgs_scores_are_signed(tmp_path: Path) -> None:
    weight, scores = torch.ones(2, 3), torch.tensor([[-5.0, 0.5, 0.25], [0.125, -0.25, 2.0]])
    saved(tmp_path / "a.pth", {"a.weight": weight, "a.mask": scores})
    raw = read_checkpoint(tmp_path / "a.pth", sparsity=0.5)
    assert raw.state["a.weight"].tolist() == [[0, 1, 1], [0, 0, 1]]


def test_a_layers_rate_is_rounded_as_published(tmp_path: Path) -> None:
    torch.manual_seed(0)
    scores = torch.randn(1000, 49)
    saved(tmp_path / "a.pth", {"a.weight": torch.ones(1000, 49), "a.mask": scores})
    raw = read_checkpoint(tmp_path / "a.pth", sparsity=0.7)
    below = scores.numel() - int(scores.numel() * (1 - 0.7))
    assert int((raw.state["a.weight"] == 0).sum()) == int(below / scores.numel() * scores.numel())


@pytest.mark.parametrize(
    ("change", "sparsity", "message"),
    [
        ({}, None, "doesn't say how sparse"),
        ({"a.mask": torch.tensor([[0.5, float("nan")]])}, 0.5, "NaN"),
        ({}, 0.9999, "no weight of the file is left"),
        ({"a.mask": torch.tensor([[0.5, 0.25], [1.5, 2.0]])}, 0.5, "for a weight of shape"),
    ],
)
def test_scores_that_cannot_be_used_are_refused(
    tmp_path: Path, change: State, sparsity: float | None, message: str
) -> None:
    saved(tmp_path / "a.pth", {"a.weight": torch.ones(1, 2), "a.mask": torch.tensor([[0.5, 0.25]])} | change)
    with pytest.raises(CheckpointError, match="is not a mask|" + message):
        read_checkpoint(tmp_path / "a.pth", sparsity=sparsity)


def test_one_mask_that_is_none_among_masks_is_refused(tmp_path: Path) -> None:
    state = {"a.weight": torch.ones(1, 2), "a.mask": torch.tensor([[0.0, 1.0]])}
    state |= {"b.weight": torch.ones(1, 2), "b.mask": torch.tensor([[0.5, 1.0]])}
    with pytest.raises(CheckpointError, match="is not a mask"):
        read_checkpoint(saved(tmp_path / "a.pth", state), sparsity=0.5)


def test_hidden_networks_lack_the_weights_of_their_batch_norms(tmp_path: Path, network: State) -> None:
    file, expected = {}, {}
    torch.manual_seed(5)
    norms = {name.removesuffix(".running_mean") for name in network if name.endswith(".running_mean")}
    for name, value in network.items():
        if (name.rpartition(".")[0] in norms and name.endswith((".weight", ".bias"))) or name == "fc.bias":
            continue
        file[name] = value[:, :, None, None] if name == "fc.weight" else value
    for layer in layers_of(network):
        weight = file[f"{layer}.weight"]
        scores = torch.randn(weight.shape)
        file[f"{layer}.scores"] = scores
        pruned = scores.abs().flatten().sort().indices[: int(0.7 * scores.numel())]
        mask = torch.ones(scores.numel()).index_fill(0, pruned, 0).view(network[f"{layer}.weight"].shape)
        expected[f"{layer}.weight"] = network[f"{layer}.weight"] * mask
    saved(tmp_path / "hidden.pth", {"arch": "ResNet", "state_dict": {f"module.{n}": v for n, v in file.items()}})
    backbone = load_entry(entry(tmp_path / "hidden.pth", 0.7), head=True)
    found = backbone.module.state_dict()
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert all(bool((found[f"{norm}.weight"] == 1).all()) for norm in norms)
    assert not any(bool(found[f"{norm}.bias"].any()) for norm in norms)
    assert not found["fc.bias"].any()
    assert backbone.info.sparsity.scope("pruned_layers") == pytest.approx(0.7, abs=1e-3)


def lbc_layer(layer: str, weight: Tensor, n: int, m: int) -> tuple[State, Tensor]:
    """Return what LBC keeps of a layer, and its mask."""
    table = torch.tensor([[float(i in kept) for i in range(m)] for kept in combinations(range(m), n)])
    groups = weight.numel() // m
    alpha = torch.zeros(groups, len(table))
    chosen = torch.randint(len(table), (groups,))
    alpha[torch.arange(groups), chosen] = torch.randn(groups)
    flat = table[chosen].flatten()
    last = weight.permute(0, 2, 3, 1) if weight.ndim == 4 else weight
    mask = flat.view(last.shape)
    mask = mask.permute(0, 3, 1, 2) if weight.ndim == 4 else mask
    return {f"{layer}.alpha": alpha, f"{layer}.index_list": table}, mask


@pytest.mark.parametrize(("n", "m"), [(2, 4), (1, 4)])
def test_lbcs_combinations_group_the_input_channels(tmp_path: Path, network: State, n: int, m: int) -> None:
    torch.manual_seed(6)
    file, masks = dict(network), {}
    for layer in layers_of(network, head=False)[1:]:  # the first layer and the head are dense
        parts, masks[f"{layer}.weight"] = lbc_layer(layer, network[f"{layer}.weight"], n, m)
        file |= parts
    saved(tmp_path / "lbc.pth", {"state_dict": file})
    backbone = sparsebench.load(tmp_path / "lbc.pth", arch="mini", head=True)
    assert backbone.info.format == "lbc"
    assert {name: mask.float() for name, mask in backbone.masks.items()}.keys() == masks.keys()
    assert all(torch.equal(backbone.masks[name].float(), mask) for name, mask in masks.items())
    assert backbone.info.checkpoint.nm == f"{n}:{m}"
    assert backbone.info.checkpoint.sparsity == 1 - n / m
    assert backbone.info.sparsity.scope("pruned_layers") == pytest.approx(1 - n / m)


def test_lbcs_linear_layers_group_their_inputs(tmp_path: Path) -> None:
    torch.manual_seed(7)
    parts, mask = lbc_layer("a", torch.randn(6, 8), 2, 4)
    raw = read_checkpoint(saved(tmp_path / "a.pth", {"model": {"a.weight": torch.ones(6, 8), **parts}}))
    assert torch.equal(raw.state["a.weight"], mask)
    assert set(raw.unused) == {"a.alpha", "a.index_list"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"a.alpha": None}, "not a.alpha"),
        ({"a.weight": None}, "not a.weight"),
        ({"a.alpha": torch.ones(3, 6)}, "doesn't fit its layer"),
        ({"a.index_list": torch.ones(6, 4)}, "not a list of combinations"),
        ({"a.index_list": torch.rand(6, 4)}, "not a list of combinations"),
        ({"a.alpha": torch.ones(12, 6)}, "aren't chosen yet"),
    ],
)
def test_damaged_combinations_are_named(tmp_path: Path, change: dict[str, Tensor | None], message: str) -> None:
    parts, _ = lbc_layer("a", torch.randn(6, 8), 2, 4)
    state = {"a.weight": torch.randn(6, 8), "b.bias": torch.randn(3), **parts} | change
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(saved(tmp_path / "a.pth", {n: v for n, v in state.items() if v is not None}))


@pytest.mark.parametrize("nm", ["2:4", "1:16"])
def test_bimask_groups_each_filter_as_it_lies(tmp_path: Path, network: State, nm: str) -> None:
    n, m = map(int, nm.split(":"))
    saved(tmp_path / "bi.pth", {"state_dict": network})
    fields = {"format": "bimask", "nm": nm, "distribution": "nm", "exempt": ("conv1", "fc")}
    backbone = load_entry(entry(tmp_path / "bi.pth", 1 - n / m, **fields), head=True)
    assert set(backbone.masks) == {f"{layer}.weight" for layer in layers_of(network, head=False)[1:]}
    for name, mask in backbone.masks.items():
        weight = network[name].abs().flatten(1)  # (O, I * H * W)
        groups = mask.flatten(1).reshape(-1, m)
        assert (groups.sum(1) == n).all()
        least_kept = weight.reshape(-1, m).masked_fill(~groups, float("inf")).amin(1)
        assert (least_kept >= weight.reshape(-1, m).masked_fill(groups, 0).amax(1)).all()


def test_bimask_is_not_sr_stes_grouping_and_needs_its_pattern(tmp_path: Path) -> None:
    torch.manual_seed(8)
    state = {"layer1.0.conv1.weight": torch.randn(4, 4, 3, 3), "blocks.0.mlp.fc1.weight": torch.randn(8, 8)}
    state |= {"head.weight": torch.randn(4, 4), "patch_embed.proj.weight": torch.randn(4, 3, 4, 4)}
    saved(tmp_path / "a.pth", state)
    ours = read_checkpoint(tmp_path / "a.pth", "bimask", nm="2:4").masks
    theirs = read_checkpoint(tmp_path / "a.pth", "nm-dense", nm="2:4").masks
    assert ours is not None
    assert theirs is not None
    assert ours.keys() == {"layer1.0.conv1.weight", "blocks.0.mlp.fc1.weight"}
    assert not torch.equal(ours["layer1.0.conv1.weight"], theirs["layer1.0.conv1.weight"])
    with pytest.raises(CheckpointError, match="needs the pattern"):
        read_checkpoint(tmp_path / "a.pth", "bimask")
    with pytest.raises(CheckpointError, match="doesn't divide"):
        read_checkpoint(tmp_path / "a.pth", "bimask", nm="1:5")
    with pytest.raises(CheckpointError, match="is no pattern"):
        read_checkpoint(tmp_path / "a.pth", "bimask", nm="4:2")
