"""Device, precision and determinism: the settings under which a network's arithmetic is repeatable."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch

from ..schema import InputError, Numerics

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def device_of(numerics: Numerics) -> torch.device:
    """Return the device a run computes on (see :func:`find_device`)."""
    return find_device(numerics.device)


def find_device(name: str) -> torch.device:
    """Return a device by name.

    Raises
    ------
    InputError
        If this machine, or this build of torch, doesn't have it.
    """
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError(f"unknown device {name!r}", "use cpu, cuda, or cuda:N") from None
    if device.type not in ("cpu", "cuda", "mps") or (device.type == "mps" and not torch.backends.mps.is_available()):
        raise InputError(f"device {name!r} is not available here", "use --device cpu")
    # A large index comes back from torch.device as a negative one.
    if device.type == "cuda" and not 0 <= (device.index or 0) < torch.cuda.device_count():
        raise InputError(
            f"device {name!r} isn't there: torch sees {torch.cuda.device_count()} CUDA devices",
            "use --device cpu, or a build of torch for this GPU's driver",
        )
    return device


def check_gpus(processes: int) -> None:
    """Raise InputError where there are fewer GPUs than processes of a run."""
    if torch.cuda.device_count() < processes:
        raise InputError(
            f"--processes-per-run {processes} needs as many GPUs, and torch sees {torch.cuda.device_count()}",
            "give fewer processes, or --device cpu",
        )


def device_class(device: torch.device) -> str:
    """Name the kind of processor, as far as its kind can change a rounding: ``cpu/AVX512`` or ``cuda/<GPU model>``."""
    if device.type == "cpu":
        return f"cpu/{torch.backends.cpu.get_cpu_capability()}"
    if device.type == "cuda":
        return f"cuda/{torch.cuda.get_device_name(device)}"
    return device.type


def emulated(device: str, precision: str) -> bool:
    """Return whether a processor lacks a half precision's arithmetic and computes it the long way."""
    if precision == "fp32" or find_device(device).type != "cpu":
        return False
    has = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    native = ("amx_fp16", "avx512_fp16", "fp16") if precision == "fp16" else ("amx_bf16", "avx512_bf16", "bf16")
    return bool(has) and not any(has.get(name, False) for name in native)


def autocast(numerics: Numerics) -> AbstractContextManager[None]:
    """Return the mixed-precision context of the run (without effect for fp32)."""
    kind = torch.device(numerics.device).type
    return torch.autocast(kind, dtype=_DTYPES[numerics.precision], enabled=numerics.precision != "fp32")


@contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """Compute so that the same inputs give the same bits, and fp32 means fp32 (no TF32); settings are restored after.

    On a CPU there is nothing to set: with equal threads its kernels are deterministic.
    """
    if device.type != "cuda":
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when the first cuBLAS handle is made
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = (cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32)
    strict = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    try:
        cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32 = True, False, False, False
        torch.use_deterministic_algorithms(True, warn_only=True)
        yield
    finally:
        cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32 = before
        torch.use_deterministic_algorithms(strict[0], warn_only=strict[1])
