"""How a frozen backbone is run: a module becomes a callable from a normalised batch to features.

An engine is one module of this package with a function ``build(module, numerics, input_shape)``; its name is entered in
:data:`ENGINES`, so that a plan can check a name without importing torch.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from ..schema import Numerics, UnknownNameError
from .memory import keep_pages

if TYPE_CHECKING:
    from torch import Tensor, nn

    Engine = Callable[[Tensor], Tensor]

ENGINES: dict[str, str] = {"torch": "eager"}
"""Name of an engine to the module of this package that builds it."""


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
    """
    check_name(numerics.engine)
    built = importlib.import_module(f".{ENGINES[numerics.engine]}", __name__).build(module, numerics, input_shape)
    return cast("Engine", built)


def check_name(engine: str) -> None:
    """Raise UnknownNameError unless there is an engine of this name."""
    if engine not in ENGINES:
        raise UnknownNameError("engine", engine, ENGINES)


__all__ = ["ENGINES", "check_name", "keep_pages", "prepare"]
