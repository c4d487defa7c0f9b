"""A quick suite for tests of plans and runs: two epochs, one small image folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

PROTOCOLS = """
quick-linear: {mode: linear, probe: sgd, lr: 0.01, epochs: 4, milestones: [2]}
quick-full: {mode: full, lr: 0.01, epochs: 2, batch_size: 16, augment: task}
"""
SUITES = """
quick:
  tasks: [colours]
  archs: [mini]
  modes:
    linear: {protocol: quick-linear, seeds: [0, 1]}
    full: {protocol: quick-full, seeds: [0]}
"""
TASK = "loader: imagefolder\nroot: colours\naugment: {crop: shift, shift: 2}\n"


def image_folder(root: Path, classes: int = 3, images: int = 12, size: int = 32) -> Path:
    """Write noisy images of one colour per class."""
    rng = np.random.default_rng(0)
    for label in range(classes):
        folder = root / f"class{label}"
        folder.mkdir(parents=True)
        tint = rng.uniform(40, 200, 3)
        for i in range(images):
            pixels = np.clip(rng.normal(tint, 30, (size, size, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{i}.png")
    return root


def quick_suite(root: Path) -> Path:
    """Write a tasks folder with the suite ``quick`` and its data."""
    image_folder(root / "colours")
    (root / "colours.yaml").write_text(TASK)
    (root / "protocols.yaml").write_text(PROTOCOLS)
    (root / "suites.yaml").write_text(SUITES)
    return root
