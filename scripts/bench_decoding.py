"""Time decoding, resizing and cropping of JPEG files on one core: ours, to the published pipeline, in one run.

The published pipeline is torchvision's ``Resize(256)``, ``CenterCrop(224)``, ``ToTensor`` and ``Normalize`` on Pillow
images. The rounds are interleaved; medians and their spread are printed, with the mean and largest difference.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torchvision import transforms

from common import run_script
from sparsebench.bench.work import photographs
from sparsebench.datasets.images.decode import read_pixels, read_rgb
from sparsebench.datasets.images.transforms import Transform
from sparsebench.schema import Preprocess


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("folder", nargs="?", type=Path, help="JPEG files of your own")
    parser.add_argument("--images", type=int, default=100, help="files to write where no folder is given")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args(argv)
    torch.set_num_threads(1)
    published = transforms.Compose(
        [
            transforms.Resize(256),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    ours = Transform(Preprocess())
    ways: dict[str, Callable[[Path], torch.Tensor]] = {
        "published": lambda path: published(read_rgb(path)),
        "pillow": lambda path: ours.evaluate(read_rgb(path)),
        "fast": lambda path: ours.evaluate(read_pixels(path)),
    }
    with tempfile.TemporaryDirectory() as folder:
        given = arguments.folder
        paths = sorted(given.glob("*.jp*g")) if given else photographs(Path(folder), arguments.images)
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(arguments.rounds):
            for name, way in ways.items():
                began = time.process_time()
                for path in paths:
                    way(path)
                seconds[name].append((time.process_time() - began) / len(paths))
        off = [(ways["fast"](path).int() - ways["pillow"](path).int()).abs() for path in paths]
    base = statistics.median(seconds["published"])
    print(f"{'':10} {'img/s a core':>12} {'spread':>7} {'ratio':>6}")
    for name, values in seconds.items():
        middle = statistics.median(values)
        print(f"{name:10} {1 / middle:12.0f} {(max(values) - min(values)) / middle:7.0%} {base / middle:6.2f}")
    mean = float(np.mean([float(x.float().mean()) for x in off]))
    print(f"fast to pillow: mean difference {mean:.4f} grey levels, at most {max(int(x.max()) for x in off)}")
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
