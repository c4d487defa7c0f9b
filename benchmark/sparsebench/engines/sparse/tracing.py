"""From a module to layers: torch.fx records what it calls, and each call is looked up in a table of what is understood.

What isn't in the table is an error that names the layer.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import fx, nn

from ...schema import InputError
from ..fold import fold_batchnorm
from .affine import fold_affine
from .builder import Builder, NotUnderstood, Padded
from .calls import FUNCTIONS, METHODS, Handler, handler_of
from .graph import Network, Value, fuse
from .liveness import drop_unread
from .strides import close_gaps
from .views import View

HINT = "use --engine torch"


class Traced:
    """A backbone, folded and traced; :meth:`network` gives its layers for a size of image.

    Parameters
    ----------
    module : nn.Module
        The backbone; it is copied, never changed.

    Raises
    ------
    InputError
        If it can't be traced.
    """

    def __init__(self, module: nn.Module) -> None:
        folded = fold_batchnorm(module)
        if folded.reason is not None:
            raise InputError(f"engine 'sparse' can't trace this backbone: {folded.reason}", HINT)
        self.module = folded.module.requires_grad_(False)
        self._trace(self.module.float().cpu())

    def _trace(self, root: nn.Module) -> None:
        self._root = root
        try:
            self._graph = _Tracer(self._handler_of).trace(root)
        except Exception as error:  # a tracer runs any model's own code, which may raise anything
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            raise InputError(f"engine 'sparse' can't trace this backbone: {reason}", HINT) from error

    def _handler_of(self, module: nn.Module) -> Handler | None:
        return handler_of(module)

    def _finished(self, network: Network) -> Network:
        return close_gaps(drop_unread(fuse(fold_affine(network))))

    def network(self, channels: int, height: int, width: int) -> Network:
        """Return the layers for images of this shape, additions and activations fused.

        Raises
        ------
        InputError
            If a layer isn't understood; it names the layer.
        """
        builder = Builder()
        source = Value(channels, height, width)
        env: dict[fx.Node, object] = {}
        result: object = None
        for node in self._graph.nodes:
            if node.op == "placeholder":
                if env and not node.args:
                    raise InputError("engine 'sparse' runs backbones of one input", HINT)
                env[node] = node.args[0] if env else source  # an option at its default
            elif node.op == "output":
                result = _look_up(node.args[0], env)
            else:
                self._call(node, env, builder)
        if not isinstance(result, Value) or not (result.flat or result.height == result.width == 1):
            raise InputError("engine 'sparse' runs backbones that give one feature vector an image", HINT)
        return self._finished(Network(builder.layers, source, result))

    def _call(self, node: fx.Node, env: dict[fx.Node, object], builder: Builder) -> None:
        """Record one call; what changes its input in place changes it for all that read it later."""
        args = [_look_up(argument, env) for argument in node.args]
        kwargs = {name: _look_up(value, env) for name, value in node.kwargs.items()}
        name, kind = _described(node, self._root)
        in_place = False
        try:
            if node.op == "get_attr":
                env[node] = _attribute(self._root, str(node.target))
                return
            if node.op != "call_module" and not _maps([*args, *kwargs.values()]):
                env[node] = _computed(node, args, kwargs)
                return
            if node.op == "call_module":
                module = self._root.get_submodule(str(node.target))
                if module._forward_hooks or module._forward_pre_hooks:
                    raise NotUnderstood("has hooks")
                handler = self._handler_of(module)
                if handler is None:
                    raise NotUnderstood
                in_place = bool(getattr(module, "inplace", False))
                env[node] = handler(builder, name, module, *args, **kwargs)
            else:
                table = METHODS if node.op == "call_method" else FUNCTIONS
                handler = table.get(node.target)
                if handler is None:
                    raise NotUnderstood
                in_place = bool(kwargs.pop("inplace", False)) or _named_in_place(node.target)
                env[node] = handler(builder, name, *args, **kwargs)
        except (NotUnderstood, TypeError, ValueError, IndexError, RuntimeError, AssertionError) as error:
            why = f": {error}" if str(error) else ""
            raise InputError(f"engine 'sparse' doesn't understand layer {name!r} ({kind}){why}", HINT) from error
        if in_place and args and isinstance(args[0], Value):
            for other, value in env.items():
                if value is args[0]:
                    env[other] = env[node]


def _named_in_place(target: object) -> bool:
    name = target if isinstance(target, str) else str(getattr(target, "__name__", ""))
    return name.endswith("_") or name == "iadd"


def _look_up(argument: object, env: dict[fx.Node, object]) -> object:
    if isinstance(argument, fx.Node):
        return env[argument]
    if isinstance(argument, tuple | list):
        return type(argument)(_look_up(item, env) for item in argument)
    return argument


def _attribute(root: nn.Module, path: str) -> object:
    """Return a parameter, which nothing here changes."""
    module, _, name = path.rpartition(".")
    found = getattr(root.get_submodule(module), name)
    return found.detach() if isinstance(found, torch.Tensor) else found


def _maps(arguments: object) -> bool:
    """Whether a map is among the arguments, themselves or in a list."""
    if isinstance(arguments, tuple | list):
        return any(_maps(each) for each in arguments)
    return isinstance(arguments, Value | View | Padded)


def _computed(node: fx.Node, args: list[object], kwargs: dict[str, object]) -> object:
    """Return what a call gives that no image has a part in."""
    if _named_in_place(node.target):
        raise NotUnderstood("changes a tensor of the model")
    if node.op == "call_method":
        return getattr(args[0], str(node.target))(*args[1:], **kwargs)
    function: Callable[..., object] = node.target  # type: ignore[assignment]  # a function's node holds the function
    return function(*args, **kwargs)


def _described(node: fx.Node, root: nn.Module) -> tuple[str, str]:
    """Return the name of a call's layer and what it is: its own type, or the function and the module that calls it."""
    if node.op == "call_module":
        return str(node.target), type(root.get_submodule(str(node.target))).__name__
    called = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
    stack = node.meta.get("nn_module_stack") or {}
    path = next(reversed(stack.values()), None)
    if path and path[0]:
        return f"{path[0]}.{called}", f"{called} in {getattr(path[1], '__name__', path[1])}"
    return node.name, str(called)


class _Tracer(fx.Tracer):
    """Traces into everything but the layers of the table."""

    def __init__(self, handlers: Callable[[nn.Module], Handler | None]) -> None:
        super().__init__()
        self._handlers = handlers

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return self._handlers(m) is not None or super().is_leaf_module(m, module_qualified_name)


def check(module: nn.Module, input_shape: tuple[int, ...]) -> None:
    """Raise InputError, which names the layer, unless the engine understands the backbone."""
    with torch.no_grad():
        Traced(module).network(*input_shape[1:])
