from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparsebench.models import backbones
from sparsebench.pruning.small_maps import use_matrix_products, weight_gradient


@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (3, 1)])
@pytest.mark.parametrize("stride", [(1, 1), (2, 2), (2, 1)])
@pytest.mark.parametrize("padding", [(0, 0), (1, 1), (0, 1)])
def test_the_product_is_the_gradient(
    kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    x = torch.randn(5, 6, 7, 8, dtype=torch.double)
    weight = torch.randn(4, 6, *kernel, dtype=torch.double, requires_grad=True)
    out = F.conv2d(x, weight, None, stride, padding)
    gradient = torch.randn_like(out)
    expected = torch.autograd.grad(out, weight, gradient)[0]
    torch.testing.assert_close(weight_gradient(x, gradient, weight.shape, stride, padding), expected)


def _gradients(model: nn.Module, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
    with torch.autocast("cpu", torch.bfloat16):
        loss = F.cross_entropy(model(images).float(), labels)
    return dict(zip(dict(model.named_parameters()), torch.autograd.grad(loss, list(model.parameters())), strict=True))


def test_a_networks_gradients_stay_what_they_were() -> None:
    torch.manual_seed(0)
    model = backbones.build(backbones.find("mini")[0], 10).to(memory_format=torch.channels_last)
    images, labels = torch.randn(16, 3, 32, 32), torch.randint(10, (16,))
    plain = copy.deepcopy(model)
    use_matrix_products(model)
    assert set(model.state_dict()) == set(plain.state_dict())
    ours, theirs = _gradients(model, images, labels), _gradients(plain, images, labels)
    whole = torch.autograd.grad(F.cross_entropy(plain(images), labels), list(plain.parameters()))  # in fp32
    exact = dict(zip(ours, whole, strict=True))
    changed = 0
    for name, gradient in exact.items():
        size = gradient.norm()
        assert (ours[name] - gradient).norm() < 1.5 * (theirs[name] - gradient).norm() + 1e-3 * size, name
        assert ours[name].dtype == torch.float32
        changed += not torch.equal(ours[name], theirs[name])
    assert changed > 0  # it was used at all
    with torch.no_grad():
        assert torch.equal(model(images), plain(images))
    assert torch.equal(model(images), plain(images))  # in fp32 nothing changes
