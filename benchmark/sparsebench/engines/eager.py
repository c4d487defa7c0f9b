"""The ``torch`` engine: batch normalisation folded, channels_last, inference mode; torch.compile where asked for."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..schema import Numerics
from .context import autocast, device_of, repeatable
from .fold import fold_batchnorm


class TorchEngine:
    """A frozen backbone in torch; made by :func:`build`.

    Attributes
    ----------
    folded, unfolded : int
        How many batch normalisations were folded, and how many remain.
    reason : str or None
        Why the backbone could not be traced (it then runs unfolded), or None.
    """

    def __init__(self, module: nn.Module, numerics: Numerics) -> None:
        self._numerics = numerics
        self._device = device_of(numerics)
        result = fold_batchnorm(module)
        self.folded, self.unfolded, self.reason = result.folded, result.unfolded, result.reason
        frozen = result.module.requires_grad_(False).to(self._device)
        self._layout = torch.channels_last if numerics.channels_last else torch.contiguous_format
        # "channels_last" of an nn.Module changes its 4-d parameters only.
        frozen = frozen.to(memory_format=self._layout)
        self._run: Callable[[Tensor], Tensor] = torch.compile(frozen) if numerics.compile else frozen

    def __call__(self, batch: Tensor) -> Tensor:
        """Return float32 features (B, d) of a float batch (B, 3, H, W)."""
        with torch.inference_mode(), repeatable(self._device), autocast(self._numerics):
            return self._run(batch.to(self._device, memory_format=self._layout)).float()


def build(module: nn.Module, numerics: Numerics, input_shape: tuple[int, ...]) -> TorchEngine:
    """Build the engine; eager torch takes any shape, so ``input_shape`` (B, 3, H, W) is not needed here."""
    return TorchEngine(module, numerics)
