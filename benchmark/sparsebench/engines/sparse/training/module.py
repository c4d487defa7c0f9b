"""A backbone that trains in our kernels, as an ``nn.Module``: forward and backward are one function of autograd."""

from __future__ import annotations

import copy
import os
import weakref
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ....models import masks as masking
from ....schema import InputError, Numerics
from ..engine import chosen_isa
from ..graph import Convolution, Network
from ..library import Team, instruction_sets
from ..tuning import Tuner
from .graph import Norm
from .library import missing
from .program import Kept, Program
from .tracing import Tracing

_EVALUATED = 4
"""Chunks that are run at once where no gradients are wanted and no statistics go over the batch."""


class Trainable(nn.Module):
    """A backbone whose masked weights neither take part nor have gradients, by :func:`trainable`.

    Its parameters, buffers and their names are the backbone's own. Gradients of masked weights are zeros, so that a
    masked weight stays zero with any optimizer.

    Parameters
    ----------
    module : nn.Module
        The backbone; its layers become this module's.
    masks : mapping of str to Tensor
        True where a weight is kept, by parameter name; what has no mask is dense.
    threads : int, optional
        By default torch's at each call.
    measure : bool
        Whether to choose tile sizes by measuring; they never change a result.

    Raises
    ------
    InputError
        If a layer isn't understood, or the kernels aren't there.
    """

    def __init__(
        self, module: nn.Module, masks: Mapping[str, Tensor], *, threads: int | None = None, measure: bool = True
    ) -> None:
        super().__init__()
        if (reason := missing()) is not None:
            raise InputError("engine 'sparse' can't train here", reason)
        for name, child in module.named_children():
            self.add_module(name, child)
        own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
        if own:
            raise InputError(f"engine 'sparse' doesn't train {own[0][0]!r}, which is in no layer", "use --engine torch")
        masking.apply(module, masks)
        self._masks = {name: mask for name, mask in masks.items() if not bool(mask.all())}
        self._runtime = _Runtime(module, self._masks, threads, measure)

    def forward(self, images: Tensor) -> Tensor:
        """Return features (B, d) of a float batch (B, C, H, W) on the CPU."""
        runtime = self._runtime
        parameters = runtime.tensors()
        if torch.is_grad_enabled() and any(p.requires_grad for p in parameters):
            found: Tensor = _Step.apply(runtime, images, *parameters)
            return found
        return runtime.without_gradients(images)

    def costs(self, images: Tensor, repeats: int = 3) -> list[tuple[str, str, float]]:
        """Return the name, the kind and the least seconds of each operation of a training step, in their order."""
        runtime = self._runtime
        images = runtime.checked(images)
        program = runtime.take(images, -(-len(images) // runtime._isa.lanes), backward=True)
        found = program.costs(images, runtime.values(runtime.tensors()), repeats)
        runtime.give(images.shape, program, backward=True)
        return found


class KeptTrainable(Trainable):
    """The same with the kept weights of masked layers as parameters of their own: vectors, what an optimizer is given.

    The dense weights are written anew from them for a state dict, and by :meth:`write`; a loaded state dict is read.
    """

    def __init__(
        self, module: nn.Module, masks: Mapping[str, Tensor], *, threads: int | None = None, measure: bool = True
    ) -> None:
        super().__init__(module, masks, threads=threads, measure=measure)
        self._vectors: dict[str, nn.Parameter] = {}
        self._places: dict[str, Tensor] = {}
        for name, parameter in self.named_parameters():
            layer = name.removesuffix(".weight")
            kept = self._runtime.kept.get(layer) if name.endswith(".weight") else None
            if kept is not None:
                parameter.requires_grad_(False)
                self._places[name] = torch.from_numpy(kept)
                self._vectors[name] = nn.Parameter(torch.empty(len(kept)))
        self.read()
        self._runtime.vectors = self._vectors
        self.register_state_dict_pre_hook(lambda module, prefix, keep: self.write())
        self.register_load_state_dict_post_hook(lambda module, keys: self.read())

    def trained_parameters(self) -> Iterator[nn.Parameter]:
        """Yield what an optimizer trains, in the module's order."""
        for name, parameter in self.named_parameters():
            yield self._vectors.get(name, parameter)

    @torch.no_grad()
    def write(self) -> None:
        """Write the dense weights from the kept ones."""
        for name, vector in self._vectors.items():
            dense = self.get_parameter(name)
            flat = torch.zeros(dense.numel())
            flat[self._places[name]] = vector
            dense.copy_(flat.view(dense.shape))

    @torch.no_grad()
    def read(self) -> None:
        """Take the kept weights from the dense ones."""
        for name, vector in self._vectors.items():
            vector.copy_(self.get_parameter(name).reshape(-1)[self._places[name]])


class _Runtime:
    """The programs of a module, by image size, and the threads that run them; a copy of it starts without any."""

    def __init__(self, module: nn.Module, masks: Mapping[str, Tensor], threads: int | None, measure: bool) -> None:
        self.module, self._masks, self._threads, self._measure = module, masks, threads, measure
        self._tracing = Tracing(module)
        self._isa = chosen_isa(instruction_sets(), None)
        self._team: Team | None = None
        self._tuner: Tuner | None = None
        self._networks: dict[tuple[int, ...], Network] = {}
        self._free: dict[tuple[Any, ...], Program] = {}
        self.vectors: Mapping[str, nn.Parameter] = {}
        self.kept: Kept = {
            name: np.flatnonzero(masks[f"{name}.weight"].cpu().contiguous().numpy())
            if f"{name}.weight" in masks
            else None
            for name, layer in module.named_modules()
            if isinstance(layer, nn.Conv2d | nn.Linear)
        }
        self._places = {name: torch.from_numpy(kept) for name, kept in self.kept.items() if kept is not None}
        self._names: list[tuple[str, str]] | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> _Runtime:
        if self.vectors:
            raise TypeError("a KeptTrainable can't be copied; copy the backbone that it was made of")
        return _Runtime(copy.deepcopy(self.module, memo), self._masks, self._threads, self._measure)

    def __reduce__(self) -> tuple[Any, ...]:
        return _Runtime, (self.module, self._masks, self._threads, self._measure)

    def tensors(self) -> list[Tensor]:
        """Return the parameters of all layers that have some, in a fixed order: vectors where there are any."""
        if self._names is None:
            modules = dict(self.module.named_modules())
            self._names = [
                (name, own)
                for name, layer in modules.items()
                if isinstance(layer, nn.Conv2d | nn.Linear | nn.BatchNorm2d)
                for own in ("weight", "bias")
                if getattr(layer, own, None) is not None
            ]
        found: list[Tensor] = []
        for name, own in self._names:
            full = f"{name}.{own}"
            tensor = self.vectors[full] if full in self.vectors else self.module.get_parameter(full)
            if tensor.dtype != torch.float32 or tensor.device.type != "cpu":
                raise InputError(
                    f"engine 'sparse' trains float32 on the CPU; {full} is {tensor.dtype} on {tensor.device}",
                    "move the module, or use torch",
                )
            found.append(tensor)
        return found

    def values(self, tensors: list[Tensor] | tuple[Tensor, ...]) -> dict[tuple[str, str], Tensor]:
        """Return the parameters as the kernels read them: vectors of kept weights, and contiguous."""
        assert self._names is not None  # noqa: S101 - tensors() has been called
        found = {}
        for key, tensor in zip(self._names, tensors, strict=True):
            value = tensor.detach().reshape(-1)
            places = self._places.get(key[0]) if key[1] == "weight" else None
            if places is not None and f"{key[0]}.{key[1]}" not in self.vectors:
                value = value[places]
            found[key] = value.contiguous()
        return found

    def take(self, images: Tensor, chunks: int, *, backward: bool) -> Program:
        """Return a program that nobody is using; it is given back by :meth:`give`."""
        threads = self._threads or torch.get_num_threads()
        if self._team is None or self._team.threads != threads:
            self._free.clear()
            self._team = Team(threads)
            weakref.finalize(self, Team.close, self._team)
            self._tuner = Tuner(threads, measure=self._measure)
        assert self._tuner is not None  # noqa: S101 - made with the team
        key = (*images.shape[1:], backward)
        program = self._free.pop(key, None)
        if program is not None and program.chunks >= chunks:
            return program
        for other in [k for k in self._free if k[-1] == backward]:
            del self._free[other]  # before the next one is made: two may not fit into memory
        del program
        if key[:3] not in self._networks:
            with torch.no_grad():
                self._networks = {key[:3]: self._tracing.network(*images.shape[1:])}
        network = self._networks[key[:3]]
        modules = {
            layer.name: self.module.get_submodule(layer.name)
            for layer in network.layers
            if isinstance(layer, Convolution | Norm)
        }
        kept = {name: self.kept.get(name) for name in modules}
        return Program(network, kept, modules, (self._isa, self._team, self._tuner), chunks, backward=backward)

    def give(self, images: tuple[int, ...], program: Program, *, backward: bool) -> None:
        """Take a program back."""
        self._free[*images[1:], backward] = program

    def checked(self, images: Tensor) -> Tensor:
        """Return a batch as float32, or raise InputError."""
        if images.ndim != 4 or not images.is_floating_point() or images.device.type != "cpu" or not len(images):
            raise InputError(
                f"engine 'sparse' got {images.dtype} of shape {tuple(images.shape)} on {images.device}",
                "give floats (B, C, H, W) on the CPU",
            )
        if images.requires_grad:
            raise InputError("engine 'sparse' has no gradients of images", "detach them, or use torch")
        return images.detach().float()

    def without_gradients(self, images: Tensor) -> Tensor:
        """Return features; gradients can't be asked for."""
        images = self.checked(images)
        norms = [m for m in self.module.modules() if isinstance(m, nn.BatchNorm2d)]
        whole = any(m.training or m.running_mean is None for m in norms)
        lanes = self._isa.lanes
        size = len(images) if whole else _EVALUATED * lanes
        found = []
        for part in images.split(size):
            program = self.take(part, -(-len(part) // lanes), backward=False)
            found.append(program.forward(part, self.values(self.tensors())))
            self.give(part.shape, program, backward=False)
        return found[0] if len(found) == 1 else torch.cat(found)


class _Lease:
    """A program in use between a forward and its backward pass; it goes back when nobody needs it any more."""

    def __init__(self, runtime: _Runtime, shape: tuple[int, ...], program: Program) -> None:
        self.runtime, self._shape = runtime, shape
        self.program: Program | None = program
        self._process = os.getpid()

    def end(self) -> None:
        if self.program is not None:
            self.runtime.give(self._shape, self.program, backward=True)
            self.program = None

    __del__ = end


class _Step(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, runtime: _Runtime, images: Tensor, *parameters: Tensor) -> Tensor:
        images = runtime.checked(images)
        program = runtime.take(images, -(-len(images) // runtime._isa.lanes), backward=True)
        ctx.lease = _Lease(runtime, images.shape, program)
        ctx.shapes = [p.shape for p in parameters]
        return program.forward(images, runtime.values(parameters))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        lease: _Lease = ctx.lease
        if lease.program is None:
            raise RuntimeError("engine 'sparse' goes backward once for each forward pass")
        found = lease.program.backward(gradient.float())
        lease.end()
        assert lease.runtime._names is not None  # noqa: S101 - set by the forward pass
        out: list[Tensor | None] = [None, None]
        for key, shape in zip(lease.runtime._names, ctx.shapes, strict=True):
            value = found.get(key)
            places = lease.runtime._places.get(key[0]) if key[1] == "weight" else None
            if value is not None and places is not None and len(shape) > 1:
                dense = torch.zeros(shape.numel())
                dense[places] = value
                value = dense
            out.append(None if value is None else value.view(shape))
        return tuple(out)


def trainable(backbone: object, *, threads: int | None = None, measure: bool = True) -> Trainable:
    """Return a backbone as a module that trains in our kernels; see :func:`sparsebench.engines.trainable`."""
    module = backbone if isinstance(backbone, nn.Module) else getattr(backbone, "module", None)
    if not isinstance(module, nn.Module):
        raise InputError(
            f"{type(backbone).__name__} is not a backbone", "give an nn.Module, or what sparsebench.load gives"
        )
    masks = getattr(backbone, "masks", None) if module is not backbone else None
    own = copy.deepcopy(module).float()
    return Trainable(own, masking.find(own).masks if masks is None else masks, threads=threads, measure=measure)


def train(module: nn.Module, masks: Mapping[str, Tensor], numerics: Numerics) -> KeptTrainable:
    """Return what full mode trains: the layers of a module, with the kept weights as parameters."""
    return KeptTrainable(module, masks, threads=numerics.threads)
