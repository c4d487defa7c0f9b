"""The ``sparse`` engine: a frozen convolutional backbone of which only the nonzero weights are computed."""

from __future__ import annotations

import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from ...schema import InputError, Numerics, UnknownNameError
from .. import say_once
from .library import Isa, Team, instruction_sets
from .program import Program, io_for
from .selfcheck import fault
from .tracing import Traced
from .tuning import Tuner

_SIZES_KEPT = 2
"""Image sizes whose programs are kept; another one is made anew."""

_FEWER_LANES = {"avx512": "avx2"}
"""What computes a chunk of half as many images in less time than a half-empty chunk takes."""

_engines: weakref.WeakSet[SparseEngine] = weakref.WeakSet()


def _unlock_in_child() -> None:
    """Let the engines of a forked process be called: who was in a call holds its lock, and doesn't live on there.

    What that call has left in memory does no harm: each call writes anew what it reads.
    """
    for engine in list(_engines):
        engine._lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlock_in_child)


class SparseEngine:
    """A frozen backbone in our own kernels.

    One object may be called from several threads: the calls wait for one another. Results don't depend on threads,
    batch size, tile sizes or the place of an image in its batch. Images with a NaN or an infinity, or that lead to
    one, are run by torch, whose zeros times infinity are NaN.

    Parameters
    ----------
    module : nn.Module
        The backbone; it is copied, never changed.
    threads : int
        Threads.
    input_shape : tuple of int
        Shape (B, C, H, W) of a typical batch; other sizes work, the first batch of a new image size is slow.
    isa : str, optional
        An instruction set of :func:`library.instruction_sets`; by default that of ``$SPARSEBENCH_ISA``, or the best
        that agrees with plain numpy on a tiny network (:mod:`selfcheck`).
    measure : bool
        Whether to choose tile sizes by measuring.

    Raises
    ------
    InputError
        If a layer isn't understood, or the kernels aren't there or compute wrongly.
    """

    def __init__(
        self,
        module: nn.Module,
        threads: int,
        input_shape: tuple[int, ...],
        *,
        isa: str | None = None,
        measure: bool = True,
    ) -> None:
        sets = instruction_sets()
        if not sets:
            raise InputError("engine 'sparse' isn't there: its kernels were not built", "install a C compiler (cc)")
        with torch.no_grad():
            self._traced = Traced(module)
        self.threads = threads
        self._shape = tuple(input_shape)
        self._channels = int(input_shape[1])
        self._isa = chosen_isa(sets, isa)
        self._team = Team(threads)
        weakref.finalize(self, Team.close, self._team)
        self._tuner = Tuner(threads, measure=measure)
        self._programs: OrderedDict[tuple[int, int], Program] = OrderedDict()
        self._lock = threading.Lock()
        _engines.add(self)
        self._torch: Callable[[Tensor], Tensor] | None = None
        self._program(int(input_shape[2]), int(input_shape[3]))

    @property
    def isa(self) -> str:
        """The name of the instruction set."""
        return self._isa.name

    @property
    def lanes(self) -> int:
        """Images a chunk; the last chunk of a batch is padded to it."""
        return self._isa.lanes

    def __call__(self, batch: Tensor) -> Tensor:
        """Return float32 features (B, d) of a float batch (B, C, H, W) on the CPU, in any memory layout.

        Raises
        ------
        InputError
            If it isn't such a batch.
        """
        images = self._checked(batch)
        with self._lock, torch.inference_mode():
            program = self._program(images.shape[2], images.shape[3])
            features = np.empty((len(images), program.features), np.float32)
            unusual = np.zeros(len(images), np.int32)
            for first in range(0, len(images), program.isa.lanes):
                count = min(program.isa.lanes, len(images) - first)
                program.run(io_for(images, features, first, count, unusual))
            again = np.flatnonzero((unusual != 0) | ~np.isfinite(features).all(1))
            if len(again):
                features[again] = self._by_torch(images[torch.from_numpy(again)])
        return torch.from_numpy(features)

    def for_batches_of(self, count: int) -> SparseEngine:
        """Return the engine for batches of so many images: this one, or one of fewer lanes if its chunk holds them.

        ``$SPARSEBENCH_ISA`` keeps this one. Features of another instruction set differ in their last bits.
        """
        few = instruction_sets().get(_FEWER_LANES.get(self.isa, ""))
        if few is None or count > few.lanes or os.environ.get("SPARSEBENCH_ISA") or fault(few) is not None:
            return self
        return SparseEngine(self._traced.module, self.threads, self._shape, isa=few.name)

    def program(self, height: int, width: int) -> Program:
        """Return the program for a size of image, to look into."""
        with self._lock:
            return self._program(height, width)

    def _checked(self, batch: Tensor) -> Tensor:
        if batch.ndim != 4 or batch.shape[1] != self._channels:
            raise InputError(
                f"engine 'sparse' got a batch of shape {tuple(batch.shape)}", f"give (B, {self._channels}, H, W)"
            )
        if not batch.is_floating_point() or batch.device.type != "cpu":
            raise InputError(
                f"engine 'sparse' got a batch of {batch.dtype} on {batch.device}", "give floats on the CPU"
            )
        return batch.detach().to(torch.float32)

    def _program(self, height: int, width: int) -> Program:
        key = (height, width)
        if key not in self._programs:
            with torch.no_grad():
                network = self._traced.network(self._channels, height, width)
            while len(self._programs) >= _SIZES_KEPT:
                self._programs.popitem(last=False)
            self._programs[key] = Program(network, self._isa, self._team, self._tuner)
        self._programs.move_to_end(key)
        return self._programs[key]

    def _by_torch(self, images: Tensor) -> np.ndarray:
        if self._torch is None:
            self._torch = self._traced.module.to(memory_format=torch.channels_last)
        found = self._torch(images.to(memory_format=torch.channels_last)).float()
        return np.asarray(found.numpy())


def chosen_isa(sets: dict[str, Isa], name: str | None) -> Isa:
    """Return an instruction set: the one named, that of ``$SPARSEBENCH_ISA``, or the best that computes correctly."""
    wanted = name or os.environ.get("SPARSEBENCH_ISA")
    if wanted:
        if wanted not in sets:
            raise UnknownNameError("instruction set", wanted, sets)
        reason = fault(sets[wanted])
        if reason is not None:
            raise InputError(f"instruction set {wanted!r} computes wrongly on this machine: {reason}", "name another")
        return sets[wanted]
    for isa in sets.values():
        reason = fault(isa)
        if reason is None:
            return isa
        say_once(f"engine 'sparse' does without {isa.name}, which computes wrongly on this machine: {reason}")
    raise InputError("engine 'sparse' computes wrongly on this machine", "use --engine torch")


def build(module: nn.Module, numerics: Numerics, input_shape: tuple[int, ...]) -> SparseEngine:
    """Build the engine.

    Raises
    ------
    InputError
        If it can't run this backbone.
    """
    return SparseEngine(module, numerics.threads, input_shape)
