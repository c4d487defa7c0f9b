"""Which mask and which sparsity a file has, however its pruning was saved, and that full finetuning holds both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

import small_world as world
import sparsebench
from sparsebench.cli import main
from sparsebench.models import masks
from sparsebench.models.backbone import Backbone
from sparsebench.models.formats import sparse_file
from sparsebench.models.loading import load_entry
from sparsebench.registry import load_registry
from sparsebench.schema import Checkpoint, CheckpointError, FileSource, Numerics
from sparsebench.transfer.finetune import finetune

BODY = ["layer1.0.conv1", "layer1.0.conv2"] + [
    f"layer{k}.0.{part}" for k in (2, 3, 4) for part in ("conv1", "conv2", "downsample.0")
]
"""The eleven convolutions of ``mini`` between its stem and its head."""


@cache
def _dense() -> nn.Module:
    model = sparsebench.load("mini.dense", head=True).module
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in masks.prunable(model).values():
            weight.copy_((torch.rand(weight.shape, generator=generator) + 0.5) / weight[0].numel())
    return model


def dense() -> nn.Module:
    """A network of random weights, none of them zero."""
    return deepcopy(_dense())


def zero(model: nn.Module, layers: Sequence[str], share: float, seed: int = 1) -> None:
    """Set a share of the weights of some layers to zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name in layers:
            weight = model.get_parameter(f"{name}.weight")
            flat = torch.randperm(weight.numel(), generator=generator)[: round(share * weight.numel())]
            weight.view(-1)[flat] = 0


def sparse() -> nn.Module:
    """The same, 90 % zero in all layers but the first and the head."""
    model = dense()
    zero(model, BODY, 0.9)
    return model


def wrapped(state: dict[str, Tensor], own: dict[str, Tensor]) -> dict[str, Tensor]:
    """IST's layout: a mask beside each weight, of ones where there is none."""
    found: dict[str, Tensor] = {}
    for name, value in state.items():
        layer, _, kind = name.rpartition(".")
        if f"{layer}.weight" in state and state[f"{layer}.weight"].ndim >= 2 and kind in ("weight", "bias"):
            found[f"{layer}._layer.{kind}"] = value
            found[f"{layer}._{kind}_mask"] = own.get(name, torch.ones_like(value))
        else:
            found[name] = value
    return found


def load(path: Path, content: object, **options: bool) -> Backbone:
    """Save and load."""
    torch.save(content, path / "mine.pth")
    return sparsebench.load(path / "mine.pth", arch="mini", **options)


def held_and_zero(backbone: Backbone) -> tuple[int, int]:
    """How many weights of convolutions and linear layers masks hold at zero, and how many are zero."""
    weights = masks.prunable(backbone.module)
    held = sum(int((~mask).sum()) for name, mask in backbone.masks.items() if name in weights)
    return held, sum(int((w == 0).sum()) for w in weights.values())


def one_pruned_by_torch(model: nn.Module) -> dict[str, Tensor]:
    prune.l1_unstructured(model.get_submodule("layer4.0.conv2"), "weight", 0.9)
    return model.state_dict()


def one_with_a_mask_of_its_own(model: nn.Module) -> dict[str, Tensor]:
    name = "layer4.0.conv2.weight"
    return {"model_state_dict": wrapped(model.state_dict(), {name: (model.get_parameter(name) != 0).float()})}  # type: ignore[dict-item]


def ones_everywhere(model: nn.Module) -> dict[str, Tensor]:
    return wrapped(model.state_dict(), {})


def all_but_one_pruned_by_torch(model: nn.Module) -> dict[str, Tensor]:
    for name in BODY[1:]:
        layer = model.get_submodule(name)
        prune.custom_from_mask(layer, "weight", layer.weight != 0)
    return model.state_dict()


def half(model: nn.Module) -> dict[str, Tensor]:
    return model.half().state_dict()


