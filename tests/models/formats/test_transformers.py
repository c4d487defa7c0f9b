"""Hugging Face's transformers: a ResNet's and a ViT's names, folders with their configs, and masks of such networks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from files import saved
from safetensors.torch import save_file
from torch import Tensor

import sparsebench
from sparsebench.models import backbones
from sparsebench.models.formats import complete, read_checkpoint
from sparsebench.models.formats.hub import description_beside, transformers_architecture
from sparsebench.schema import CheckpointError

State = dict[str, Tensor]


def vit_state(prefix: str = "vit.", width: int = 8, depth: int = 2) -> State:
    """Return a small ViT's tensors as transformers names them."""
    torch.manual_seed(0)
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.cls_token": (1, 1, width),
        "embeddings.position_embeddings": (1, 5, width),
        "embeddings.patch_embeddings.projection.weight": (width, 3, 16, 16),
        "layernorm.weight": (width,),
        "layernorm.bias": (width,),
        "pooler.dense.weight": (width, width),
    }
    for block in range(depth):
        layer = f"encoder.layer.{block}"
        for name in ("query", "key", "value"):
            shapes |= {f"{layer}.attention.attention.{name}.weight": (width, width)}
            shapes |= {f"{layer}.attention.attention.{name}.bias": (width,)}
        shapes |= {f"{layer}.attention.output.dense.weight": (width, width)}
        shapes |= {f"{layer}.intermediate.dense.weight": (4 * width, width)}
        shapes |= {f"{layer}.output.dense.weight": (width, 4 * width)}
        shapes |= {f"{layer}.layernorm_before.bias": (width,), f"{layer}.layernorm_after.bias": (width,)}
    state = {f"{prefix}{name}": torch.randn(shape) for name, shape in shapes.items()}
    return state | {"classifier.weight": torch.randn(3, width), "classifier.bias": torch.randn(3)}


def test_a_vits_three_projections_become_one(tmp_path: Path) -> None:
    state = vit_state()
    raw = read_checkpoint(saved(tmp_path / "a.bin", state))
    assert raw.format == "transformers"
    for block in (0, 1):
        attention = f"vit.encoder.layer.{block}.attention.attention"
        for leaf in ("weight", "bias"):
            parts = [state[f"{attention}.{name}.{leaf}"] for name in ("query", "key", "value")]
            assert torch.equal(raw.state[f"blocks.{block}.attn.qkv.{leaf}"], torch.cat(parts))
    renamed = {
        "cls_token": "vit.embeddings.cls_token",
        "pos_embed": "vit.embeddings.position_embeddings",
        "patch_embed.proj.weight": "vit.embeddings.patch_embeddings.projection.weight",
        "blocks.1.attn.proj.weight": "vit.encoder.layer.1.attention.output.dense.weight",
        "blocks.1.mlp.fc1.weight": "vit.encoder.layer.1.intermediate.dense.weight",
        "blocks.0.mlp.fc2.weight": "vit.encoder.layer.0.output.dense.weight",
        "blocks.0.norm1.bias": "vit.encoder.layer.0.layernorm_before.bias",
        "blocks.0.norm2.bias": "vit.encoder.layer.0.layernorm_after.bias",
        "norm.weight": "vit.layernorm.weight",
        "head.bias": "classifier.bias",
    }
    assert all(torch.equal(raw.state[ours], state[theirs]) for ours, theirs in renamed.items())
    assert raw.unused == ("vit.pooler.dense.weight",)


@pytest.mark.parametrize("prefix", ["", "module.vit.", "model.vit."])
def test_prefixes_don_t_matter(tmp_path: Path, prefix: str) -> None:
    state = vit_state(prefix)
    if prefix == "model.vit.":
        state = {name if name.startswith("model.") else f"model.{name}": v for name, v in state.items()}
    raw = read_checkpoint(saved(tmp_path / "a.bin", state))
    assert raw.state.keys() == read_checkpoint(saved(tmp_path / "b.bin", vit_state())).state.keys()


