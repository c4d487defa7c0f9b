"""Fixtures shared by all tests: a cache of their own, and small checkpoints."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

if sys.dont_write_bytecode:  # every process that a test starts would take ten seconds to import torch
    sys.dont_write_bytecode = False
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    BYTECODE = sys.pycache_prefix = os.environ["PYTHONPYCACHEPREFIX"] = tempfile.mkdtemp(prefix="bytecode-")
else:
    BYTECODE = None

import torch
from hypothesis import settings

from sparsebench.models import backbones, masks
from sparsebench.pruning.distributions import global_masks

# no deadline: a machine under load takes longer now and then, which is no failure
settings.register_profile("quick", deadline=None, max_examples=25)
settings.register_profile("thorough", deadline=None, max_examples=200)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


def pytest_configure() -> None:
    """Give each of several test processes one thread, so that they don't fight over the cores.

    A command in the background of a script ignores Ctrl-C, and so would all that it starts; tests send it.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if "PYTEST_XDIST_WORKER" in os.environ:
        torch.set_num_threads(1)
        os.environ["OMP_NUM_THREADS"] = "1"
        gc.disable()  # until everything is imported


def pytest_unconfigure() -> None:
    """Remove the bytecode that was written in a folder of its own."""
    if BYTECODE is not None:
        shutil.rmtree(BYTECODE, ignore_errors=True)


def pytest_collection_finish() -> None:
    """Let the garbage collector pass over what was imported: looking through it takes a fifth of the tests' time."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keep the tests out of the user's cache and off the network, and their thread count out of the other tests."""
    monkeypatch.setenv("SPARSEBENCH_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.setenv("SPARSEBENCH_OFFLINE", "1")
    for name in ("SPARSEBENCH_CHECKPOINTS", "SPARSEBENCH_DATA"):
        monkeypatch.delenv(name, raising=False)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write reports without their figures, which take longer to draw than all the rest."""
    monkeypatch.setattr("sparsebench.report.write.figures_of", lambda *_: iter(()))


@pytest.fixture(scope="session")
def pruned_resnet18(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's own file, only to be read: a resnet18 of 7 classes, pruned to 80 % but for its stem, by torch.save."""
    torch.manual_seed(0)
    architecture = backbones.find("resnet18")[0]
    model = backbones.build(architecture, 7)
    weights = masks.prunable(model, ("conv1", "fc"))
    masks.apply(model, global_masks({name: w.detach().abs() for name, w in weights.items()}, 0.8))
    path = tmp_path_factory.mktemp("own") / "mine.pth"
    torch.save({"epoch": 3, "state_dict": {f"module.{k}": v for k, v in model.state_dict().items()}}, path)
    return path
