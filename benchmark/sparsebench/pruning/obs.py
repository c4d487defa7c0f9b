"""Second-order pruning: optimal brain surgeon with an estimate of the inverse Fisher, gradually, with finetuning."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn

from ..schema import InputError, RunError
from .base import TrainState
from .gmp import GMP


class InverseFisher(Protocol):
    """An estimate of the inverse of the damped empirical Fisher, ``(damp I + 1/N sum_n g_n g_n^T)^-1``."""

    def add(self, gradient: Tensor) -> None:
        """Take the next of the N gradients, a vector over all prunable weights."""

    def diagonal(self) -> Tensor:
        """Return the inverse's diagonal."""

    def product(self, vector: Tensor) -> Tensor:
        """Return the inverse times a vector."""


class Blocks:
    """Cuts a vector over layers into equal blocks of consecutive weights; a layer's last block is filled with zeros.

    Parameters
    ----------
    sizes : list of int
        Weights of each layer.
    block : int
        Weights a block; 0 takes the whole vector as one.
    """

    def __init__(self, sizes: list[int], block: int) -> None:
        self.block = block or sum(sizes)
        layers = sizes if block else [sum(sizes)]
        counts = [-(-size // self.block) for size in layers]
        self.count = sum(counts)
        starts = [self.block * sum(counts[:k]) for k in range(len(layers))]
        self._where = torch.cat([start + torch.arange(size) for start, size in zip(starts, layers, strict=True)])

    def pack(self, vector: Tensor) -> Tensor:
        """Return a vector's blocks, ``(count, block)``."""
        packed = vector.new_zeros(self.count * self.block)
        packed[self._where.to(vector.device)] = vector
        return packed.view(self.count, self.block)

    def unpack(self, blocks: Tensor) -> Tensor:
        """Return the vector of blocks."""
        return blocks.reshape(-1)[self._where.to(blocks.device)]


class OBS(GMP):
    """Prune to GMP's schedule, but those weights that the loss needs least by its second-order estimate.

    With the inverse Fisher ``F^-1``, pruning weight q costs ``w_q^2 / (2 [F^-1]_qq)`` (Singh & Alistarh, 2020,
    equation 13, after Hassibi & Stork, 1992), and the others move by ``-w_q F^-1 e_q / [F^-1]_qq`` to make up for it;
    the moves of all weights pruned at once are summed. Weights compete by cost under the distribution. The gradients
    are those of small batches, with batch norm as in evaluation, and zero at weights already pruned.
    """

    prunings = 12
    settings = (*GMP.settings, "gradient_count", "gradient_batch", "damp", "recomputations", "memory_limit")
    bounds: ClassVar[Mapping[str, tuple[float, float]]] = {
        **GMP.bounds,
        "gradient_count": (1, math.inf),
        "gradient_batch": (1, math.inf),
        "damp": (1e-20, math.inf),
        "recomputations": (1, math.inf),
    }

    gradient_count = 128
    gradient_batch = 16
    damp = 1e-5
    recomputations = 1
    memory_limit = 4.0

    @abstractmethod
    def empty_inverse(self, sizes: list[int], like: Tensor) -> InverseFisher:
        """Return the estimate before any gradient, for layers of given sizes, of the dtype and device of a tensor."""

    @abstractmethod
    def memory(self, sizes: list[int]) -> int:
        """Return the bytes that the estimate takes."""

    def prepare(self, model: nn.Module, weights: Mapping[str, Tensor]) -> None:
        """Refuse an estimate that is too large, before the training.

        Raises
        ------
        InputError
            If it takes more than ``memory_limit`` GiB.
        """
        need = self.memory([w.numel() for w in weights.values()]) / 2**30
        if need > self.memory_limit:
            raise InputError(
                f"{self.name}'s inverse Fisher takes {need:.1f} GiB, and memory_limit is {self.memory_limit:g}",
                "lower block or gradient_count, or raise memory_limit (--set KEY=VALUE)",
            )

    def before_step(self, state: TrainState) -> None:
        """Prune further when the schedule says so, in ``recomputations`` equal parts with a new estimate each."""
        target = self.pruning_steps(state.total_steps).get(state.step)
        if target is None:
            return
        now = state.sparsity()
        for part in range(1, int(self.recomputations) + 1):
            self.prune(state, now + (target - now) * part / self.recomputations)

    def prune(self, state: TrainState, sparsity: float) -> None:
        """Prune the weights of least cost to a sparsity, and move the others to make up for them.

        Raises
        ------
        RunError
            If the estimate isn't finite and positive.
        """
        weights = list(state.weights.values())
        sizes = [w.numel() for w in weights]
        kept = self._kept(state)
        inverse = self.estimate(state, kept)
        diagonal = inverse.diagonal()
        if not bool((diagonal > 0).all()) or not bool(diagonal.isfinite().all()):
            raise RunError(
                f"{self.name}'s inverse Fisher is not positive at step {state.step}",
                f"try a larger damp than {self.damp:g} (--set damp=...) or a lower --lr",
            )
        flat = torch.cat([w.detach().flatten() for w in weights])
        cost = torch.where(kept, flat.square() / (2 * diagonal), -1.0).split(sizes)
        masks = self.masks(
            {n: c.view(w.shape) for (n, w), c in zip(state.weights.items(), cost, strict=True)}, sparsity
        )
        pruned = kept & ~torch.cat([mask.flatten() for mask in masks.values()])
        move = inverse.product(torch.where(pruned, flat / diagonal, 0.0)).split(sizes)
        with torch.no_grad():
            for weight, part in zip(weights, move, strict=True):
                weight.sub_(part.view(weight.shape))
        state.set_masks(masks)

    def estimate(self, state: TrainState, kept: Tensor) -> InverseFisher:
        """Return the inverse Fisher of the weights that a flat mask keeps, from freshly sampled gradients."""
        weights = list(state.weights.values())
        inverse = self.empty_inverse([w.numel() for w in weights], weights[0])
        training = state.model.training
        state.model.eval()
        for images, labels in state.sample(int(self.gradient_count), int(self.gradient_batch)):
            gradients = torch.autograd.grad(state.loss(images, labels), weights)
            inverse.add(torch.cat([g.flatten() for g in gradients]) * kept)
        state.model.train(training)
        return inverse

    def _kept(self, state: TrainState) -> Tensor:
        """Return the masks in force as one flat mask."""
        return torch.cat(
            [
                state.masks[name].to(w.device).flatten() if name in state.masks else torch.ones_like(w).flatten().bool()
                for name, w in state.weights.items()
            ]
        )
