"""The kept engine: the same for the same backbone, numerics and shape, another for any other."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sparsebench.engines.kept import KeptEngine
from sparsebench.schema import Numerics, UnknownNameError


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()


def test_an_engine_is_made_again_only_for_another_backbone_numerics_or_shape() -> None:
    kept, first, second = KeptEngine(), network(), network()
    engine = kept.prepare(first, Numerics(), (8, 3, 6, 6))
    assert kept.prepare(first, Numerics(), (8, 3, 6, 6)) is engine
    for other in (
        (first, Numerics(), (4, 3, 6, 6)),
        (first, Numerics(channels_last=False), (4, 3, 6, 6)),
        (second, Numerics(channels_last=False), (4, 3, 6, 6)),
    ):
        made = kept.prepare(*other)
        assert made is not engine
        assert kept.prepare(*other) is made
        engine = made
    x = torch.randn(4, 3, 6, 6)
    torch.testing.assert_close(engine(x), second(x))


def test_what_cannot_be_made_is_not_kept() -> None:
    kept = KeptEngine()
    with pytest.raises(UnknownNameError):
        kept.prepare(network(), Numerics(engine="nonsense"), (4, 3, 6, 6))
    assert kept.prepare(network(), Numerics(), (4, 3, 6, 6)) is not None
