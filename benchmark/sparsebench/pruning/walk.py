"""The inputs of a network's layers, one layer after the other, without running what needn't be run again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ..schema import InputError


@dataclass
class _Place:
    """A child of an ``nn.Sequential``, the children before it, and what each batch gives to it."""

    sequence: nn.Module
    child: nn.Module
    before: list[nn.Module]
    kept: list[Tensor] = field(default_factory=list)


class Walk:
    """Calls back with the inputs of layers, which are asked for in the order of execution.

    Between two calls only the weights of layers that were asked for may change. A forward pass ends at the layer; in
    an ``nn.Sequential`` it starts at the child that holds the layer, as the input of that child is kept.

    Parameters
    ----------
    model : nn.Module
        The network, in evaluation mode.
    batches : sequence of Tensor
        Images.
    """

    def __init__(self, model: nn.Module, batches: Sequence[Tensor]) -> None:
        self.model, self.batches = model, batches
        self._runs = _count_runs(model, batches[0])
        self._places: list[_Place] = []

    def order(self, names: Sequence[str]) -> list[str]:
        """Return layers in the order in which a forward pass first runs them.

        Raises
        ------
        InputError
            If a layer isn't run as a module, so that its inputs can't be seen.
        """
        missing = [name for name in names if name not in self._runs]
        if missing:
            raise InputError(
                f"layer {missing[0]} is not run as a module, so that its inputs can't be seen",
                f"leave it dense: --exempt {missing[0]} (with the others that stay dense)",
            )
        wanted = set(names)
        return [name for name in self._runs if name in wanted]

    def visit(self, name: str, visit: Callable[[Tensor], None]) -> None:
        """Call ``visit`` with what each batch gives to a layer, once for each time that the layer runs."""
        for level, place in enumerate(places := self._places_of(name)):
            known = self._places[level] if level < len(self._places) else None
            if known is None or known.child is not place.child:
                # the places inside of a sequence can start from one another, others can't
                del self._places[level + (known is not None and known.sequence is place.sequence) :]
                self._run(place.child, 1, place.kept.append)
                self._places[level:] = [place]
        del self._places[len(places) :]
        self._run(self.model.get_submodule(name), self._runs[name], visit)

    def _places_of(self, name: str) -> list[_Place]:
        """Return, from the outside in, the sequences' children that hold a layer and aren't the first.

        Sequences count that run as such, once in a forward pass.
        """
        places, parts = [], name.split(".")
        for depth, part in enumerate(parts):
            path, child = ".".join(parts[:depth]), ".".join(parts[: depth + 1])
            sequence = self.model.get_submodule(path)
            in_turn = type(sequence).forward is nn.Sequential.forward
            if in_turn and self._runs.get(path) == 1 and self._runs.get(child) == 1:
                children = dict(sequence.named_children())
                before = list(children.values())[: list(children).index(part)]
                if before:
                    places.append(_Place(sequence, children[part], before))
        return places

    @torch.no_grad()
    def _run(self, module: nn.Module, runs: int, visit: Callable[[Tensor], None]) -> None:
        """Call ``visit`` with what reaches a module, and end each forward pass at the module's last run."""
        left = runs

        def reached(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            nonlocal left
            visit(inputs[0])
            left -= 1
            if left == 0:
                raise _ReachedError

        for number, images in enumerate(self.batches):
            left = runs
            with self._from_the_last_place(number):
                handle = module.register_forward_pre_hook(reached)
                try:
                    with suppress(_ReachedError):
                        self.model(images)
                finally:
                    handle.remove()

    @contextmanager
    def _from_the_last_place(self, number: int) -> Iterator[None]:
        """Let what comes before the last place do nothing, and give that what it was given before."""
        if not self._places:
            yield
            return
        last = self._places[-1]
        skipped = [module for place in self._places for module in place.before]
        handle = last.child.register_forward_pre_hook(lambda *_: (last.kept[number],))
        for module in skipped:
            module.forward = _same
        try:
            yield
        finally:
            handle.remove()
            for module in skipped:
                del module.forward


class _ReachedError(Exception):
    """A forward pass has come as far as it must."""


def _same(inputs: Tensor) -> Tensor:
    return inputs


@torch.no_grad()
def _count_runs(model: nn.Module, images: Tensor) -> dict[str, int]:
    """Return how often a forward pass runs each module, in the order of their first runs."""
    runs: dict[str, int] = {}
    handles = []
    for name, module in model.named_modules():

        def seen(_: nn.Module, __: object, name: str = name) -> None:
            runs[name] = runs.get(name, 0) + 1

        handles.append(module.register_forward_pre_hook(seen))
    try:
        model(images)
    finally:
        for handle in handles:
            handle.remove()
    return runs
