"""How a sparsity is spread over layers: from scores to masks that meet it exactly."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from ..schema import InputError, UnknownNameError
from .patterns import DISTRIBUTIONS, check_sparsity


def kept_count(total: int, sparsity: float) -> int:
    """Return how many of ``total`` weights stay at a sparsity (rounded to the nearest weight)."""
    return total - round(total * sparsity)


def top(scores: Tensor, kept: int) -> Tensor:
    """Return a bool vector that is True at the ``kept`` largest of a vector of scores; ties go to the lower index."""
    if kept == 0:
        return torch.zeros(scores.shape, dtype=torch.bool, device=scores.device)
    threshold = torch.kthvalue(scores, scores.numel() - kept + 1).values
    mask = scores > threshold
    ties = torch.nonzero(scores == threshold).flatten()
    mask[ties[: kept - int(mask.sum())]] = True
    return mask


def top_of_each(scores: Tensor, kept: int) -> Tensor:
    """Return a bool tensor, True at the ``kept`` largest along the last dimension; ties go to the lower index."""
    order = torch.sort(scores, dim=-1, descending=True, stable=True).indices
    mask = torch.zeros(scores.shape, dtype=torch.bool, device=scores.device)
    return mask.scatter_(-1, order[..., :kept], True)


def top_of_rows(scores: Tensor, kept: int) -> Tensor:
    """Return a bool matrix, True at the largest of each row: ``kept`` in all, in the first rows one more if need be."""
    each, more = divmod(kept, len(scores))
    return torch.stack([top(row, each + (number < more)) for number, row in enumerate(scores)])


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
    flat = torch.cat([s.detach().flatten() for s in scores.values()])
    kept = top(flat, kept_count(flat.numel(), sparsity))
    parts = kept.split([s.numel() for s in scores.values()])
    return {name: part.view(s.shape).clone() for (name, s), part in zip(scores.items(), parts, strict=True)}


def uniform_masks(scores: Mapping[str, Tensor], sparsity: float) -> dict[str, Tensor]:
    """Keep the weights of largest score in each layer, every layer at the same sparsity."""
    check_sparsity(sparsity)
    return layer_masks(scores, {name: kept_count(score.numel(), sparsity) for name, score in scores.items()})


def erk_masks(scores: Mapping[str, Tensor], sparsity: float) -> dict[str, Tensor]:
    """Keep the weights of largest score in each layer, at Erdős-Rényi-Kernel densities (see :func:`erk_densities`).

    Layers' counts are rounded so that the whole meets the sparsity exactly (largest remainders first).
    """
    check_sparsity(sparsity)
    densities = erk_densities({name: tuple(score.shape) for name, score in scores.items()}, sparsity)
    exact = {name: densities[name] * score.numel() for name, score in scores.items()}
    counts = {name: math.floor(value) for name, value in exact.items()}
    left = kept_count(sum(s.numel() for s in scores.values()), sparsity) - sum(counts.values())
    by_remainder = sorted(exact, key=lambda name: counts[name] - exact[name])
    for name in [name for name in by_remainder if counts[name] < scores[name].numel()][:left]:
        counts[name] += 1
    return layer_masks(scores, counts)


def erk_densities(shapes: Mapping[str, tuple[int, ...]], sparsity: float) -> dict[str, float]:
    """Return each layer's density under Erdős-Rényi-Kernel (Evci et al., 2020, section 3, "sparsity distribution").

    ``density_l = eps * sum(shape_l) / prod(shape_l)``, with ``eps`` such that all layers together have the sparsity.
    Layers whose density would exceed 1 are dense, and ``eps`` is solved again for the others.

    Parameters
    ----------
    shapes : mapping of str to tuple of int
        Weight shapes: (out, in, height, width) of a convolution, (out, in) of a linear layer.
    sparsity : float
        Fraction of all these weights to prune.
    """
    check_sparsity(sparsity)
    size = {name: math.prod(shape) for name, shape in shapes.items()}
    raw = {name: sum(shape) / size[name] for name, shape in shapes.items()}
    dense: set[str] = set()
    while len(dense) < len(shapes):
        free = [name for name in shapes if name not in dense]
        budget = (1 - sparsity) * sum(size.values()) - sum(size[name] for name in dense)
        eps = budget / sum(raw[name] * size[name] for name in free)
        over = {name for name in free if eps * raw[name] > 1}
        if not over:
            return {name: 1.0 if name in dense else eps * raw[name] for name in shapes}
        dense |= over
    return dict.fromkeys(shapes, 1.0)


def nm_masks(scores: Mapping[str, Tensor], sparsity: float, nm: tuple[int, int]) -> dict[str, Tensor]:
    """Keep N of every M consecutive inputs, those of largest score.

    Groups run along the input dimension, at each output and kernel position. Below the pattern's own sparsity
    ``1 - N/M``, as on the way of a gradual schedule, ``ceil(M * (1 - sparsity))`` of each group are kept.

    Parameters
    ----------
    scores : mapping of str to Tensor
        A score for each weight: (out, in, ...).
    sparsity : float
        Fraction to prune; above ``1 - N/M`` it counts as that.
    nm : tuple of int
        N and M.

    Raises
    ------
    InputError
        If a layer's inputs don't divide into groups of M, naming it.
    """
    check_sparsity(sparsity)
    n, m = nm
    kept = max(n, math.ceil(m * (1 - sparsity) - 1e-9))
    masks = {}
    for name, score in scores.items():
        inputs = score.shape[1]
        if inputs % m:
            layer = name.removesuffix(".weight")
            raise InputError(
                f"{n}:{m} is impossible for layer {layer}: it has {inputs} inputs, not a multiple of {m}",
                f"leave it dense: --exempt {layer} (with the others that stay dense)",
            )
        groups = score.detach().movedim(1, -1).unflatten(-1, (inputs // m, m))
        masks[name] = top_of_each(groups, kept).flatten(-2).movedim(-1, 1).contiguous()
    return masks


def layer_masks(scores: Mapping[str, Tensor], kept: Mapping[str, int]) -> dict[str, Tensor]:
    """Keep a given number of weights in each layer, those of largest score.

    Raises
    ------
    InputError
        If a layer would keep none, naming it.
    """
    masks = {}
    for name, score in scores.items():
        if kept[name] == 0:
            raise InputError(
                f"no weight would be left in layer {name.removesuffix('.weight')} ({score.numel()} weights)",
                "choose a lower sparsity, the global distribution, or exempt the layer",
            )
        masks[name] = top(score.detach().flatten(), kept[name]).view(score.shape)
    return masks


def masks_for(
    scores: Mapping[str, Tensor], sparsity: float, distribution: str, nm: tuple[int, int] | None = None
) -> dict[str, Tensor]:
    """Return the masks of a named distribution (``nm`` gives the pattern of the distribution of that name).

    Raises
    ------
    UnknownNameError
        If there is no such distribution.
    InputError
        If the layers can't have it.
    """
    if nm is not None:
        return nm_masks(scores, sparsity, nm)
    spread = {"global": global_masks, "uniform": uniform_masks, "erk": erk_masks}.get(distribution)
    if spread is None:
        raise UnknownNameError("distribution", distribution, DISTRIBUTIONS)
    return spread(scores, sparsity)