@pytest.mark.parametrize(
    ("save", "source"),
    [
        (nn.Module.state_dict, "zeros"),
        (half, "zeros"),
        (ones_everywhere, "zeros"),
        (one_pruned_by_torch, "file+zeros"),
        (one_with_a_mask_of_its_own, "file+zeros"),
        (all_but_one_pruned_by_torch, "file+zeros"),
    ],
)
def test_every_zero_of_a_pruned_layer_is_held_however_it_was_saved(
    tmp_path: Path, save: Callable[[nn.Module], dict[str, Tensor]], source: str
) -> None:
    backbone = load(tmp_path, save(sparse()))
    held, zeros = held_and_zero(backbone)
    assert held == zeros
    assert set(backbone.masks) == {f"{name}.weight" for name in BODY}
    assert backbone.info.mask_source == source
    assert backbone.info.sparsity_measured == pytest.approx(0.9, abs=1e-4)
    assert backbone.info.sparsity.unheld == 0


def test_a_layer_of_zeros_alone_is_masked_as_a_whole(tmp_path: Path) -> None:
    model = sparse()
    zero(model, ["layer3.0.conv1"], 1.0)
    mask = load(tmp_path, model.state_dict()).masks["layer3.0.conv1.weight"]
    assert not mask.any()


@pytest.mark.parametrize("layer", ["conv1", "fc"])
@pytest.mark.parametrize("count", [0, pytest.param(1, marks=pytest.mark.slow), 8])
def test_chance_zeros_in_stem_or_head_move_neither_mask_nor_sparsity(tmp_path: Path, layer: str, count: int) -> None:
    model = sparse()
    with torch.no_grad():
        model.get_parameter(f"{layer}.weight").view(-1)[:count] = 0
    backbone = load(tmp_path, model.state_dict(), head=True)
    assert set(backbone.masks) == {f"{name}.weight" for name in BODY}
    assert backbone.info.checkpoint.exempt == ("conv1", "fc")
    assert backbone.info.sparsity_measured == pytest.approx(0.9, abs=1e-4)
    assert backbone.info.sparsity.unheld == count


def test_half_precision_lets_small_weights_vanish_and_the_layer_stays_dense(tmp_path: Path) -> None:
    model = sparse()
    with torch.no_grad():
        model.conv1.weight.view(-1)[:5] = 1e-9
        model.fc.weight.view(-1)[:400] = -1e-9
    backbone = load(tmp_path, model.half().state_dict(), head=True)
    assert backbone.info.checkpoint.exempt == ("conv1", "fc")
    assert backbone.info.sparsity_measured == pytest.approx(0.9, abs=1e-4)
    assert backbone.info.sparsity.unheld == 405


def test_a_pruned_stem_or_head_counts(tmp_path: Path) -> None:
    model = sparse()
    zero(model, ["fc"], 0.5)
    backbone = load(tmp_path, model.state_dict(), head=True)
    assert backbone.info.checkpoint.exempt == ("conv1",)
    assert backbone.info.sparsity_measured == pytest.approx((0.9 * 1222656 + 25600) / (1222656 + 51200), abs=1e-4)


def test_a_file_without_a_head_says_nothing_of_one(tmp_path: Path) -> None:
    state = {name: value for name, value in sparse().state_dict().items() if not name.startswith("fc.")}
    backbone = load(tmp_path, state)
    assert backbone.info.checkpoint.exempt == ("conv1",)
    assert backbone.info.sparsity_measured == pytest.approx(0.9, abs=1e-4)


def entry(path: Path, **fields: object) -> Checkpoint:
    values = {"id": "m.x", "method": "gmp", "arch": "mini", "sparsity": 0.9, "file": FileSource(path=str(path))}
    return Checkpoint.model_validate(values | fields)


def test_an_entry_that_names_no_exempt_layers_is_measured_as_the_file_alone(tmp_path: Path) -> None:
    alone = load(tmp_path, sparse().state_dict())
    registered = load_entry(entry(alone.info.path))
    assert registered.info.sparsity_measured == alone.info.sparsity_measured == pytest.approx(0.9, abs=1e-4)
    assert registered.info.sparsity == alone.info.sparsity
    counted = load_entry(entry(alone.info.path, exempt=(), sparsity=0.8635)).info
    assert counted.sparsity_measured == pytest.approx(0.9 * 1222656 / (1222656 + 864 + 51200), abs=1e-4)


