"""A network in training: in one process as it is, in several as torch's DistributedDataParallel with our exchange."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ....models.masks import Masks
from ....schema import Parallel
from ..shares import Part
from .batch_norm import SynchronisedBatchNorm
from .kept import ExactExchange, KeptEntries, hook
from .quantised import QuantisedExchange
from .team import Peers, require_equal


class Network:
    """A network that one process trains: its function, and nothing besides."""

    def __init__(self, forward: Callable[[Tensor], Tensor]) -> None:
        self.forward = forward

    @contextmanager
    def computing(self, part: Part, *, last: bool) -> Iterator[None]:
        """Compute a part of a step, forward and backward, in the block."""
        yield

    def end_epoch(self) -> None:
        """Make the processes' networks equal, where batch norm has seen other images in each."""

    def collect(self) -> dict[str, Any] | None:
        """Return what a training state holds of the processes; each of them must ask for it."""
        return None

    def restore(self, state: Mapping[str, Any] | None) -> None:
        """Go back to what :meth:`collect` returned."""


class SharedNetwork(Network):
    """A network that several processes train, each on its share of a step's images.

    Parameters
    ----------
    team : Peers
        The processes.
    model : nn.Module
        Equal in all of them.
    masks : mapping of str to Tensor
        By the model's names; gradients of masked weights aren't exchanged.
    how : Parallel
        Batch norm and exchange.
    """

    def __init__(self, team: Peers, model: nn.Module, masks: Masks, how: Parallel) -> None:
        require_equal(team, list(model.state_dict().values()))
        self._team, self._synchronised = team, how.batch_norm == "synchronised"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # newer versions of torch call broadcast_buffers otherwise
            self._shared = DistributedDataParallel(
                model,
                broadcast_buffers=False,
                init_sync=False,
                gradient_as_bucket_view=True,
                find_unused_parameters=True,  # also keeps buckets as they are, so that a resumed run has the same bits
            )
        exchange = ExactExchange if how.exchange == "exact" else QuantisedExchange
        self._exchange = exchange(team, KeptEntries(dict(model.named_parameters()), masks))
        self._used = torch.zeros(len(list(model.parameters())), dtype=torch.int32)  # what torch sums beside gradients
        self._shared.register_comm_hook(self._exchange, hook)
        device = next(model.parameters()).device
        self._cuda = device if device.type == "cuda" else None
        super().__init__(self._shared)

    @contextmanager
    def computing(self, part: Part, *, last: bool) -> Iterator[None]:
        """Compute a part in the block; gradients are exchanged with the last part of a step."""
        with contextlib.ExitStack() as stack:
            if last:
                self._team.count_sum(self._used, "other")
            else:
                stack.enter_context(self._shared.no_sync())
            if self._synchronised:
                stack.enter_context(SynchronisedBatchNorm(self._team, counts=part.share > 0))
            yield

    def end_epoch(self) -> None:
        """Give all processes the running statistics of the first one, where each has its own."""
        if not self._synchronised:
            for buffer in self._shared.module.buffers():
                self._team.broadcast(buffer, "batch_norm")

    def collect(self) -> dict[str, Any]:
        """Return generators and what rounding has left, a row per process, and the bytes that were sent."""
        found = {"generators": torch.get_rng_state(), "residuals": self._exchange.state()}
        if self._cuda is not None:
            found["cuda_generators"] = torch.cuda.get_rng_state(self._cuda)
        state: dict[str, Any] = {name: self._team.gather(value) for name, value in found.items() if value is not None}
        return state | {"sent": dict(self._team.sent)}

    def restore(self, state: Mapping[str, Any] | None) -> None:
        """Go back to a state; a process that had no row in it begins with what it has."""
        rank = self._team.crew.rank
        if state is None or rank >= len(state["generators"]):
            return
        torch.set_rng_state(state["generators"][rank].clone())  # torch crashes where it is a part of a tensor
        if self._cuda is not None:
            torch.cuda.set_rng_state(state["cuda_generators"][rank].clone(), self._cuda)
        if "residuals" in state:
            self._exchange.restore(state["residuals"][rank])
        self._team.sent.update(state["sent"])
