"""The processes that train one network together, and what they say to each other: tensors, never objects."""

from __future__ import annotations

from collections import Counter
from typing import Literal

import torch
import torch.distributed as dist
from torch import Tensor

from ....schema import RunError
from ..shares import Crew

Kind = Literal["gradients", "batch_norm", "other"]


class Team:
    """A process and its peers; this class itself is that of a process alone.

    Attributes
    ----------
    crew : Crew
        Who this process is among them.
    sent : Counter
        Bytes that all processes together have sent, by kind: those of ring algorithms, in which a sum of n bytes over
        N processes costs 2 (N - 1) n, and the gathering of n bytes of each N (N - 1) n.
    """

    def __init__(self, crew: Crew | None = None) -> None:
        self.crew = crew or Crew()
        self.sent: Counter[str] = Counter()

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return self.crew.rank == 0

    def agree(self, *said: bool) -> tuple[bool, ...]:
        """Return for each question whether any process says yes."""
        return said

    def add(self, values: Tensor, kind: Kind = "other") -> Tensor:
        """Return the sum over all processes."""
        return values

    def gather(self, values: Tensor, kind: Kind = "other") -> Tensor:
        """Return the values (n,) of all processes, shape (N, n)."""
        return values[None]


class Peers(Team):
    """The processes of torch's default group."""

    def agree(self, *said: bool) -> tuple[bool, ...]:
        """Return for each question whether any process says yes; the host asks, whatever the device computes."""
        answers = torch.tensor(said, dtype=torch.uint8)
        dist.all_reduce(answers, dist.ReduceOp.MAX)
        self.count_sum(answers, "other")
        return tuple(bool(answer) for answer in answers)

    def add(self, values: Tensor, kind: Kind = "other") -> Tensor:
        """Return the sum over all processes."""
        total = values.contiguous().clone()
        dist.all_reduce(total)
        self.count_sum(total, kind)
        return total

    def gather(self, values: Tensor, kind: Kind = "other") -> Tensor:
        """Return the values (n,) of all processes, shape (N, n)."""
        every = values.new_empty((self.crew.alive, values.numel()))
        dist.all_gather(list(every), values.contiguous())
        self.count_gathered(values, kind)
        return every

    def broadcast(self, values: Tensor, kind: Kind) -> None:
        """Set values, in place, to those of the first process."""
        dist.broadcast(values, 0)
        self.sent[kind] += (self.crew.alive - 1) * values.nbytes

    def count_sum(self, values: Tensor, kind: Kind) -> None:
        """Count the bytes of a sum."""
        self.sent[kind] += 2 * (self.crew.alive - 1) * values.nbytes

    def count_gathered(self, own: Tensor, kind: Kind) -> None:
        """Count the bytes of what each process sends to each other one."""
        self.sent[kind] += self.crew.alive * (self.crew.alive - 1) * own.nbytes


def find_team(processes: int, least: int = 1) -> Team:
    """Return the processes that train a network together: those of torch's default group, or this one alone.

    Parameters
    ----------
    processes : int
        With how many the run begins.
    least : int
        See :class:`~sparsebench.transfer.finetune.shares.Crew`.
    """
    if processes == 1 or not dist.is_initialized():
        return Team()
    return Peers(Crew(processes, dist.get_rank(), dist.get_world_size(), least))


def require_equal(team: Team, tensors: list[Tensor]) -> None:
    """Check that all processes hold the same bits.

    Raises
    ------
    RunError
        If they don't.
    """
    if team.crew.alive == 1:
        return
    words = [tensor.detach().contiguous().view(-1).view(torch.uint8).long().sum() for tensor in tensors]
    sums = team.gather(torch.stack(words))
    if bool((sums != sums[0]).any()):
        raise RunError("the processes of the run hold different weights", "report this: it should never happen")
