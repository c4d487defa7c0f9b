"""What the kernels promise in use: no growth in memory, the same bits in every process, torch's numbers everywhere."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn

import sparsebench
import sparsebench.models.architectures.registration
from networks import images, prune, randomise
from sparsebench.engines import prepare
from sparsebench.engines.sparse import SparseEngine, available, instruction_sets
from sparsebench.schema import Numerics

pytestmark = pytest.mark.skipif(not available(), reason="the kernels are not built")

STATM = Path("/proc/self/statm")
MEBIBYTE = 2**20


def small(seed: int = 0) -> nn.Module:
    """Plain, depthwise, strided and pooling layers."""
    torch.manual_seed(seed)
    module = nn.Sequential(
        nn.Conv2d(3, 12, 3, 2, 1), nn.ReLU(), nn.Conv2d(12, 12, 3, 1, 1, groups=12), nn.ReLU6(), nn.Conv2d(12, 20, 1),
        nn.MaxPool2d(3, 2, 1), nn.Conv2d(20, 24, 1, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    )  # fmt: skip
    return prune(module, 0.7)


def resident() -> int:
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def close(found: Tensor, expected: Tensor) -> None:
    """The largest difference over the largest value is at most 1e-4."""
    assert found.shape == expected.shape
    assert float((found - expected).abs().max() / expected.abs().max()) < 1e-4


@pytest.mark.skipif(not STATM.exists(), reason="this system doesn't say how much memory is used")
def test_ten_thousand_calls_take_no_more_memory():
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    engine, batch = SparseEngine(module, 1, (3, 3, 6, 6), measure=False), images(3, 3, 6, 6)
    expected = engine(batch)
    for _ in range(500):
        engine(batch)
    before = resident()
    for _ in range(10_000):
        found = engine(batch)
    assert resident() - before < 8 * MEBIBYTE
    assert torch.equal(found, expected)


@pytest.mark.skipif(not STATM.exists(), reason="this system doesn't say how much memory is used")
def test_the_programs_of_many_image_sizes_are_freed():
    """Each takes 2 MiB at least."""
    engine = SparseEngine(small(), 1, (1, 3, 8, 8), measure=False)
    for size in range(8, 16):
        engine(images(1, 3, size, size))
    before = resident()
    for size in range(16, 56):
        engine(images(1, 3, size, size))
    assert resident() - before < 16 * MEBIBYTE


def in_child(compute: Callable[[], Tensor]) -> tuple[int, int]:
    """Start a forked process that computes; return its id and where its features come from."""
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(into, compute().numpy().tobytes())
        finally:
            os._exit(0)
    os.close(into)
    return child, out


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_forked_processes_compute_the_same_bits_at_once():
    """One child goes on with its parent's engine, another makes its own; the parent computes meanwhile."""
    module, batch = small(), images(9, 3, 20, 20)
    engine = SparseEngine(module, 2, (9, 3, 20, 20), measure=False)
    expected = engine(batch)
    children = [
        in_child(lambda: engine(batch)),
        in_child(lambda: SparseEngine(module, 2, (9, 3, 20, 20), measure=False)(batch)),
    ]
    again = engine(batch)
    for child, out in children:
        with os.fdopen(out, "rb") as pipe:
            found = np.frombuffer(pipe.read(), np.float32)
        os.waitpid(child, 0)
        np.testing.assert_array_equal(found.reshape(expected.shape), expected.numpy())
    assert torch.equal(again, expected)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("threads", [1, 2])
def test_a_process_forked_during_a_call_computes_the_same_bits(threads: int):
    module, batch = small(), images(9, 3, 20, 20)
    engine = SparseEngine(module, threads, (9, 3, 20, 20), measure=False)
    expected = engine(batch)

    def compute() -> Tensor:
        signal.alarm(60)  # rather than wait for ever
        return engine(batch)

    inside, go_on = threading.Event(), threading.Event()
    program = engine.program(20, 20)
    run, program.run = program.run, lambda io: (inside.set(), go_on.wait(60), run(io))  # type: ignore[method-assign]
    caller = threading.Thread(target=engine, args=(batch,))
    caller.start()
    assert inside.wait(60)
    del program.run
    child, out = in_child(compute)
    go_on.set()
    caller.join()
    with os.fdopen(out, "rb") as pipe:
        found = np.frombuffer(pipe.read(), np.float32)
    os.waitpid(child, 0)
    np.testing.assert_array_equal(found.reshape(expected.shape), expected.numpy())


