"""The processor's name in print."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def processor_name() -> str:
    """Return what the processor calls itself, else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine() or os.name
