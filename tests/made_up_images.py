"""A few made-up images of Tiny ImageNet's classes, in the file that the embedded checkpoints' own task is read from."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from sparsebench.registry import load_tasks


def own_images(folder: Path, count: int = 12, classes: int | None = None) -> Path:
    """Write ``tiny-imagenet-32.npz`` with noise of the first classes into a folder, and return the folder."""
    ids = load_tasks().task("tinyimagenet32").options["classes"][:classes]
    rng = np.random.default_rng(0)
    data = []
    for _ in range(count):
        out = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(out, "JPEG")
        data.append(out.getvalue())
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(
        folder / "tiny-imagenet-32.npz",
        classes=np.array([f"{wnid} something" for wnid in ids]),
        val_jpeg=np.frombuffer(b"".join(data), dtype=np.uint8),
        val_offset=np.cumsum([0, *map(len, data)]),
        val_label=np.arange(count) % len(ids),
    )
    return folder
