from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import save_file

import sparsebench
from sparsebench.common.files import sha256_file
from sparsebench.models import backbones
from sparsebench.models.loading import load_entry, state_sha256
from sparsebench.registry import load_registry
from sparsebench.schema import Checkpoint, CheckpointError, FileSource, InputError, UnknownNameError


def embedded() -> list[str]:
    return [c.id for c in load_registry().checkpoints.values() if c.file.path.startswith("package:")]


SOME = {"mini.dense", "mini.magnitude_s90", "mini.acdc_s90", "mini.acdc_2to4"}
"""One that is dense, of masks on another's weights, of its own weights, and of a pattern."""

some_by_default = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in SOME else [pytest.mark.slow]) for name in embedded()]
)


@some_by_default
def test_embedded_checkpoints_are_what_they_claim(name: str) -> None:
    backbone = sparsebench.load(name)
    entry = backbone.info.checkpoint
    assert not backbone.module.training
    with torch.inference_mode():
        features = backbone.module(torch.zeros(2, 3, 32, 32))
    assert features.shape == (2, backbone.info.feature_dim)
    parameters = dict(backbone.module.named_parameters())
    assert set(backbone.masks) <= set(parameters)
    if entry.method == "dense":
        assert backbone.masks == {}
        return
    weights = sum(m.numel() for m in backbone.masks.values())
    zeros = sum(int((parameters[k] == 0).sum()) for k in backbone.masks)
    assert abs(zeros - entry.sparsity * weights) <= 0.5  # exact, to the nearest weight
    for key, mask in backbone.masks.items():
        assert torch.equal(parameters[key] != 0, mask)
    assert not any(k.startswith(("conv1.", "fc.")) for k in backbone.masks)  # stem and head are exempt


def test_head_gives_upstream_logits() -> None:
    with torch.inference_mode():
        assert sparsebench.load("mini.dense", head=True).module(torch.zeros(2, 3, 32, 32)).shape == (2, 200)


def test_a_sparse_file_takes_a_quarter_of_the_dense_one() -> None:
    dense = sparsebench.load("mini.dense").info.path.stat().st_size
    assert sparsebench.load("mini.acdc_s90").info.path.stat().st_size <= dense / 4


def test_own_pth_with_masks_from_its_zeros(pruned_resnet18: Path) -> None:
    backbone = sparsebench.load(pruned_resnet18, arch="resnet18")
    assert backbone.info.mask_source == "zeros"
    assert backbone.info.num_classes == 7
    assert backbone.info.feature_dim == 512
    assert backbone.info.sparsity_measured == pytest.approx(0.8, abs=1e-4)
    assert "conv1.weight" not in backbone.masks
    assert backbone.preprocess.input_size == 224
    with torch.inference_mode():
        assert backbone.module(torch.zeros(1, 3, 64, 64)).shape == (1, 512)


def test_a_file_of_ours_names_its_architecture() -> None:
    by_id = sparsebench.load("mini.gmp_s90")
    backbone = sparsebench.load(by_id.info.path)
    assert backbone.info.checkpoint.method == "gmp"
    assert backbone.info.weights_sha256 == by_id.info.weights_sha256


@some_by_default
def test_an_embedded_file_loads_by_its_path_as_by_its_id(name: str) -> None:
    by_id = sparsebench.load(name)
    by_path = sparsebench.load(by_id.info.path)
    assert by_path.info.weights_sha256 == by_id.info.weights_sha256
    assert by_path.info.mask_sha256 == by_id.info.mask_sha256
    assert by_path.info.checkpoint.method == by_id.info.checkpoint.method
    assert by_path.info.checkpoint.sparsity == by_id.info.checkpoint.sparsity


@pytest.mark.parametrize("arch", ["mini", "timm/resnet18", "torchvision/mobilenet_v2"])
def test_a_network_whose_weights_are_loaded_is_built_without_drawing_any(arch: str) -> None:
    before = torch.get_rng_state()
    with backbones.skip_init():
        model = backbones.build(backbones.find(arch)[0], 3)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(bool((value == 1).all()) for name, value in model.named_buffers() if name.endswith("running_var"))


def test_a_name_of_both_libraries_means_the_one_whose_keys_fit(tmp_path: Path) -> None:
    model = torchvision.models.mobilenet_v3_small(num_classes=3)
    save_file(model.state_dict(), tmp_path / "m.safetensors")
    backbone = sparsebench.load(tmp_path / "m.safetensors", arch="mobilenet_v3_small")
    assert backbone.info.arch == "torchvision/mobilenet_v3_small"
    assert backbone.info.mask_source == "none"


def test_a_missing_head_is_allowed_but_gives_no_logits(tmp_path: Path) -> None:
    state = {k: v for k, v in torchvision.models.resnet18().state_dict().items() if not k.startswith("fc.")}
    save_file(state, tmp_path / "body.safetensors")
    info = sparsebench.load(tmp_path / "body.safetensors", arch="resnet18").info
    assert info.num_classes is None
    assert info.sparsity.params == sum(v.numel() for k, v in state.items() if k.endswith(("weight", "bias")))
    with pytest.raises(CheckpointError, match="has no classifier"):
        sparsebench.load(tmp_path / "body.safetensors", arch="resnet18", head=True)


