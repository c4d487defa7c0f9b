"""How a sparsity is spread over layers: from weights to masks that meet it exactly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from ..schema import InputError, UnknownNameError

PruningDistribution = Literal["global", "uniform"]


def kept_count(total: int, sparsity: float) -> int:
    """Return how many of ``total`` weights stay at a sparsity (rounded to the nearest weight)."""
    return total - round(total * sparsity)


def check_sparsity(sparsity: float) -> None:
    """Raise :class:`InputError` unless ``0 <= sparsity < 1``."""
    if not 0.0 <= sparsity < 1.0:
        raise InputError(f"impossible sparsity {sparsity!r}", "a sparsity is a fraction from 0 up to, but not, 1")


def _top(scores: Tensor, kept: int) -> Tensor:
    """Return a bool vector with exactly ``kept`` True, at the largest scores; ties go to the lower index."""
    order = torch.sort(scores, descending=True, stable=True).indices
    mask = torch.zeros(scores.numel(), dtype=torch.bool)
    mask[order[:kept]] = True
    return mask


def global_masks(scores: Mapping[str, Tensor], sparsity: float) -> dict[str, Tensor]:
    """Keep the weights of largest score over all layers together (one threshold).

    Parameters
    ----------
    scores : mapping of str to Tensor
        A score for each weight, for example its magnitude.
    sparsity : float
        Fraction of all these weights to prune.

    Returns
    -------
    dict of str to Tensor
        Bool masks with exactly ``round(n * sparsity)`` weights pruned in all.
    """
    check_sparsity(sparsity)
    flat = torch.cat([s.detach().cpu().flatten() for s in scores.values()])
    kept = _top(flat, kept_count(flat.numel(), sparsity))
    parts = kept.split([s.numel() for s in scores.values()])
    return {name: part.view(s.shape).clone() for (name, s), part in zip(scores.items(), parts, strict=True)}


def uniform_masks(scores: Mapping[str, Tensor], sparsity: float) -> dict[str, Tensor]:
    """Keep the weights of largest score in each layer, every layer at the same sparsity."""
    check_sparsity(sparsity)
    masks = {}
    for name, score in scores.items():
        kept = kept_count(score.numel(), sparsity)
        if kept == 0:
            raise InputError(
                f"sparsity {sparsity:g} leaves no weight in layer {name} ({score.numel()} weights)",
                "choose a lower sparsity, the global distribution, or exempt the layer",
            )
        masks[name] = _top(score.detach().cpu().flatten(), kept).view(score.shape)
    return masks


_DISTRIBUTIONS = {"global": global_masks, "uniform": uniform_masks}


def masks_for(scores: Mapping[str, Tensor], sparsity: float, distribution: str) -> dict[str, Tensor]:
    """Return the masks of a named distribution.

    Raises
    ------
    UnknownNameError
        If there is no such distribution.
    """
    if distribution not in _DISTRIBUTIONS:
        raise UnknownNameError("distribution", distribution, _DISTRIBUTIONS)
    return _DISTRIBUTIONS[distribution](scores, sparsity)
