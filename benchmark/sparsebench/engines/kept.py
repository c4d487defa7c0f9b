"""An engine that is kept from one use of a backbone to the next: making one may fold, pack or compile the network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import prepare

if TYPE_CHECKING:
    from torch import nn

    from ..schema import Numerics
    from . import Engine


class KeptEngine:
    """The engine made last; it is given again for the same module, numerics and shape of a batch.

    A shape of its own has an engine of its own, as an engine may choose its way of computing by it: what is computed
    before must not change the numbers.
    """

    def __init__(self) -> None:
        self._of: tuple[nn.Module, Numerics, tuple[int, ...]] | None = None
        self._engine: Engine | None = None

    def prepare(self, module: nn.Module, numerics: Numerics, input_shape: tuple[int, ...]) -> Engine:
        """Return the engine, as :func:`sparsebench.engines.prepare` makes it and with its errors."""
        of = (module, numerics, input_shape)
        if self._engine is None or self._of is None or self._of[0] is not module or self._of[1:] != of[1:]:
            self.clear()  # before the next one is made: two may not fit into memory
            self._engine, self._of = prepare(*of), of
        return self._engine

    def clear(self) -> None:
        """Let go of the engine and its backbone."""
        self._engine = self._of = None
