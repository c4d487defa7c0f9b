from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from trainings import train

from sparsebench.pruning.upstream import UpstreamData, open_upstream


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Networks this small are slower on several threads, much slower where the processor is busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def upstream_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Coloured noise in four classes as an .npz of JPEGs: 64 training and 32 validation images of 32x32."""
    rng = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {"classes": np.array(["a", "b", "c", "d"])}
    tint = np.array([[90, 0, 0], [0, 90, 0], [0, 0, 90], [60, 60, 60]])
    for split, count in (("train", 64), ("val", 32)):
        labels = np.arange(count) % 4
        jpegs = []
        for label in labels:
            pixels = np.clip(rng.normal(80, 30, (32, 32, 3)) + tint[label], 0, 255).astype(np.uint8)
            buffer = io.BytesIO()
            Image.fromarray(pixels).save(buffer, "JPEG")
            jpegs.append(np.frombuffer(buffer.getvalue(), np.uint8))
        arrays[f"{split}_jpeg"] = np.concatenate(jpegs)
        arrays[f"{split}_offset"] = np.cumsum([0, *map(len, jpegs)])
        arrays[f"{split}_label"] = labels.astype(np.int16)
    path = tmp_path_factory.mktemp("upstream") / "noise.npz"
    np.savez(path, **arrays)
    return path


@pytest.fixture(scope="session")
def upstream(upstream_file: Path) -> UpstreamData:
    return open_upstream(upstream_file, 32)


@pytest.fixture(scope="module")
def dense(upstream: UpstreamData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained dense weights to start from."""
    return train(upstream, tmp_path_factory.mktemp("dense") / "dense.safetensors", "dense").made[0].path
