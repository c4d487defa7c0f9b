"""Which engine runs a backbone: the one asked for, or the fastest of those that are there, measured on the backbone."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from .. import extensions
from ..schema import InputError, Mode, Numerics
from . import AUTO, check_choice, prepare, say_once

if TYPE_CHECKING:
    from ..models.backbone import Backbone

Run = Callable[[Tensor], Tensor]
Masks = Mapping[str, Tensor]

_ROUNDS = 3
_IMAGES = 16  # most that a measurement runs at once


class Compiled:
    """A backbone in the engine that was chosen; small batches, which ``sparse`` pads, go to torch where it is faster.

    Attributes
    ----------
    engine : str
        The engine's name.
    smallest : int
        ``sparse`` computes images in chunks of a fixed length and fills up the last one. If at least so many images
        are left for the last chunk, ``sparse`` runs them; if fewer, torch is faster.
    """

    def __init__(self, engine: str, run: Run, threads: int, fallback: Run | None = None, smallest: int = 0) -> None:
        self.engine, self.smallest = engine, smallest
        self._run, self._threads, self._fallback = run, threads, fallback
        self._lanes = int(getattr(run, "lanes", 1))

    def __call__(self, batch: Tensor) -> Tensor:
        """Return float32 features (B, d) of a float batch (B, C, H, W)."""
        left = batch.shape[0] % self._lanes if batch.ndim == 4 else 0
        if self._fallback is None or not 0 < left < self.smallest or not batch.is_floating_point():
            with torch_threads(self._threads):
                return self._run(batch)
        with torch_threads(self._threads):
            rest = self._fallback(batch[len(batch) - left :].float())
            return rest if left == len(batch) else torch.cat([self._run(batch[: len(batch) - left]), rest])


def compiled(backbone: object, input_shape: tuple[int, ...], engine: str, threads: int | None) -> Compiled:
    """Build the callable of :func:`sparsebench.engines.compile`."""
    engine = extensions.resolve("engines", engine)
    check_choice(engine)
    module = backbone if isinstance(backbone, nn.Module) else getattr(backbone, "module", None)
    if not isinstance(module, nn.Module):
        raise InputError(
            f"{type(backbone).__name__} is not a backbone", "give an nn.Module, or what sparsebench.load gives"
        )
    if len(input_shape) != 4 or min(input_shape) < 1:
        raise InputError(f"input_shape {tuple(input_shape)} is not a batch's", "give (B, C, H, W)")
    count = torch.get_num_threads() if threads is None else threads
    if count < 1:
        raise InputError(f"threads={threads} can't run anything", "give a whole number from 1 on")
    shape = tuple(int(n) for n in input_shape)
    numerics = Numerics(threads=count)
    with torch_threads(count):
        name, runs = fastest(module, numerics, shape) if engine == AUTO else (installed(engine), {})
        run = runs.get(name) or prepare(module, numerics.model_copy(update={"engine": name}), shape)
        if not extensions.get("engines", name).pads:
            return Compiled(name, run, count)
        if (few := getattr(run, "for_batches_of", None)) is not None:
            run = few(shape[0])
        fallback = runs.get("torch") or prepare(module, numerics, shape)
        return Compiled(name, run, count, fallback, _smallest(run, fallback, shape))


def installed(engine: str) -> str:
    """Return the engine, or torch with a warning where the engine lacks something and says that torch may replace it.

    Raises
    ------
    InputError
        If something is missing that it needs, and it doesn't say so.
    """
    declared: extensions.Engine = extensions.get("engines", engine)
    missing = declared.missing()
    if missing is None:
        return engine
    if not declared.falls_back:
        raise InputError(f"engine {engine!r} can't run here", missing)
    say_once(f"engine {engine!r} can't run here ({missing}): torch runs instead")
    return "torch"


def pinned_for(mode: Mode, backbone: Backbone, numerics: Numerics, batch: int) -> Numerics:
    """Return the numerics of a backbone's runs in a mode: see :func:`pinned` and :func:`pinned_training`."""
    size = backbone.preprocess.input_size
    shape = (batch, 3, size, size)
    if mode == "full":
        return pinned_training(backbone.module, backbone.masks, numerics, shape)
    return pinned(backbone.module, numerics, shape)


def pinned(module: nn.Module, numerics: Numerics, input_shape: tuple[int, ...]) -> Numerics:
    """Return the numerics with the engine that will run: what a plan holds.

    Raises
    ------
    InputError
        If the engine asked for can't run the backbone.
    """
    numerics = numerics.model_copy(update={"engine": extensions.resolve("engines", numerics.engine)})
    if numerics.engine == AUTO:
        with torch_threads(numerics.threads):
            return numerics.model_copy(update={"engine": fastest(module, numerics, input_shape)[0]})
    name = installed(numerics.engine)
    declared: extensions.Engine = extensions.get("engines", name)
    declared.check_numerics(numerics)
    if declared.check is not None:
        extensions.load(declared.check)(module, input_shape)
    return numerics.model_copy(update={"engine": name})


