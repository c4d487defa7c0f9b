"""Batch norm over the images of all processes: in training, statistics are those that one process would compute.

torch's own synchronised batch norm is for GPUs alone. This one works on any device, and takes the place of the function
that every batch norm layer calls, so that a network's modules and the names of its weights stay as they are.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from .team import Team

_FUNCTIONAL = inspect.signature(F.batch_norm)
_BUILTIN = ("input", "weight", "bias", "running_mean", "running_var", "training", "momentum", "eps", "cudnn_enabled")


class SynchronisedBatchNorm(TorchFunctionMode):
    """In this context, batch norm in training normalises by the statistics over all processes.

    Parameters
    ----------
    team : Team
        The processes.
    counts : bool
        Whether this process's images count; those of one that has none of a small part don't.
    """

    def __init__(self, team: Team, *, counts: bool = True) -> None:
        super().__init__()
        self._team, self._counts = team, counts

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Compute batch norm, and leave any other function as it is."""
        kwargs = kwargs or {}
        if func is F.batch_norm:
            bound = _FUNCTIONAL.bind(*args, **kwargs)
            bound.apply_defaults()
            given = bound.arguments
        elif func is torch.batch_norm:
            given = dict(zip(_BUILTIN, args, strict=False)) | kwargs
        else:
            return func(*args, **kwargs)
        if not given["training"]:
            return func(*args, **kwargs)
        y, mean, variance, count = _Normalise.apply(
            given["input"], given["weight"], given["bias"], given["eps"], self._team, self._counts
        )
        if given["running_mean"] is not None:
            with torch.no_grad():
                given["running_mean"].lerp_(mean, given["momentum"])
                given["running_var"].lerp_(variance * (count / (count - 1).clamp(min=1)), given["momentum"])
        return y


class _Normalise(torch.autograd.Function):
    """Batch norm by the mean and variance over the images of all processes (Ioffe and Szegedy, 2015)."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, team: Team, counts: bool
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        channels = x.shape[1]
        variance, mean = torch.var_mean(x.float(), [0, *range(2, x.ndim)], correction=0)
        count = mean.new_tensor([x.numel() // channels if counts else 0])
        every = team.gather(torch.cat([mean, variance, count]), "batch_norm").double()
        means, variances, sizes = every[:, :channels], every[:, channels:-1], every[:, -1:]
        total = sizes.sum()
        whole = (sizes * means).sum(0) / total
        spread = (sizes * (variances + (means - whole).square())).sum(0) / total
        mean, variance, total = whole.float(), spread.float(), total.float()
        ctx.save_for_backward(x, weight, mean, variance, total)
        ctx.eps, ctx.team, ctx.counts = eps, team, counts
        ctx.mark_non_differentiable(mean, variance, total)
        return F.batch_norm(x, mean, variance, weight, bias, False, 0.0, eps), mean, variance, total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, variance, total = ctx.saved_tensors
        eps, team = ctx.eps, ctx.team
        # with fixed statistics: the gradient of x lacks two terms, those of weight and bias are this process's own
        dx, dw, db = torch.ops.aten.native_batch_norm_backward(
            gradients[0], x, weight, mean, variance, None, None, False, eps, [True, True, True]
        )
        by_weight, by_bias = team.add(torch.cat([dw.float(), db.float()]), "batch_norm").chunk(2)
        if ctx.counts:
            inverse = torch.rsqrt(variance + eps)
            scale = -inverse / total if weight is None else -inverse * weight.float() / total
            shape = (1, -1, *[1] * (x.ndim - 2))
            slope, offset = (scale * inverse * by_weight).view(shape), (scale * by_bias).view(shape)
            dx = dx + ((x - mean.view(shape)) * slope + offset).to(dx.dtype)
        else:
            dx = torch.zeros_like(dx)
        return dx, None if weight is None else dw, None if weight is None else db, None, None, None
