"""How a frozen backbone is run: a module becomes a callable from a normalised batch to features.

What an engine is called and can do is declared in :mod:`.declared`, so that a plan can check a name without torch.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, cast

from .. import extensions
from ..schema import InputError, Numerics, UnknownNameError
from .memory import keep_pages

if TYPE_CHECKING:
    from torch import Tensor, nn

    Engine = Callable[[Tensor], Tensor]

AUTO = "auto"
"""Stands for the engine that a measurement finds fastest; a plan holds what it found, never this."""


def prepare(module: nn.Module, numerics: Numerics, input_shape: tuple[int, ...]) -> Engine:
    """Make a frozen backbone ready to run.

    Parameters
    ----------
    module : nn.Module
        The backbone; it is copied, never changed.
    numerics : Numerics
        Engine, device, precision, memory layout and compilation.
    input_shape : tuple of int
        Shape (B, 3, H, W) of a typical batch; other batch sizes work too.

    Returns
    -------
    callable
        From a float batch (B, 3, H, W) on ``numerics.device`` to float32 features (B, d) on the same device.

    Raises
    ------
    UnknownNameError
        If no engine has the name ``numerics.engine``.
    InputError
        If the engine isn't installed, doesn't understand the backbone, or can't compute as asked.
    """
    engine: extensions.Engine = extensions.get("engines", numerics.engine)
    engine.check_numerics(numerics)
    if (missing := engine.missing()) is not None:
        raise InputError(f"engine {engine.name!r} can't run here", missing)
    return cast("Engine", extensions.load(engine.build)(module, numerics, input_shape))


def compile(backbone: object, input_shape: tuple[int, ...], engine: str = AUTO, threads: int | None = None) -> Engine:
    """Return a callable from a float batch to features, on the CPU in fp32.

    Parameters
    ----------
    backbone : Backbone or nn.Module
        What :func:`sparsebench.load` gives, or any module; it is copied, never changed.
    input_shape : tuple of int
        Shape (B, C, H, W) of a typical batch; other batch sizes work too.
    engine : str
        A name of ``sparsebench list engines``, a Python file that declares one, or ``auto``: the fastest of those that
        are there, measured on this backbone.
    threads : int, optional
        CPU threads; by default torch's.

    Returns
    -------
    callable
        From a float batch (B, C, H, W) to float32 features (B, d); its attribute ``engine`` names the choice.

    Raises
    ------
    UnknownNameError
        If there is no engine of this name.
    InputError
        If the engine doesn't understand the backbone (it names the layer), or isn't installed. Where the kernels of
        ``sparse`` were not built, that is a warning, given once, and torch runs the backbone.
    """
    from .choice import compiled

    return cast("Engine", compiled(backbone, input_shape, engine, threads))


def trainable(backbone: object, threads: int | None = None) -> nn.Module:
    """Return a backbone as a module that trains in our own kernels, on the CPU in float32, for a loop of one's own.

    Its forward pass gives features, its backward pass gradients of every parameter; what a mask holds at zero neither
    takes part nor has a gradient other than zero. Names in ``state_dict()`` are the backbone's.

    Parameters
    ----------
    backbone : Backbone or nn.Module
        What :func:`sparsebench.load` gives, or a module, whose zeros are then its masks. It is copied, never changed.
    threads : int, optional
        CPU threads; by default torch's.

    Raises
    ------
    InputError
        If a layer isn't understood (it is named), or the kernels were not built.
    """
    from .sparse.training import trainable as build

    return build(backbone, threads=threads)


def check_name(engine: str) -> None:
    """Raise UnknownNameError unless there is an engine of this name."""
    if extensions.find("engines", engine) is None:
        raise UnknownNameError("engine", engine, (*extensions.names("engines"), AUTO))


def check_choice(engine: str) -> None:
    """Raise UnknownNameError unless there is an engine of this name, or it is ``auto``."""
    if engine != AUTO:
        check_name(engine)


def check_numerics(numerics: Numerics, *, elsewhere: bool = False) -> None:
    """Check what can be said of engine, device and precision without a backbone; torch is imported for a GPU alone.

    Parameters
    ----------
    numerics : Numerics
        What is asked for.
    elsewhere : bool
        Whether it is computed on other machines, whose GPUs aren't known here.

    Raises
    ------
    InputError
        If there is no such engine or device, or a CPU is to compute in ``fp16``.
    """
    check_choice(numerics.engine)
    if elsewhere and numerics.device.partition(":")[0] == "cuda":
        return
    kind = numerics.device
    if kind != "cpu":
        from .context import check_gpus, device_of

        kind = device_of(numerics).type
        if kind == "cuda" and numerics.processes > 1:
            check_gpus(numerics.processes)
    if kind == "cpu" and numerics.precision == "fp16":
        raise InputError("precision fp16 needs a GPU", "use bf16 or fp32 on a CPU")


def signature(engine: str) -> str:
    """Return what a cached feature's key says of its engine."""
    return f"{engine} {extensions.get('engines', engine).version}"


@cache
def say_once(text: str) -> None:
    """Warn, once in a process."""
    warnings.warn(text, stacklevel=3)


__all__ = [
    "AUTO",
    "check_choice",
    "check_name",
    "check_numerics",
    "compile",
    "keep_pages",
    "prepare",
    "signature",
    "trainable",
]
