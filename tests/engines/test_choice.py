from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

import sparsebench
from sparsebench import engines, extensions
from sparsebench.engines import choice, compile, prepare
from sparsebench.engines.sparse import available, library
from sparsebench.schema import InputError, Numerics, UnknownNameError

built = pytest.mark.skipif(not available(), reason="the kernels are not built")


def network(*last: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), *last, nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()


@pytest.fixture
def without_kernels(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(library, "PATH", tmp_path / "nothing.so")
    engines.say_once.cache_clear()
    for cached in (library.library, library.instruction_sets):
        cached.cache_clear()
    yield
    for cached in (library.library, library.instruction_sets):
        cached.cache_clear()


@pytest.mark.parametrize("engine", ["torch", "auto", pytest.param("sparse", marks=built)])
@pytest.mark.parametrize("count", [1, 2, 5, 16, 33])
def test_a_compiled_backbone_agrees_with_the_module_whatever_the_batch(engine, count):
    module = network()
    run = compile(module, (8, 3, 12, 12), engine=engine, threads=1)
    batch = torch.randn(count, 3, 12, 12, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        torch.testing.assert_close(run(batch), module(batch), rtol=1e-4, atol=1e-6)
    assert run.engine in extensions.names("engines")


def test_what_load_gives_can_be_compiled_and_threads_are_restored():
    before = torch.get_num_threads()
    run = compile(sparsebench.load("mini.acdc_s90"), (2, 3, 32, 32), threads=2)
    assert run(torch.zeros(2, 3, 32, 32)).shape == (2, 256)
    assert torch.get_num_threads() == before


@built
def test_auto_takes_the_fastest_and_leaves_out_what_can_not_run(monkeypatch):
    def least(calls):
        return {name: 1.0 if name == "torch" else 0.5 for name in calls}

    monkeypatch.setattr(choice, "_least", least)
    monkeypatch.setattr(choice, "_candidates", lambda numerics: ["torch", "sparse"])
    assert compile(network(), (8, 3, 12, 12)).engine == "sparse"
    assert compile(network(nn.Softsign()), (8, 3, 12, 12)).engine == "torch"
    monkeypatch.setattr(choice, "_least", lambda calls: {name: len(name) for name in calls})
    assert compile(network(), (8, 3, 12, 12)).engine == "torch"


@built
def test_small_batches_go_to_torch_where_it_is_faster():
    calls: list[tuple[str, int]] = []

    class Half:
        lanes = 8

        def __init__(self, name: str) -> None:
            self.name = name

        def __call__(self, batch):
            calls.append((self.name, len(batch)))
            return batch.flatten(1)[:, :2] / 2

    run = choice.Compiled("sparse", Half("sparse"), 1, Half("torch"), smallest=4)
    for count in (3, 4, 8, 10, 15):
        batch = torch.rand(count, 3, 2, 2)
        assert torch.equal(run(batch), batch.flatten(1)[:, :2] / 2)
    assert calls == [("torch", 3), ("sparse", 4), ("sparse", 8), ("torch", 2), ("sparse", 8), ("sparse", 15)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((network(), (8, 3, 12, 12), "sparce"), "did you mean sparse"),
        ((network(), (3, 12, 12)), "input_shape"),
        ((network(), (8, 3, 12, 12), "torch", 0), "threads=0"),
        (("resnet50", (8, 3, 12, 12)), "str is not a backbone"),
    ],
)
def test_bad_arguments_say_what_is_wrong(arguments, message):
    with pytest.raises(InputError, match=message):
        compile(*arguments)


def test_a_plan_never_holds_auto():
    with pytest.raises(UnknownNameError):
        prepare(network(), Numerics(engine="auto"), (8, 3, 12, 12))
    found = choice.pinned(network(), Numerics(engine="auto"), (8, 3, 12, 12))
    assert found.engine in extensions.names("engines")
    assert choice.pinned(network(), Numerics(engine="auto", precision="bf16"), (8, 3, 12, 12)).engine == "torch"


@built
@pytest.mark.parametrize(
    "numerics", [Numerics(engine="sparse", precision="bf16"), Numerics(engine="sparse", compile=True)]
)
def test_sparse_computes_in_fp32_only(numerics):
    with pytest.raises(InputError, match="engine 'sparse'"):
        choice.pinned(network(), numerics, (8, 3, 12, 12))


def test_without_kernels_torch_runs_and_that_is_said_once(without_kernels):
    module, batch = network(), torch.rand(3, 3, 12, 12)
    with pytest.warns(UserWarning, match="engine 'sparse' can't run here"):
        run = compile(module, (3, 3, 12, 12), engine="sparse")
    assert run.engine == "torch"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert choice.pinned(module, Numerics(engine="sparse"), (3, 3, 12, 12)).engine == "torch"
    with torch.inference_mode():
        torch.testing.assert_close(run(batch), module(batch))
    with pytest.raises(InputError, match="engine 'sparse' can't run here"):
        prepare(module, Numerics(engine="sparse"), (3, 3, 12, 12))


@pytest.mark.slow
@built
def test_memory_does_not_grow_and_a_forked_process_computes_too():
    code = """
import gc, os, resource, sys
import torch
from torch import nn
from sparsebench.engines.sparse import SparseEngine
net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
batch = torch.randn(9, 3, 8, 8)
engine = SparseEngine(net, 1, (9, 3, 8, 8), measure=False)
expected = engine(batch)
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for _ in range(500): engine(batch)
before = peak()
for _ in range(5000): engine(batch)
gc.collect(); gc.freeze()  # what was imported needn't be looked through each time
for _ in range(20): SparseEngine(net, 2, (9, 3, 8, 8), measure=False)(batch); gc.collect()
assert peak() - before < 16_000, peak() - before
engine = SparseEngine(net, 2, (9, 3, 8, 8), measure=False)
assert torch.equal(engine(batch), expected)
child = os.fork()
if child == 0:
    os._exit(0 if torch.equal(engine(batch), expected) else 1)
assert os.waitpid(child, 0)[1] == 0
assert torch.equal(engine(batch), expected)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
