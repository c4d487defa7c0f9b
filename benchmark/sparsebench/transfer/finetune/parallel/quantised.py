"""Exchange of gradients in 8 bits, with error feedback: what rounding leaves is added to the next step's gradients.

Each process rounds its gradients and sends each of the others a share; who has a share sums it, rounds the sum and
sends it to all. Both errors stay with who made them (Seide et al., 2014; Tang et al., 2019; Nadiradze et al., 2021):
what all steps have delivered, and what is left over, add up to all the gradients.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from .kept import ExactExchange, KeptEntries, unpack
from .team import Peers

BLOCK = 256
"""Gradients that share one scale: 8 bits each, and 32 for the scale."""

_LEVELS = 127


def quantise(values: Tensor) -> Tensor:
    """Round to 8 bits.

    Parameters
    ----------
    values : Tensor
        float32, shape (N, n), n a multiple of :data:`BLOCK`.

    Returns
    -------
    Tensor
        uint8, shape (N, n + n / 64): levels from -127 to 127, then the scales of the blocks. A block with a value that
        isn't finite becomes one of values that aren't.
    """
    blocks = values.view(len(values), -1, BLOCK)
    scale = blocks.abs().amax(2) / _LEVELS
    levels = (blocks / torch.where(scale == 0, 1.0, scale)[..., None]).round()
    levels = levels.nan_to_num(1.0, 1.0, 1.0).to(torch.int8).view(len(values), -1)
    return torch.cat([levels.view(torch.uint8), scale.view(torch.uint8)], 1)


def dequantise(sent: Tensor) -> Tensor:
    """Return the values, float32 of shape (N, n), of what :func:`quantise` made."""
    count = sent.shape[1] * BLOCK // (BLOCK + 4)
    levels = sent[:, :count].contiguous().view(torch.int8).view(len(sent), -1, BLOCK)
    scale = sent[:, count:].contiguous().view(torch.float32)
    return (levels * scale[..., None]).view(len(sent), -1)


class QuantisedExchange(ExactExchange):
    """Sums the kept gradients over all processes in 8 bits.

    ``residuals`` is what rounding has left in this process, by parameter.
    """

    def __init__(self, team: Peers, entries: KeptEntries) -> None:
        super().__init__(team, entries)
        self.residuals: dict[str, Tensor] = {}

    def start(self, bucket: dist.GradBucket) -> torch.futures.Future[Tensor]:  # type: ignore[name-defined]
        """Sum a bucket; the future is its buffer with the sums."""
        buffer, index, crew = bucket.buffer(), self.entries.index(bucket), self.team.crew
        names = self.entries.names(bucket)
        values = buffer[index] + torch.cat([self._residual(name, buffer) for name in names])
        share = -(-len(values) // (crew.alive * BLOCK)) * BLOCK
        values = F.pad(values, (0, crew.alive * share - len(values))).view(crew.alive, share)
        sent = quantise(values)
        left = values - dequantise(sent)
        received = torch.empty_like(sent)
        dist.all_to_all_single(received, sent)
        self.team.count_gathered(sent[0], "gradients")
        total = dequantise(received).sum(0, keepdim=True)
        whole = quantise(total)
        left[crew.rank] += (total - dequantise(whole))[0]
        counts = [self.entries.counts[name] for name in names]
        self.residuals |= dict(zip(names, left.view(-1)[: len(index)].split(counts), strict=True))
        every = torch.empty_like(sent)
        self.team.count_gathered(whole, "gradients")
        gathered = dist.all_gather(list(every), whole[0], async_op=True).get_future()
        return gathered.then(lambda _: unpack(buffer, index, dequantise(every).view(-1)[: len(index)]))

    def _residual(self, name: str, like: Tensor) -> Tensor:
        found = self.residuals.get(name)
        return like.new_zeros(self.entries.counts[name]) if found is None else found.to(like.device)

    def state(self) -> Tensor | None:
        """Return the residuals of this process, parameter after parameter."""
        every = [self.residuals.get(name, torch.zeros(count)).cpu() for name, count in self.entries.counts.items()]
        return torch.cat(every)

    def restore(self, state: Tensor) -> None:
        """Go back to a state."""
        counts = self.entries.counts
        self.residuals = dict(zip(counts, state.split(list(counts.values())), strict=True))
