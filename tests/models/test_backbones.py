from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch

import sparsebench
from sparsebench.models import backbones
from sparsebench.schema import CheckpointError, UnknownNameError


@pytest.mark.parametrize(
    "arch",
    [
        "repvit_m0_9",
        pytest.param("levit_128s", marks=pytest.mark.slow),
        pytest.param("deit_tiny_distilled_patch16_224", marks=pytest.mark.slow),
    ],
)
def test_architectures_with_two_classifiers_load_and_give_their_own_outputs(tmp_path: Path, arch: str) -> None:
    torch.manual_seed(0)
    model = timm.create_model(arch, num_classes=4).eval()
    torch.save(model.state_dict(), tmp_path / "m.pth")
    images = torch.randn(1, 3, 224, 224)
    whole = sparsebench.load(tmp_path / "m.pth", arch=arch, head=True)
    features = sparsebench.load(tmp_path / "m.pth", arch=arch)
    assert whole.info.num_classes == 4
    assert whole.info.weights_sha256 == features.info.weights_sha256
    with torch.inference_mode():
        torch.testing.assert_close(whole.module(images), model(images))
        assert features.module(images).shape == (1, features.info.feature_dim)
    headless = {name: v for name, v in model.state_dict().items() if "head" not in name}
    torch.save(headless, tmp_path / "m.pth")
    assert sparsebench.load(tmp_path / "m.pth", arch=arch).info.weights_sha256 == features.info.weights_sha256


def test_an_image_size_that_an_architecture_does_not_take_is_named() -> None:
    vit = backbones.find("deit_tiny_patch16_224")[0]
    assert backbones.feature_dim(vit, 224) == 192
    with pytest.raises(CheckpointError, match="takes no images of 97 pixels"):
        backbones.feature_dim(vit, 97)


def test_a_tag_that_timm_does_not_know_is_an_unknown_name() -> None:
    with pytest.raises(UnknownNameError):
        backbones.find("resnet18.no_such_tag")
    assert not backbones.is_known("hf_hub:somebody/something")
