"""Features by depth: which stages there are, and what is kept of them."""

import numpy as np
import torch
from torch import nn

from sparsebench.transfer.features.depth import features_by_depth, stages


class Small(nn.Module):
    """A stem, two stages of blocks, and pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(4)
        self.layer1 = nn.Sequential(nn.Conv2d(4, 5, 1), nn.Conv2d(5, 6, 1))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.pool(self.layer1(self.bn1(self.conv1(x)))).flatten(1))


def test_stages_are_blocks_in_order() -> None:
    assert list(stages(Small())) == ["conv1", "layer1.0", "layer1.1"]


def test_each_stage_is_its_mean_over_positions() -> None:
    torch.manual_seed(0)
    module, x = Small().eval(), torch.randn(7, 3, 8, 8)
    found = features_by_depth(module, x.split(3))
    assert list(found) == ["conv1", "layer1.0", "layer1.1", "features"]
    assert [v.shape for v in found.values()] == [(7, 4), (7, 5), (7, 6), (7, 6)]
    with torch.inference_mode():
        np.testing.assert_allclose(found["conv1"], module.conv1(x).mean(dim=(2, 3)), atol=1e-6)
        np.testing.assert_allclose(found["features"], module(x), atol=1e-6)
    np.testing.assert_allclose(found["layer1.1"], found["features"], atol=1e-6)
    assert not module.conv1._forward_hooks, "hooks are taken off again"