@pytest.mark.slow
def test_two_processes_at_once_compute_the_same_bits_as_one():
    code = (
        "import sys, torch, sparsebench; from sparsebench.engines import compile\n"
        "batch = torch.randn(20, 3, 32, 32, generator=torch.Generator().manual_seed(1))\n"
        "run = compile(sparsebench.load('mini.acdc_s95'), (20, 3, 32, 32), 'sparse', threads=2)\n"
        "found = [run(batch) for _ in range(40)]\n"
        "assert all(torch.equal(each, found[0]) for each in found)\n"
        "sys.stdout.buffer.write(found[0].numpy().tobytes())\n"
    )
    command = [sys.executable, "-c", code]
    alone = subprocess.run(command, check=True, capture_output=True).stdout
    together = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(2)]
    assert [process.communicate()[0] for process in together] == [alone, alone]
    with torch.inference_mode():
        expected = sparsebench.load("mini.acdc_s95").module.eval()(images(20, 3, 32, 32))
    close(torch.frombuffer(bytearray(alone), dtype=torch.float32).reshape(20, -1), expected)


@pytest.mark.parametrize("size", [(31, 31), (17, 33), (45, 23)], ids=str)
def test_every_batch_up_to_40_at_odd_sizes_agrees_with_torch(size):
    module, batch = sparsebench.load("mini.dense").module.eval(), images(40, 3, *size)
    engine = SparseEngine(module, 2, (8, 3, *size), measure=False)
    with torch.inference_mode():
        expected = module(batch)
    for count in range(1, 41):
        close(engine(batch[:count]), expected[:count])


@pytest.mark.parametrize("isa", list(instruction_sets()))
@pytest.mark.parametrize("checkpoint", ["mini.dense", "mini.acdc_s95"])
def test_every_instruction_set_agrees_with_torch(checkpoint, isa):
    module, batch = sparsebench.load(checkpoint).module.eval(), images(19, 3, 32, 32)
    engine = SparseEngine(module, 1, (19, 3, 32, 32), isa=isa, measure=False)
    assert engine.isa == isa
    with torch.inference_mode():
        close(engine(batch), module(batch))


def test_bits_depend_on_neither_measuring_nor_threads():
    module, batch = small(), images(19, 3, 33, 27)
    expected = SparseEngine(module, 1, (19, 3, 33, 27), measure=False)(batch)
    for threads in (1, 2, 3):
        for measure in (False, True):
            found = SparseEngine(module, threads, (19, 3, 33, 27), measure=measure)(batch)
            assert torch.equal(found, expected), (threads, measure)


def test_efficientnet_lite0_at_an_odd_size_agrees_with_torch():
    torch.manual_seed(0)
    module = prune(randomise(timm.create_model("tf_efficientnet_lite0", num_classes=0)), 0.9)
    batch = images(3, 3, 75, 61)
    engine = SparseEngine(module, 2, (3, 3, 75, 61), measure=False)
    with torch.inference_mode():
        close(engine(batch), module(batch))


@pytest.mark.parametrize("checkpoint", ["mini.dense", "mini.rigl_s80"])
def test_onnxruntime_agrees_with_torch_at_other_batch_sizes_too(checkpoint):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    module, batch = sparsebench.load(checkpoint).module.eval(), images(33, 3, 32, 32)
    run = prepare(module, Numerics(engine="onnxruntime"), (8, 3, 32, 32))
    with torch.inference_mode():
        expected = module(batch)
        for count in (1, 7, 8, 33):
            close(run(batch[:count]), expected[:count])
        odd = images(2, 3, 45, 31)
        close(run(odd), module(odd))
