"""How sparse a network is: counts by layer, the fraction that masks hold, proof that training kept it, packed size."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..schema import MaskError, MaskProof
from . import masks
from .masks import FoundMasks, Masks, MaskSource


@dataclass(frozen=True)
class LayerSparsity:
    """One prunable weight, counted.

    Parameters
    ----------
    name, shape : str, tuple of int
        The parameter.
    weights, zeros, held, unheld : int
        How many there are, how many are zero, how many its mask holds at zero, and how many are zero though no mask
        holds them: training fills these in.
    source : {"file", "zeros"} or None
        Where its mask is from; None where it has none.
    exempt : bool
        Whether it is left out of what ``prunable`` is a fraction of.
    """

    name: str
    shape: tuple[int, ...]
    weights: int
    zeros: int
    held: int
    unheld: int
    source: MaskSource | None
    exempt: bool

    @property
    def sparsity(self) -> float:
        """Fraction of the weights that the mask holds at zero."""
        return self.held / max(1, self.weights)


@dataclass(frozen=True)
class SparsityReport:
    """A network's sparsity, by layer and under each scope (see :data:`~sparsebench.schema.SparsityScope`).

    ``params`` and ``zeros`` count every parameter; ``held`` is how many of them masks hold at zero.
    """

    layers: tuple[LayerSparsity, ...]
    params: int
    zeros: int
    held: int

    @property
    def unheld(self) -> int:
        """Number of zeros among the prunable weights that no mask holds."""
        return sum(layer.unheld for layer in self.layers)

    @property
    def unheld_fraction(self) -> float:
        """The same as a fraction of the prunable weights that no mask holds at zero."""
        return self.unheld / max(1, sum(layer.weights - layer.held for layer in self.layers))

    def scope(self, name: str) -> float:
        """Return the sparsity held under a scope: ``prunable``, ``pruned_layers`` or ``all_params``."""
        if name == "all_params":
            return self.held / max(1, self.params)
        layers = [layer for layer in self.layers if not layer.exempt]
        if name == "pruned_layers":
            layers = [layer for layer in self.layers if layer.held]
        elif name != "prunable":
            raise ValueError(f"unknown sparsity scope {name!r}")
        return sum(layer.held for layer in layers) / max(1, sum(layer.weights for layer in layers))


def measure(module: nn.Module, found: FoundMasks, exempt: Iterable[str] = ()) -> SparsityReport:
    """Count the zeros in a network's weights, and those of them that masks hold.

    Parameters
    ----------
    module : nn.Module
        The network, its masks applied.
    found : FoundMasks
        Its masks.
    exempt : iterable of str
        Layers that the method doesn't prune; all others are what ``prunable`` is a fraction of.
    """
    left_out = set(exempt)
    held = {name: masks.zeros_in(mask) for name, mask in found.masks.items()}
    layers = []
    for name, weight in masks.prunable(module).items():
        mask, zeros = found.masks.get(name), masks.zeros_in(weight)
        layers.append(
            LayerSparsity(
                name=name,
                shape=tuple(weight.shape),
                weights=weight.numel(),
                zeros=zeros,
                held=held.get(name, 0),
                unheld=zeros if mask is None else int(torch.count_nonzero((weight.detach() == 0) & mask)),
                source=found.sources.get(name),
                exempt=masks.layer_of(name) in left_out,
            )
        )
    params = sum(p.numel() for p in module.parameters())
    zeros = sum(masks.zeros_in(p) for p in module.parameters())
    return SparsityReport(tuple(layers), params, zeros, sum(held.values()))


def dense_ends(module: nn.Module, found: Masks, head_names: Iterable[str]) -> tuple[str, ...]:
    """Return those of the first layer and the heads that no mask prunes, in a network that is pruned elsewhere.

    Methods often leave them dense; where nothing says which layers are exempt, these are.
    """
    pruned = {name for name, mask in found.items() if not bool(mask.all())}
    weights = masks.prunable(module)
    ends = dict.fromkeys((next(iter(weights), ""), *(f"{name}.weight" for name in head_names)))
    return tuple(masks.layer_of(name) for name in ends if pruned and name in weights and name not in pruned)


def prove(module: nn.Module, found: Masks, reported: SparsityReport) -> MaskProof:
    """Prove that masked weights are zero, and that as many are masked as were reported.

    Parameters
    ----------
    module : nn.Module
        The trained network, without the head that it was reported with.
    found : mapping of str to Tensor
        The masks that were held.
    reported : SparsityReport
        What was said of the network before training.

    Returns
    -------
    MaskProof
        With the sparsity of the backbone's prunable weights (exempt ones left out), and the number of zeros that no
        mask held when the training began.

    Raises
    ------
    MaskError
        If a masked weight is not zero, or a layer's mask holds another number of weights than was reported.
    """
    proof = masks.prove(module, found)
    here = dict(module.named_parameters())
    layers = [layer for layer in reported.layers if layer.name in here]
    for layer in layers:
        held = masks.zeros_in(found[layer.name]) if layer.name in found else 0
        if held != layer.held:
            raise MaskError(
                f"{layer.name} was reported with {layer.held} weights held at zero, but its mask holds {held}",
                "the sparsity reported is not the one that was trained",
            )
    counted = [layer for layer in layers if not layer.exempt]
    weights = sum(layer.weights for layer in counted)
    return proof.model_copy(
        update={
            "weights": weights,
            "sparsity": sum(layer.held for layer in counted) / max(1, weights),
            "unheld_zeros": sum(layer.unheld for layer in layers),
        }
    )


def packed_bytes(state: Mapping[str, Tensor], found: Masks) -> int:
    """Return the bytes that a state dict takes when it is packed, alike for every checkpoint.

    A weight whose mask prunes something takes a bit for each weight, filled up to whole bytes, and two bytes (half
    precision) for each kept one; any other tensor of two or more dimensions takes two bytes for each number, all others
    (biases, normalisation and its statistics) four. Counters and names don't count.

    Parameters
    ----------
    state : mapping of str to Tensor
        The weights of the backbone, without its head.
    found : mapping of str to Tensor
        Its masks.
    """
    total = 0
    for name, value in state.items():
        if not value.is_floating_point():
            continue
        mask = found.get(name)
        pruned = 0 if mask is None else masks.zeros_in(mask)
        if pruned:
            total += (value.numel() + 7) // 8 + 2 * (value.numel() - pruned)
        else:
            total += value.numel() * (2 if value.ndim >= 2 else 4)
    return total