@pytest.mark.parametrize(
    ("change", "message"),
    [(None, "block 1 lacks key"), (torch.ones(4, 8), "block 1 differs in shape")],
)
def test_half_an_attention_is_refused(tmp_path: Path, change: Tensor | None, message: str) -> None:
    state = vit_state()
    name = "vit.encoder.layer.1.attention.attention.key.weight"
    state = {n: v for n, v in (state | {name: change}).items() if v is not None}
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(saved(tmp_path / "a.bin", state))


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("suffix", ["", "_mask"])
@pytest.mark.parametrize("dtype", [torch.bool, torch.float32, torch.uint8])
def test_masks_alone_of_a_vit_complete_its_weights(
    tmp_path: Path, wrapped: bool, suffix: str, dtype: torch.dtype
) -> None:
    """MULTIFLOW publishes the masks; the weights are facebook/dino-vitb16's."""
    weights = {name: v for name, v in vit_state("").items() if not name.startswith("classifier")}
    masks = {
        f"{name}{suffix}": (torch.rand(v.shape) < 0.5).to(dtype)
        for name, v in weights.items()
        if name.startswith("encoder.layer") and v.ndim == 2
    }
    masks |= {f"{name}{suffix}": torch.ones(v.shape).to(dtype) for name, v in weights.items() if name.endswith("bias")}
    saved(tmp_path / "masks.pt", {"masks": masks} if wrapped else masks)
    found = read_checkpoint(tmp_path / "masks.pt")
    assert found.format.endswith("masks")
    assert not found.state
    raw = complete(found, read_checkpoint(saved(tmp_path / "base.bin", weights)))
    assert raw.masks is not None
    assert {name for name, mask in raw.masks.items() if not mask.all()} == {
        f"blocks.{b}.{n}.weight" for b in (0, 1) for n in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
    }
    key = "encoder.layer.1.attention.attention.key.weight"
    rows = raw.state["blocks.1.attn.qkv.weight"][8:16]
    assert torch.equal(rows, weights[key] * masks[f"{key}{suffix}"])


def test_tensors_of_ones_alone_are_no_masks(tmp_path: Path) -> None:
    saved(tmp_path / "a.pth", {"a.weight": torch.ones(2, 2), "b.weight": torch.ones(2)})
    assert read_checkpoint(tmp_path / "a.pth").state.keys() == {"a.weight", "b.weight"}


def as_transformers_resnet(name: str) -> str:
    """Return transformers' name of a tensor of a basic ResNet's."""
    if name.startswith("fc."):
        return name.replace("fc.", "classifier.1.")
    if not name.startswith("layer"):
        return "resnet.embedder.embedder." + name.replace("conv1", "convolution").replace("bn1", "normalization")
    stage, block, rest = name.split(".", 2)
    layer = f"resnet.encoder.stages.{int(stage[-1]) - 1}.layers.{block}"
    if rest.startswith("downsample"):
        kind = "convolution" if rest.startswith("downsample.0") else "normalization"
        return f"{layer}.shortcut.{kind}.{rest.split('.')[-1]}"
    kind = "convolution" if rest.startswith("conv") else "normalization"
    number = int(rest.split(".")[0][-1]) - 1
    return f"{layer}.layer.{number}.{kind}.{rest.split('.')[-1]}"


def test_a_resnet_of_transformers_is_ours(tmp_path: Path) -> None:
    torch.manual_seed(1)
    state = dict(backbones.build(backbones.find("mini")[0], 5).state_dict())
    state = {n: v * (torch.rand(v.shape) < 0.5) if v.ndim == 4 else v for n, v in state.items()}
    save_file({as_transformers_resnet(n): v.contiguous() for n, v in state.items()}, tmp_path / "model.safetensors")
    backbone = sparsebench.load(tmp_path / "model.safetensors", arch="mini", head=True)
    assert backbone.info.format == "transformers"
    assert all(torch.equal(v, state[n]) for n, v in backbone.module.state_dict().items())
    assert set(backbone.masks) == {n for n, v in state.items() if v.ndim == 4}


