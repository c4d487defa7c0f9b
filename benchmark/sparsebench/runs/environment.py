"""What else a number may depend on: versions and processor, recorded beside it."""

from __future__ import annotations

import platform
from functools import cache
from importlib.metadata import version

import torch

from ..common.processor import processor_name
from ..common.version import __version__
from ..datasets.images.resize import resize_version

PACKAGES = ("torch", "torchvision", "timm", "numpy", "pillow")
VERSIONED = (*PACKAGES, "resize")
"""What must be equal, beside numerics, for equal numbers on equal processors."""


@cache
def environment() -> dict[str, str]:
    """Return what else the numbers may depend on: versions, what resizes, processor (no names of people or hosts)."""
    found = {"sparsebench": __version__, **{name: version(name) for name in PACKAGES}}
    found["python"] = platform.python_version()
    found["resize"] = resize_version()
    found["processor"] = processor_name()
    found["cpu_capability"] = torch.backends.cpu.get_cpu_capability()
    if torch.cuda.is_available():
        found["gpu"] = torch.cuda.get_device_name()
    return found
