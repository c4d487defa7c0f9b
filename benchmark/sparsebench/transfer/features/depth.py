"""Features of a backbone by depth: what each of its stages gives for a batch, averaged over the image."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from torch import Tensor, nn


def stages(module: nn.Module) -> dict[str, nn.Module]:
    """Return the parts of a backbone whose outputs are compared, in order: the blocks of its sequential stages.

    A child that is itself a sequence of blocks counts by block; one without parameters of its own is passed over.
    """
    from torch import nn

    found: dict[str, nn.Module] = {}
    for name, child in module.named_children():
        if not any(True for _ in child.parameters()):
            continue
        if isinstance(child, nn.Sequential):
            found |= {f"{name}.{place}": block for place, block in child.named_children()}
        elif not isinstance(child, nn.BatchNorm2d):
            found[name] = child
    return found


def features_by_depth(module: nn.Module, batches: Iterable[Tensor]) -> dict[str, npt.NDArray[np.float32]]:
    """Return the mean over positions of each stage's output, and the features themselves as ``features``.

    Parameters
    ----------
    module : nn.Module
        A backbone without its head, in evaluation mode.
    batches : iterable of Tensor, shape (B, 3, H, W)
        Its normalised input.

    Returns
    -------
    dict of str to ndarray, shape (n, channels)
        By stage, in the order of :func:`stages`. A stage that doesn't give a tensor with a channel dimension (of
        images, or of tokens) is left out.
    """
    import torch

    kept: dict[str, list[npt.NDArray[np.float32]]] = {}

    def keep(name: str) -> Any:
        def hook(_: nn.Module, __: Any, output: Any) -> None:
            if isinstance(output, torch.Tensor) and output.ndim in (2, 3, 4):
                over = {4: (2, 3), 3: (1,), 2: ()}[output.ndim]
                values = output.float().mean(dim=over) if over else output.float()
                kept.setdefault(name, []).append(values.cpu().numpy())

        return hook

    handles = [stage.register_forward_hook(keep(name)) for name, stage in stages(module).items()]
    try:
        with torch.inference_mode():
            for batch in batches:
                kept.setdefault("features", []).append(module(batch).float().cpu().numpy())
    finally:
        for handle in handles:
            handle.remove()
    last = kept.pop("features", [])
    whole = kept | ({"features": last} if last else {})
    return {name: np.concatenate(rows) for name, rows in whole.items()}
