from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from sparsebench import extensions
from sparsebench.engines import check_name, keep_pages, prepare
from sparsebench.engines.context import device_of, emulated, repeatable
from sparsebench.schema import InputError, Numerics, UnknownNameError


def network() -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    return layers.eval()


@pytest.fixture
def batch() -> torch.Tensor:
    return torch.randn(4, 3, 10, 10, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("channels_last", [True, False])
def test_features_agree_with_the_module(batch, channels_last):
    module = network()
    run = prepare(module, Numerics(channels_last=channels_last), tuple(batch.shape))
    with torch.no_grad():
        expected = module(batch)
    torch.testing.assert_close(run(batch), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(run(batch[:1]), expected[:1], rtol=1e-5, atol=1e-6)
    assert run.folded == 1


def test_a_module_in_train_mode_is_run_in_eval_mode_and_left_in_train_mode(batch):
    module = network().train()
    run = prepare(module, Numerics(), tuple(batch.shape))
    assert torch.equal(run(batch), run(batch))
    assert module.training
    assert int(module[1].num_batches_tracked) == 0
    assert all(p.requires_grad for p in module.parameters())


def test_half_precision_gives_float32_features_near_the_exact_ones(batch):
    module = network()
    exact = prepare(module, Numerics(), tuple(batch.shape))(batch)
    rough = prepare(module, Numerics(precision="bf16"), tuple(batch.shape))(batch)
    assert rough.dtype == torch.float32
    assert not torch.equal(rough, exact)
    torch.testing.assert_close(rough, exact, rtol=0.02, atol=0.02)


def test_an_unknown_engine_names_the_nearest(batch):
    with pytest.raises(UnknownNameError, match="did you mean torch"):
        prepare(network(), Numerics(engine="trch"), tuple(batch.shape))
    for name in extensions.names("engines"):
        check_name(name)


@pytest.mark.parametrize("device", ["gpu", "cuda:999"])
def test_a_device_that_is_not_there_is_bad_input(device):
    with pytest.raises(InputError, match=device) as caught:
        device_of(Numerics(device=device))
    assert caught.value.exit_code == 2


def test_repeatable_restores_torchs_settings():
    before = torch.backends.cudnn.deterministic, torch.are_deterministic_algorithms_enabled()
    with repeatable(torch.device("cuda")):
        assert torch.backends.cudnn.deterministic
        assert not torch.backends.cudnn.allow_tf32
    assert (torch.backends.cudnn.deterministic, torch.are_deterministic_algorithms_enabled()) == before


def test_checking_a_name_needs_no_torch():
    code = (
        "import sys; from sparsebench.engines import check_name; check_name('torch'); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_keeping_pages_reports_what_it_did_and_is_harmless():
    # In a process of its own: the setting lasts as long as the process.
    code = (
        "from sparsebench.engines import keep_pages; import numpy as np\n"
        "assert keep_pages() in (True, False)\n"
        "for _ in range(3): assert np.ones(30_000_000, np.float32).sum() == 30_000_000\n"
        "print(keep_pages())"
    )
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout.strip() in ("True", "False")


def test_keeping_pages_does_nothing_elsewhere(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert keep_pages() is False


@pytest.mark.parametrize(("has", "slow"), [({}, False), ({"avx512_bf16": False}, True), ({"amx_bf16": True}, False)])
def test_a_processor_without_a_precision_is_known(
    monkeypatch: pytest.MonkeyPatch, has: dict[str, bool], slow: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has, raising=False)
    assert emulated("cpu", "bf16") is slow
    assert not emulated("cpu", "fp32")