def folder(path: Path, config: Any, processor: Any = None) -> Path:
    path.mkdir()
    (path / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    if processor is not None:
        (path / "preprocessor_config.json").write_text(json.dumps(processor))
    return path / "model.safetensors"


@pytest.mark.parametrize(
    ("config", "arch"),
    [
        ({"model_type": "vit"}, "vit_base_patch16_224"),  # transformers writes no defaults
        (
            {"model_type": "vit", "hidden_size": 384, "num_attention_heads": 6, "intermediate_size": 1536},
            "vit_small_patch16_224",
        ),
        ({"model_type": "vit", "patch_size": 32, "image_size": 384}, "vit_base_patch32_384"),
        ({"model_type": "vit", "num_attention_heads": 3}, ""),
        ({"model_type": "vit", "hidden_act": "relu"}, ""),
        ({"model_type": "deit"}, "deit_base_distilled_patch16_224"),
        ({"model_type": "resnet"}, "resnet50"),
        (
            {
                "model_type": "resnet",
                "layer_type": "basic",
                "hidden_sizes": [64, 128, 256, 512],
                "depths": [2, 2, 2, 2],
            },
            "resnet18",
        ),
        ({"model_type": "resnet", "depths": [3, 4, 23, 3]}, "resnet101"),
        ({"model_type": "resnet", "downsample_in_bottleneck": True}, ""),
        ({"model_type": "bert"}, ""),
        ({"model_type": ["vit"]}, ""),
        ({}, ""),
    ],
)
def test_architectures_follow_from_sizes(config: dict[str, Any], arch: str) -> None:
    assert transformers_architecture(config) == arch


def test_the_input_is_in_the_processors_config(tmp_path: Path) -> None:
    vit = {"size": {"height": 224, "width": 224}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3, "resample": 2}
    said = description_beside(folder(tmp_path / "vit", {"model_type": "vit"}, vit))
    assert said["named"] == ("vit_base_patch16_224",)
    assert said["preprocess"] == {
        "mean": [0.5] * 3, "std": [0.5] * 3, "input_size": 224, "crop_pct": 1.0, "interpolation": "bilinear"
    }  # fmt: skip
    resnet = {"size": {"shortest_edge": 224}, "crop_pct": 0.875, "resample": 3}
    said = description_beside(folder(tmp_path / "resnet", {"model_type": "resnet"}, resnet))
    assert said["preprocess"] == {"input_size": 224, "crop_pct": 0.875, "interpolation": "bicubic"}
    cropped = {"size": 256, "crop_size": {"height": 224, "width": 224}, "do_center_crop": True}
    said = description_beside(folder(tmp_path / "crop", {"model_type": "resnet"}, cropped))
    assert said["preprocess"] == {"input_size": 224, "crop_pct": 224 / 256}


@pytest.mark.parametrize("config", ["{", '{"model_type": "vit", "hidden_act": {}}', "[1]", '"vit"', "\x00"])
def test_a_damaged_config_is_ours_to_name(tmp_path: Path, config: str) -> None:
    weights = folder(tmp_path / "a", config)
    save_file({"a.weight": torch.ones(2, 2)}, weights)
    with pytest.raises(CheckpointError):
        sparsebench.load(tmp_path / "a", arch="mini")


@pytest.mark.slow
def test_folders_need_no_architecture(tmp_path: Path) -> None:
    import timm

    torch.manual_seed(2)
    network = timm.create_model("vit_tiny_patch16_224", num_classes=3).eval()
    state: State = {}
    for name, value in network.state_dict().items():
        for ours, theirs in (
            ("blocks.", "vit.encoder.layer."),
            ("attn.proj", "attention.output.dense"),
            ("mlp.fc1", "intermediate.dense"),
            ("mlp.fc2", "output.dense"),
            ("norm1", "layernorm_before"),
            ("norm2", "layernorm_after"),
            ("cls_token", "vit.embeddings.cls_token"),
            ("pos_embed", "vit.embeddings.position_embeddings"),
            ("patch_embed.proj", "vit.embeddings.patch_embeddings.projection"),
            ("head.", "classifier."),
        ):
            name = name.replace(ours, theirs)
        name = f"vit.layernorm{name.removeprefix('norm')}" if name.startswith("norm.") else name
        if ".attn.qkv" in name:
            for part, value_ in zip(("query", "key", "value"), value.chunk(3), strict=True):
                state[name.replace("attn.qkv", f"attention.attention.{part}")] = value_.contiguous()
        else:
            state[name] = value
    config = {"model_type": "vit", "hidden_size": 192, "num_attention_heads": 3, "intermediate_size": 768}
    save_file(state, folder(tmp_path / "tiny", config, {"size": 224, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}))
    backbone = sparsebench.load(tmp_path / "tiny", head=True)
    assert backbone.info.arch == "vit_tiny_patch16_224"
    images = torch.randn(2, 3, 224, 224)
    with torch.inference_mode():
        torch.testing.assert_close(backbone.module(images), network(images))
