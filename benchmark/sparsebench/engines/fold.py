"""Fold batch normalisation into the convolution before it: in eval mode both are affine, so one layer does for two."""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn
from torch.nn.utils import parametrize


@dataclass(frozen=True)
class Folded:
    """A copy of a module in eval mode and what folding did to it.

    ``folded`` and ``unfolded`` count the BatchNorm2d layers that are gone and that remain; ``reason`` says why the
    module could not be traced, and is None where it could.
    """

    module: nn.Module
    folded: int
    unfolded: int
    reason: str | None = None


def fold_batchnorm(module: nn.Module) -> Folded:
    """Fold every BatchNorm2d that directly follows a Conv2d, and is its only user, into that convolution.

    With a convolution's weight W and bias b, and the normalisation's mean m, variance v, scale g and shift h:
    W' = W g / sqrt(v + eps) per output channel and b' = (b - m) g / sqrt(v + eps) + h (Ioffe & Szegedy 2015,
    arXiv 1502.03167, section 3.1, in inference). A zero in W stays a zero.

    timm's BatchNormAct2d loses its normalisation and keeps its drop and activation layers. A normalisation anywhere
    else (before a convolution, after one that has other users or that computes its own weight) stays.

    Parameters
    ----------
    module : nn.Module
        Any module; it is copied, never changed.

    Returns
    -------
    Folded
        The copy; where tracing fails, or there is nothing to fold, it is as the original was, in eval mode.
    """
    frozen = copy.deepcopy(module).eval()
    try:
        graph = _Tracer().trace(frozen)
    except Exception as error:  # a tracer runs any model's own code, which may raise anything
        return Folded(frozen, 0, _count(frozen), f"{type(error).__name__}: {error}".splitlines()[0])
    calls = Counter(node.target for node in graph.nodes if node.op == "call_module")
    shared = _shared_parameters(frozen)
    folded = 0
    for node in list(graph.nodes):
        if _is_pair(node, frozen, calls, shared):
            _fold_pair(node, frozen)
            folded += 1
    if folded == 0:
        return Folded(frozen, 0, _count(frozen))
    graph.lint()
    result = fx.GraphModule(frozen, graph, type(module).__name__).eval()
    result.delete_all_unused_submodules()
    return Folded(result, folded, _count(result))


class _Tracer(fx.Tracer):
    """Traces into everything but the layers that folding looks at."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if _is_timm(m, "ConvMlp"):  # looks at the size of its input; there is nothing in it to fold
            return True
        return isinstance(m, nn.Conv2d | nn.BatchNorm2d) or super().is_leaf_module(m, module_qualified_name)


def _count(module: nn.Module) -> int:
    return sum(isinstance(m, nn.BatchNorm2d) for m in module.modules())


def _shared_parameters(module: nn.Module) -> set[int]:
    """Return the ids of parameters that more than one module holds."""
    counts = Counter(id(p) for m in module.modules() for p in m.parameters(recurse=False))
    return {key for key, count in counts.items() if count > 1}


def _is_pair(node: fx.Node, root: nn.Module, calls: Counter[object], shared: set[int]) -> bool:
    """Whether ``node`` is a normalisation that can be folded into the convolution it reads."""
    source = node.args[0] if node.op == "call_module" and len(node.args) == 1 and not node.kwargs else None
    if not isinstance(source, fx.Node) or source.op != "call_module" or len(source.users) != 1:
        return False
    conv, norm = root.get_submodule(str(source.target)), root.get_submodule(str(node.target))
    return (
        isinstance(conv, nn.Conv2d)
        and isinstance(norm, nn.BatchNorm2d)
        and calls[source.target] == 1
        and not any(id(p) in shared for p in conv.parameters(recurse=False))
        and _is_plain_conv(conv)
        and _is_plain_norm(norm)
    )


def _has_hooks(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)


def _is_plain_conv(conv: nn.Conv2d) -> bool:
    """Whether the convolution uses its stored weight as it is (weight standardisation, for one, doesn't)."""
    if _has_hooks(conv) or parametrize.is_parametrized(conv):
        return False
    return type(conv).forward is nn.Conv2d.forward or _is_timm(conv, "Conv2dSame")


def _is_plain_norm(norm: nn.BatchNorm2d) -> bool:
    """Whether the layer normalises by its running statistics and, at most, drops and activates afterwards."""
    if _has_hooks(norm) or norm.running_mean is None or norm.running_var is None:
        return False
    if _is_timm(norm, "BatchNormAct2d"):
        return {name for name, _ in norm.named_children()} <= {"drop", "act"}
    return type(norm).forward is nn.BatchNorm2d.forward


def _is_timm(module: nn.Module, name: str) -> bool:
    kind = type(module)
    return kind.__name__ == name and kind.__module__.startswith("timm.")


def _fold_pair(node: fx.Node, root: nn.Module) -> None:
    """Put the normalisation of ``node`` into its convolution and what follows it, if anything, in its place."""
    source = node.args[0]
    if not isinstance(source, fx.Node):
        raise TypeError(f"a normalisation reads a node, not {source!r}")
    conv, norm = root.get_submodule(str(source.target)), root.get_submodule(str(node.target))
    if not isinstance(conv, nn.Conv2d) or not isinstance(norm, nn.BatchNorm2d):
        raise TypeError(f"not a convolution and its normalisation: {source.target}, {node.target}")
    _fold_weights(conv, norm)
    tail = [child for _, child in norm.named_children() if not isinstance(child, nn.Identity)]
    if tail:
        name = _free_name(root, f"{str(node.target).replace('.', '_')}_act")
        root.add_module(name, nn.Sequential(*tail) if len(tail) > 1 else tail[0])
        with node.graph.inserting_after(node):
            after = node.graph.call_module(name, (source,))
    else:
        after = source
    node.replace_all_uses_with(after)
    node.graph.erase_node(node)


def _free_name(root: nn.Module, name: str) -> str:
    while hasattr(root, name):
        name += "_"
    return name


@torch.no_grad()
def _fold_weights(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    """Fold in double precision, so that the only rounding is the one to the weight's own type."""
    mean, variance = _double(norm.running_mean, 0.0, conv), _double(norm.running_var, 1.0, conv)
    scale = _double(norm.weight, 1.0, conv) * torch.rsqrt(variance + norm.eps)
    weight = conv.weight.double() * scale[:, None, None, None]
    bias = (_double(conv.bias, 0.0, conv) - mean) * scale + _double(norm.bias, 0.0, conv)
    conv.weight = nn.Parameter(weight.to(conv.weight.dtype), requires_grad=False)
    conv.bias = nn.Parameter(bias.to(conv.weight.dtype), requires_grad=False)


def _double(value: Tensor | None, default: float, conv: nn.Conv2d) -> Tensor:
    if value is None:
        return torch.full((conv.out_channels,), default, dtype=torch.float64, device=conv.weight.device)
    return value.double()