def test_the_readmes_own_entry_loads(tmp_path: Path) -> None:
    model = sparse()
    torch.save(model.state_dict(), tmp_path / "sparse.pth")
    (tmp_path / "my.yaml").write_text(
        "mini.mine_s90:\n  method: my-method\n  arch: mini\n  sparsity: 0.9\n  sparsity_scope: prunable\n"
        "  reference: mini.dense\n  file: {path: sparse.pth}\n",
        encoding="utf-8",
    )
    registry = load_registry([tmp_path / "my.yaml"])
    info = load_entry(registry.checkpoint("mini.mine_s90")).info
    assert info.sparsity_measured == pytest.approx(0.9, abs=1e-4)
    assert main(["inspect", "mini.mine_s90", "--registry", str(tmp_path / "my.yaml")]) == 0


def test_zeros_that_a_layers_own_mask_keeps_are_counted_said_and_refused_where_they_are_many(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def keeps(share: float) -> dict[str, Tensor]:
        """The mask of one layer prunes half, and of what it keeps a share is zero."""
        model = dense()
        layer = model.get_submodule("layer4.0.conv1")
        prune.l1_unstructured(layer, "weight", 0.5)
        kept = torch.nonzero(layer.weight_mask.view(-1))[:, 0]
        with torch.no_grad():
            layer.weight_orig.view(-1)[kept[: round(share * len(kept))]] = 0
        return model.state_dict()

    info = load(tmp_path, keeps(0.1)).info
    assert info.sparsity.unheld == round(0.1 * 147456)
    assert sum(layer.held for layer in info.sparsity.layers) == 147456
    command = ["run", "--arch", "mini", "--task", "digits", "--mode", "linear", "--dry-run", "--checkpoint"]
    assert main([*command, str(info.path)]) == 0
    assert "14,746 weights are zero (1.3% of those kept) that no mask holds" in capsys.readouterr().err
    with pytest.raises(CheckpointError, match=r"layer4\.0\.conv1\.weight is zero in 117965 of the 147456 weights that"):
        load(tmp_path, keeps(0.8))


def test_weights_under_a_zero_of_the_mask_are_zero_whatever_the_file_has_there(tmp_path: Path) -> None:
    model = dense()
    mask = torch.ones_like(model.layer4[0].conv1.weight)
    mask[:128] = 0
    backbone = load(tmp_path, wrapped(model.state_dict(), {"layer4.0.conv1.weight": mask}))
    assert torch.equal(backbone.masks["layer4.0.conv1.weight"], mask.bool())
    assert torch.equal(backbone.module.layer4[0].conv1.weight != 0, mask.bool())


def test_masked_normalisation_is_held_but_is_no_part_of_the_prunable_weights(tmp_path: Path) -> None:
    model = sparse()
    prune.l1_unstructured(model.get_submodule("layer1.0.bn1"), "weight", 0.25)
    backbone = load(tmp_path, model.state_dict())
    mask = backbone.masks["layer1.0.bn1.weight"]
    assert int((~mask).sum()) == 8
    assert torch.equal(backbone.module.layer1[0].bn1.weight != 0, mask)
    assert backbone.info.sparsity_measured == pytest.approx(0.9, abs=1e-4)
    assert backbone.info.sparsity.held == held_and_zero(backbone)[0] + 8


def test_exempt_layers_may_have_dead_filters_but_not_be_pruned(tmp_path: Path) -> None:
    model = sparse()
    with torch.no_grad():
        model.conv1.weight[:3] = 0
    path = load(tmp_path, model.state_dict()).info.path
    info = load_entry(entry(path, exempt=("conv1", "fc"))).info
    assert info.sparsity.unheld == 81
    assert "conv1.weight" in load_entry(entry(path)).masks
    with torch.no_grad():
        model.conv1.weight[:16] = 0
    torch.save(model.state_dict(), path)
    with pytest.raises(CheckpointError, match="exempts layer 'conv1', but its weights are pruned"):
        load_entry(entry(path, exempt=("conv1", "fc")))
    wraps = wrapped(model.state_dict(), {"conv1.weight": (model.conv1.weight != 0).float()})
    torch.save(wraps, path)
    with pytest.raises(CheckpointError, match="exempts layer 'conv1', but its weights are pruned"):
        load_entry(entry(path, exempt=("conv1", "fc")))


def test_a_dense_entry_has_no_masks(tmp_path: Path) -> None:
    path = load(tmp_path, all_but_one_pruned_by_torch(dense())).info.path
    fields: dict[str, object] = {"method": "dense", "sparsity": 0, "distribution": "dense"}
    assert load_entry(entry(path, **fields)).masks == {}, "masks of ones prune nothing"
    model = dense()
    prune.l1_unstructured(model.get_submodule("layer1.0.conv1"), "weight", 0.5)
    torch.save(model.state_dict(), path)
    with pytest.raises(CheckpointError, match=r"registered as dense, but its file masks layer1\.0\.conv1\.weight"):
        load_entry(entry(path, **fields))


def test_an_nm_file_is_masked_by_its_zeros_and_follows_its_pattern(tmp_path: Path) -> None:
    model = dense()
    with torch.no_grad():
        for name in BODY:
            model.get_parameter(f"{name}.weight").permute(0, 2, 3, 1)[..., ::2] = 0
    backbone = load(tmp_path, model.state_dict())
    assert masks.pattern(backbone.masks) == "1:2"
    assert backbone.info.sparsity_measured == pytest.approx(0.5)
    assert load_entry(entry(backbone.info.path, sparsity=0.5, distribution="nm", nm="1:2")).info.sparsity.unheld == 0


@pytest.fixture(scope="module")
def sparse_file_of_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sparse") / "mine.pth"
    torch.save(sparse().state_dict(), path)
    return path


@pytest.mark.parametrize("scope", ["prunable", "pruned_layers", "all_params"])
@pytest.mark.parametrize("exempt", [None, (), ("conv1", "fc")])
def test_scopes_with_and_without_exempt_layers(
    sparse_file_of_weights: Path, scope: str, exempt: tuple[str, ...] | None
) -> None:
    pruned, total = round(0.9 * 1222656), sum(p.numel() for p in dense().parameters())
    weights = {"prunable": 1222656 + (864 + 51200 if exempt == () else 0), "pruned_layers": 1222656}.get(scope, total)
    fields = {"sparsity": 0.88, "sparsity_scope": scope, "exempt": exempt}
    found = load_entry(entry(sparse_file_of_weights, **fields)).info
    assert found.sparsity_measured == pytest.approx(pruned / weights, abs=1e-5)


@pytest.mark.parametrize("exempt", [5, [5], "conv1", [["conv1"]]])
def test_a_file_that_describes_its_exempt_layers_wrongly_is_refused(tmp_path: Path, exempt: object) -> None:
    path = tmp_path / "own.safetensors"
    sparse_file.write(path, sparse().state_dict(), {}, {"arch": "mini", "exempt": exempt})
    with pytest.raises(CheckpointError, match="'exempt' is not a list of layers"):
        sparsebench.load(path)


@pytest.mark.parametrize("claimed", [10**400, "many", -1])
def test_a_file_that_describes_its_sparsity_wrongly_is_refused(tmp_path: Path, claimed: object) -> None:
    path = tmp_path / "own.safetensors"
    sparse_file.write(path, sparse().state_dict(), {}, {"arch": "mini", "sparsity": claimed})
    with pytest.raises(CheckpointError, match=r"describes itself wrongly|claims sparsity"):
        sparsebench.load(path)


def test_the_files_that_a_derived_checkpoint_needs_are_counted() -> None:
    lone, derived = sparsebench.load("mini.acdc_s90").info, sparsebench.load("mini.magnitude_s90").info
    base = sparsebench.load("mini.dense").info
    assert lone.files == (lone.path,)
    assert derived.files == (derived.path, base.path)
    assert derived.packed_bytes == lone.packed_bytes, "equal masks' sizes and sparsities, equal packed sizes"
    assert derived.packed_bytes < 0.2 * base.packed_bytes


def test_full_finetuning_holds_every_zero_of_a_file_with_masks_for_some_layers(tmp_path: Path) -> None:
    backbone = load(tmp_path, one_pruned_by_torch(sparse()))
    start = {name: weight != 0 for name, weight in masks.prunable(backbone.module).items()}
    found = finetune(backbone, world.task_data(), world.transform(), world.full_protocol(), 0, numerics=Numerics())
    for name, kept in start.items():
        assert torch.equal(found.state_dict[name] != 0, kept), name
    assert found.mask_proof.masked == sum(int((~kept).sum()) for kept in start.values())
    assert found.mask_proof.sparsity == pytest.approx(backbone.info.sparsity_measured)
    assert found.mask_proof.unheld_zeros == 0