def pinned_training(module: nn.Module, masks: Masks, numerics: Numerics, input_shape: tuple[int, ...]) -> Numerics:
    """Return the numerics with the engine that will train a backbone: what a plan holds.

    An engine that doesn't train leaves it to torch.

    Raises
    ------
    InputError
        If the engine asked for can't train the backbone.
    """
    numerics = numerics.model_copy(update={"engine": extensions.resolve("engines", numerics.engine)})
    if numerics.engine == AUTO:
        with torch_threads(numerics.threads):
            return numerics.model_copy(update={"engine": _fastest_training(module, masks, numerics, input_shape)})
    name = "torch" if extensions.get("engines", numerics.engine).train is None else installed(numerics.engine)
    declared: extensions.Engine = extensions.get("engines", name)
    if declared.train is not None:
        declared.check_numerics(numerics)
        if declared.check_training is not None:
            extensions.load(declared.check_training)(module, input_shape)
    return numerics.model_copy(update={"engine": name})


def _fastest_training(module: nn.Module, masks: Masks, numerics: Numerics, input_shape: tuple[int, ...]) -> str:
    """Return the engine that takes the least time for a forward and a backward pass."""
    shape = (min(input_shape[0], _IMAGES), *input_shape[1:])
    layout = torch.channels_last if numerics.channels_last else torch.contiguous_format
    batch = torch.zeros(shape).normal_(generator=torch.Generator().manual_seed(0)).contiguous(memory_format=layout)
    found: dict[str, tuple[Run, Tensor]] = {}
    for name in _candidates(numerics):
        train = extensions.get("engines", name).train
        if train is None and name != "torch":
            continue
        own = copy.deepcopy(module).train()
        try:
            own = own.to(memory_format=layout) if train is None else extensions.load(train)(own, masks, numerics)
            _step(own)(batch)
        except InputError:
            continue
        found[name] = (_step(own), batch)
    if len(found) < 2:
        return "torch"
    times = _least(found)
    return min(times, key=lambda name: times[name])


def _step(module: nn.Module) -> Run:
    def run(batch: Tensor) -> Tensor:
        features: Tensor = module(batch)
        features.sum().backward()
        return features

    return run


def fastest(module: nn.Module, numerics: Numerics, input_shape: tuple[int, ...]) -> tuple[str, dict[str, Run]]:
    """Return the engine that takes the least time for a batch, and all that were built to find it."""
    shape = (min(input_shape[0], _IMAGES), *input_shape[1:])
    runs: dict[str, Run] = {}
    for name in _candidates(numerics):
        try:
            runs[name] = prepare(module, numerics.model_copy(update={"engine": name}), shape)
        except InputError:
            if name == "torch":
                raise
    if len(runs) == 1:
        return "torch", runs
    batch = torch.zeros(shape).normal_(generator=torch.Generator().manual_seed(0))
    times = _least({name: (run, batch) for name, run in runs.items()})
    return min(times, key=lambda name: times[name]), runs


def _candidates(numerics: Numerics) -> list[str]:
    """Return the engines that are there and compute as asked, torch first."""
    found = []
    for name, engine in extensions.known("engines").items():
        try:
            engine.check_numerics(numerics)
        except InputError:
            continue
        if engine.missing() is None:
            found.append(name)
    return found


def _smallest(padded: Run, eager: Run, shape: tuple[int, ...]) -> int:
    """Return from how many images on a padded chunk is faster than torch."""
    lanes = int(getattr(padded, "lanes", 1))
    counts = [count for count in (1, 2, 4) if count < lanes]
    images = {count: torch.zeros(count, *shape[1:]) for count in counts}
    calls: dict[str, tuple[Run, Tensor]] = {str(count): (eager, images[count]) for count in counts}
    times = _least({"padded": (padded, torch.zeros(lanes, *shape[1:])), **calls})
    slower = [count for count in counts if times[str(count)] < times["padded"]]
    return 1 if not slower else 2 * max(slower)


def _least(calls: dict[str, tuple[Run, Tensor]]) -> dict[str, float]:
    """Return the least seconds of each call, in turns."""
    times = dict.fromkeys(calls, float("inf"))
    for turn in range(_ROUNDS + 1):
        for name, (run, batch) in calls.items():
            started = time.perf_counter()
            run(batch)
            if turn:  # the first sets things up
                times[name] = min(times[name], time.perf_counter() - started)
    return times


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch compute on so many threads for a while."""
    before = torch.get_num_threads()
    if before != count:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        if before != count:
            torch.set_num_threads(before)
