"""Whether a loaded network is what its entry says: finite, as sparse, dense where it is exempt, and no other zeros."""

from __future__ import annotations

from collections.abc import Collection
from typing import get_args

from torch import nn

from ..schema import Checkpoint, CheckpointError, SparsityScope, nearest
from ..schema.checkpoint import SPARSITY_TOLERANCE
from . import masks
from .sparsity import LayerSparsity, SparsityReport

EXACT_TOLERANCE = 5e-7
"""Largest difference between ``sparsity_exact`` and a measured sparsity: what rounding to six digits makes."""

MANY_ZEROS = 0.25
"""Largest fraction of zeros where there should be none: in a dense network, in an exempt layer, in what a mask keeps.

Dead channels leave some; in AC/DC's dense twins they are up to a sixth.
"""


def check(checkpoint: Checkpoint, model: nn.Module, report: SparsityReport, head_names: Collection[str]) -> None:
    """Check what a network's weights and masks say about its entry.

    Parameters
    ----------
    checkpoint : Checkpoint
        The entry.
    model : nn.Module
        The network, masks applied.
    report : SparsityReport
        What was counted in it.
    head_names : collection of str
        The architecture's heads, which the file may lack.

    Raises
    ------
    CheckpointError
        If a weight isn't finite, an exempt layer is unknown or pruned, many zeros are held by no mask, or the network
        isn't as sparse as the entry claims.
    """
    broken = [name for name, value in model.state_dict().items() if not bool(value.isfinite().all())]
    if broken:
        raise CheckpointError(
            f"checkpoint {checkpoint.id}: {broken[0]} holds NaN or infinity", "it was saved from a broken training"
        )
    _check_exempt(checkpoint, report, head_names)
    if checkpoint.method == "dense":
        _check_dense(checkpoint, report)
        return
    _check_unheld(checkpoint, report)
    _check_sparsity(checkpoint, report)


def agreeing_scopes(sparsity: float, report: SparsityReport) -> list[SparsityScope]:
    """Return the scopes under which a network is as sparse as claimed, the closest first."""
    scopes = get_args(SparsityScope)
    off = {scope: abs(report.scope(scope) - sparsity) for scope in scopes}
    return sorted((scope for scope in scopes if off[scope] <= SPARSITY_TOLERANCE), key=off.__getitem__)


def _check_exempt(checkpoint: Checkpoint, report: SparsityReport, head_names: Collection[str]) -> None:
    layers = {masks.layer_of(layer.name): layer for layer in report.layers}
    for name in checkpoint.exempt or ():
        layer = layers.get(name)
        if layer is None:
            if name in head_names:
                continue  # the file has none
            raise CheckpointError(
                f"checkpoint {checkpoint.id} exempts layer {name!r}, which its architecture doesn't have",
                "did you mean " + " or ".join(nearest(name, list(layers)) or list(layers)[:3]) + "?",
            )
        if layer.held or layer.zeros > MANY_ZEROS * layer.weights:
            raise CheckpointError(
                f"checkpoint {checkpoint.id} exempts layer {name!r}, but its weights are pruned",
                "take the layer out of the entry's 'exempt'",
            )


def _check_dense(checkpoint: Checkpoint, report: SparsityReport) -> None:
    zeros = sum(layer.zeros for layer in report.layers) / max(1, sum(layer.weights for layer in report.layers))
    if zeros > MANY_ZEROS:
        raise CheckpointError(
            f"checkpoint {checkpoint.id} is registered as dense, but {zeros:.1%} of its weights are zero",
            "register it under its method and sparsity",
        )


def _check_unheld(checkpoint: Checkpoint, report: SparsityReport) -> None:
    """Refuse a layer with many zeros among the weights that its mask keeps: training would fill them in."""
    for layer in report.layers:
        if not layer.exempt and _many(layer):
            raise CheckpointError(
                f"checkpoint {checkpoint.id}: {layer.name} is zero in {layer.unheld} of the"
                f" {layer.weights - layer.held} weights that its mask keeps",
                "the mask isn't the one that the weights were pruned by: save the weights without masks, and their"
                " zeros are the mask",
            )


def _many(layer: LayerSparsity) -> bool:
    by_chance = layer.unheld < masks.DENSE_BELOW * layer.weights
    return not by_chance and layer.unheld > MANY_ZEROS * (layer.weights - layer.held)


def _check_sparsity(checkpoint: Checkpoint, report: SparsityReport) -> None:
    measured = report.scope(checkpoint.sparsity_scope)
    if abs(measured - checkpoint.sparsity) > SPARSITY_TOLERANCE:
        raise CheckpointError(
            f"checkpoint {checkpoint.id} claims sparsity {checkpoint.sparsity:g} but measures {measured:.4f}"
            f" (scope {checkpoint.sparsity_scope})",
            _scope_hint(checkpoint, report),
        )
    exact = checkpoint.sparsity_exact
    if exact is not None and abs(measured - exact) > EXACT_TOLERANCE:
        raise CheckpointError(
            f"checkpoint {checkpoint.id} has sparsity_exact {exact} but measures {measured:.8f}"
            f" (scope {checkpoint.sparsity_scope})",
            "correct the entry, or get the file that it means",
        )


def _scope_hint(checkpoint: Checkpoint, report: SparsityReport) -> str:
    agreeing = agreeing_scopes(checkpoint.sparsity, report)
    if not agreeing:
        return "correct the entry's sparsity, its sparsity_scope, or which layers are exempt"
    return f"under sparsity_scope {agreeing[0]} it is {report.scope(agreeing[0]):.4f}: is that what was meant?"
