"""Exchange of gradients: those of kept weights alone, exactly, as a hook of torch's DistributedDataParallel.

The gradient of a masked weight changes nothing, so it is neither sent nor summed; it is set to zero.
"""

# no annotations from the future: torch checks those of a hook, which must be classes

from collections.abc import Mapping

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ....models.masks import Masks
from .team import Peers


class KeptEntries:
    """Where the gradients of kept weights lie in a bucket of gradients.

    Parameters
    ----------
    parameters : mapping of str to Parameter
        What is trained, by name.
    masks : mapping of str to Tensor
        Masks of some of them, True where a weight is kept.

    Attributes
    ----------
    counts : dict of str to int
        Kept weights of each parameter.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], masks: Masks) -> None:
        self._names = {id(parameter): name for name, parameter in parameters.items()}
        self._masks = masks
        self._found: dict[tuple[str, ...], Tensor] = {}
        self.counts = {
            name: int(masks[name].sum()) if name in masks else parameter.numel()
            for name, parameter in parameters.items()
        }

    def names(self, bucket: dist.GradBucket) -> tuple[str, ...]:  # type: ignore[name-defined]
        """Return the names of a bucket's parameters, in their order."""
        return tuple(self._names[id(parameter)] for parameter in bucket.parameters())

    def index(self, bucket: dist.GradBucket) -> Tensor:  # type: ignore[name-defined]
        """Return the places of the kept weights in the bucket's buffer, parameter after parameter."""
        names = self.names(bucket)
        if names not in self._found:
            found, start = [], 0
            for name, parameter in zip(names, bucket.parameters(), strict=True):
                found.append(places(parameter, self._masks.get(name)) + start)
                start += parameter.numel()
            self._found[names] = torch.cat(found)
        return self._found[names]


def places(parameter: Tensor, mask: Tensor | None) -> Tensor:
    """Return where each kept entry of a parameter's gradient lies in a bucket, which has the parameter's strides."""
    if mask is None:
        return torch.arange(parameter.numel(), device=parameter.device)
    strides = torch.tensor(parameter.stride(), device=parameter.device, dtype=torch.long)
    return mask.to(parameter.device).nonzero().mul(strides).sum(1)


def unpack(buffer: Tensor, index: Tensor, values: Tensor) -> Tensor:
    """Put values into a bucket's buffer, in place, and zero everywhere else."""
    return buffer.zero_().index_copy_(0, index, values)


class ExactExchange:
    """Sums the kept gradients over all processes.

    Parameters
    ----------
    team : Peers
        The processes.
    entries : KeptEntries
        What is kept.
    """

    def __init__(self, team: Peers, entries: KeptEntries) -> None:
        self.team, self.entries = team, entries

    def start(self, bucket: dist.GradBucket) -> torch.futures.Future[Tensor]:  # type: ignore[name-defined]
        """Begin to sum a bucket; the future is its buffer with the sums."""
        buffer, index = bucket.buffer(), self.entries.index(bucket)
        packed = buffer[index]
        self.team.count_sum(packed, "gradients")
        summed = dist.all_reduce(packed, async_op=True).get_future()
        return summed.then(lambda done: unpack(buffer, index, done.value()[0]))

    def state(self) -> Tensor | None:
        """Return what the next steps depend on, on the CPU, shape (n,); None: nothing."""
        return None

    def restore(self, state: Tensor) -> None:
        """Go back to a state."""


def hook(state: ExactExchange, bucket: dist.GradBucket) -> torch.futures.Future[Tensor]:  # type: ignore[name-defined]
    """Exchange a bucket of gradients: what ``register_comm_hook`` takes."""
    return state.start(bucket)