def test_keys_that_do_not_fit_are_named(tmp_path: Path, pruned_resnet18: Path) -> None:
    with pytest.raises(CheckpointError, match=r"doesn't fit architecture .*resnet34.*keys missing \(layer1\.2\.conv1"):
        sparsebench.load(pruned_resnet18, arch="resnet34")
    state = torchvision.models.resnet18().state_dict()
    state["extra.weight"] = torch.zeros(1)
    save_file(state, tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match=r"1 keys unexpected \(extra.weight\)"):
        sparsebench.load(tmp_path / "a.safetensors", arch="resnet18")


def test_unknown_names() -> None:
    with pytest.raises(UnknownNameError, match=r"did you mean .*mini.acdc_s90"):
        sparsebench.load("mini.acdc_s9")
    with pytest.raises(CheckpointError, match="there is no file"):
        sparsebench.load("nowhere/file.pth", arch="resnet18")
    with pytest.raises(InputError, match="has architecture mini"):
        sparsebench.load("mini.dense", arch="resnet18")


def test_arch_is_recognised_or_needed_and_checked(pruned_resnet18: Path, tmp_path: Path) -> None:
    assert sparsebench.load(pruned_resnet18).info.arch == "resnet18"
    torch.save(torch.nn.Linear(3, 2).state_dict(), tmp_path / "unknown.pth")
    with pytest.raises(CheckpointError, match="doesn't say which architecture"):
        sparsebench.load(tmp_path / "unknown.pth")
    with pytest.raises(UnknownNameError, match="did you mean resnet18"):
        sparsebench.load(pruned_resnet18, arch="resnet_18")


def entry(path: Path, **fields: object) -> Checkpoint:
    values = {"id": "r.x", "method": "gmp", "arch": "resnet18", "sparsity": 0.8, "file": FileSource(path=str(path))}
    return Checkpoint.model_validate(values | fields)


def test_a_claimed_sparsity_is_checked_under_its_scope(pruned_resnet18: Path) -> None:
    assert load_entry(entry(pruned_resnet18, sparsity_scope="pruned_layers")).info.sparsity_measured == pytest.approx(
        0.8
    )
    with pytest.raises(CheckpointError, match=r"claims sparsity 0\.95 but measures 0\.8000"):
        load_entry(entry(pruned_resnet18, sparsity=0.95))


def test_a_wrong_hash_is_refused(pruned_resnet18: Path) -> None:
    right = FileSource(path=str(pruned_resnet18), sha256=sha256_file(pruned_resnet18))
    assert load_entry(entry(pruned_resnet18, file=right)).info.id == "r.x"
    with pytest.raises(CheckpointError, match="registered is 000000000000"):
        load_entry(entry(pruned_resnet18, file=FileSource(path=str(pruned_resnet18), sha256="0" * 64)))
    with pytest.raises(CheckpointError, match="is missing"):
        load_entry(entry(pruned_resnet18.with_name("gone.pth")))


def test_a_dense_entry_must_be_dense(pruned_resnet18: Path) -> None:
    with pytest.raises(CheckpointError, match=r"registered as dense, but 7\d\.\d% of its weights are zero"):
        load_entry(entry(pruned_resnet18, method="dense", sparsity=0, distribution="dense"))


def test_exempt_layers_must_exist_and_be_dense(pruned_resnet18: Path) -> None:
    with pytest.raises(CheckpointError, match=r"exempts layer 'conv9', which .*did you mean"):
        load_entry(entry(pruned_resnet18, exempt=["conv9"]))
    with pytest.raises(CheckpointError, match=r"exempts layer 'layer1.0.conv1', but its weights are pruned"):
        load_entry(entry(pruned_resnet18, exempt=["conv1", "fc", "layer1.0.conv1"]))
    assert load_entry(entry(pruned_resnet18, exempt=["conv1", "fc"])).info.sparsity_measured == pytest.approx(0.8)


def test_weights_that_are_not_numbers_are_refused(tmp_path: Path) -> None:
    state = torchvision.models.resnet18().state_dict()
    state["layer1.0.conv1.weight"][0, 0, 0, 0] = float("nan")
    save_file(state, tmp_path / "nan.safetensors")
    with pytest.raises(CheckpointError, match=r"layer1\.0\.conv1\.weight holds NaN"):
        sparsebench.load(tmp_path / "nan.safetensors", arch="resnet18")


def test_prunable_counts_layers_that_happen_to_be_dense(tmp_path: Path) -> None:
    state = torchvision.models.resnet18(num_classes=5).state_dict()
    state["layer4.0.conv1.weight"][:, ::2] = 0
    save_file(state, tmp_path / "one.safetensors")
    info = sparsebench.load(tmp_path / "one.safetensors", arch="resnet18").info
    weights = [v for k, v in state.items() if v.ndim > 1 and not k.startswith(("conv1.", "fc."))]
    zeros = int((state["layer4.0.conv1.weight"] == 0).sum())  # chance zeros of the others are dense
    assert info.sparsity_measured == pytest.approx(zeros / sum(w.numel() for w in weights))
    assert info.sparsity_measured < 0.06


def test_state_hash_ignores_the_sign_of_zero_and_step_counters() -> None:
    a = {"w": torch.tensor([0.0, 1.0]), "bn.num_batches_tracked": torch.tensor(1)}
    b = {"bn.num_batches_tracked": torch.tensor(9), "w": torch.tensor([-0.0, 1.0])}
    assert state_sha256(a) == state_sha256(b)
    assert state_sha256(a) != state_sha256({"w": torch.tensor([0.0, 2.0])})
