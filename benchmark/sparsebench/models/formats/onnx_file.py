"""ONNX files, as SparseZoo has them: the weights of a network, taken out of its graph under their layers' names.

An exporter of torch's keeps a parameter's name, or takes it from it where it has changed the tensor: batch norms are
multiplied into the convolutions before them, a linear layer's weight is transposed. The layer is then read off the node
that uses the tensor (``/layer1/layer1.0/conv1/Conv``), and what was done is undone. Zeros stay zeros throughout, so the
mask is where the weights are zero.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...schema import CheckpointError
from .base import RawCheckpoint
from .budget import Budget
from .guard import guarded

_QUANTISED = frozenset(
    {"QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger", "DequantizeLinear", "DynamicQuantizeLinear"}
)
_ANONYMOUS = re.compile(r"(?:onnx::|/|val_).*|\d+|[A-Z]\w*_\d+")
_ROLES = {
    "Conv": ("weight", "bias"),
    "Gemm": ("weight", "bias"),
    "MatMul": ("weight",),
    "BatchNormalization": ("weight", "bias", "running_mean", "running_var"),
    "LayerNormalization": ("weight", "bias"),
}
_EPSILON = 1e-5
_ARCHITECTURE = ("arch", "architecture", "model", "model_name")
_WRAPPER = "bn_wrapper_replace_me."
"""What SparseML's exporter leaves in names of batch norms that it has kept apart."""


def opens(path: Path, head: bytes) -> bool:
    """Return whether a file is one of ONNX: by its name, or a version and a producer at its start."""
    return path.suffix == ".onnx" or (head[:1] == b"\x08" and head[2:3] in (b"\x12", b"\x3a"))


def read(path: Path, budget: Budget, wanted: str | None) -> RawCheckpoint:
    """Read the weights of an ONNX file.

    Raises
    ------
    CheckpointError
        If the file is damaged, quantised, keeps its weights in other files, or holds more than the budget allows.
    """
    import onnx

    with guarded(path):
        model = onnx.load(str(path), load_external_data=False)
        if not model.graph.node:
            raise CheckpointError(f"{path} holds no network of ONNX", "get the file again")
        quantised = sorted({node.op_type for node in model.graph.node} & _QUANTISED)
        if quantised:
            raise CheckpointError(f"{path} is quantised ({quantised[0]})", "get the file of floating point weights")
        tensors = _tensors(model.graph, path, budget)
        state, unused = _named(model.graph, tensors)
    if not state:
        raise CheckpointError(f"{path} holds no weights", "export the network with its parameters")
    properties = {item.key: item.value for item in model.metadata_props}
    named = [properties[key] for key in _ARCHITECTURE if key in properties] + [model.graph.name]
    meta = {"named": tuple(dict.fromkeys(name for name in named if name and len(name) < 100))}
    return RawCheckpoint("onnx", state, meta=meta, unused=tuple(unused))


def _tensors(graph: Any, path: Path, budget: Budget) -> dict[str, Tensor]:
    """Return a graph's constants by name: initialisers, sparse ones, constant nodes, and their other names."""
    constants = [
        (node.output[0], attribute.t)
        for node in graph.node
        if node.op_type == "Constant"
        for attribute in node.attribute
        if attribute.name == "value"
    ]
    dense = [(tensor.name, tensor) for tensor in graph.initializer] + constants
    shapes = [tuple(tensor.dims) for _, tensor in dense] + [tuple(t.dims) for t in graph.sparse_initializer]
    if any(size < 0 for shape in shapes for size in shape):
        raise CheckpointError(f"{path} holds a tensor of negative size", "get the file again")
    budget.check(4 * sum(map(math.prod, shapes)), "its tensors")
    found = {name: _tensor(name, tensor, path) for name, tensor in dense}
    for sparse in graph.sparse_initializer:
        found[sparse.values.name] = _dense(sparse, path)
    for node in graph.node:  # equal tensors are written once
        if node.op_type == "Identity" and node.input and node.input[0] in found:
            found[node.output[0]] = found[node.input[0]]
    return found


def _tensor(name: str, tensor: Any, path: Path) -> Tensor:
    from onnx import TensorProto, numpy_helper

    if tensor.data_location == TensorProto.EXTERNAL:
        raise CheckpointError(
            f"{path} keeps tensor {name} in another file", "save the network as one file: onnx.save(model, FILE)"
        )
    values = numpy_helper.to_array(tensor)
    return torch.from_numpy(values.astype("float32") if values.dtype.kind == "f" else values.copy())


def _dense(sparse: Any, path: Path) -> Tensor:
    """Return a sparse initialiser as a dense tensor; its indices are linear, or one row for each value."""
    values = _tensor(sparse.values.name, sparse.values, path).reshape(-1)
    places = _tensor(sparse.values.name, sparse.indices, path).long()
    shape = tuple(sparse.dims)
    if places.ndim == 2:
        strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
        places = places @ torch.tensor(strides)
    if places.shape != values.shape or (len(places) and not 0 <= int(places.min()) <= int(places.max())):
        raise CheckpointError(f"{path}: the places of {sparse.values.name} don't fit its values", "get the file again")
    return torch.zeros(math.prod(shape), dtype=values.dtype).index_put((places,), values).view(shape)


def _named(graph: Any, tensors: dict[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Return the weights under their layers' names, and the names of what isn't one."""
    state: dict[str, Tensor] = {}
    used: set[str] = set()
    apart = any(node.op_type == "BatchNormalization" for node in graph.node)
    for node in graph.node:
        layer = _layer(node.name)
        inputs = dict(zip(_ROLES.get(node.op_type, ()), node.input[1:], strict=False))
        if node.op_type == "MatMul" and inputs.get("weight") not in tensors:
            continue
        for role, given in inputs.items():
            if given not in tensors or (_is_anonymous(given) and not layer):
                continue
            used.add(given)
            name = f"{layer}.{role}" if _is_anonymous(given) else given.replace(_WRAPPER, "")
            value = tensors[given]
            transposed = node.op_type == "MatMul" or (node.op_type == "Gemm" and not _attribute(node, "transB"))
            state[name] = value.T.contiguous() if role == "weight" and transposed and value.ndim == 2 else value
        norm = _norm_after(layer)
        folded = node.op_type == "Conv" and norm and not apart and _is_anonymous(inputs.get("bias", "x"))
        if folded and f"{layer}.bias" in state:
            state |= _unfolded(norm, state.pop(f"{layer}.bias"))
    for name, value in tensors.items():
        if name not in used and not _is_anonymous(name) and value.is_floating_point():
            state.setdefault(name.replace(_WRAPPER, ""), value)
            used.add(name)
    return state, [name for name in tensors if name not in used]


def _is_anonymous(name: str) -> bool:
    return _ANONYMOUS.fullmatch(name) is not None


def _layer(node: str) -> str:
    """Return the layer that a node belongs to: ``layer1.0.conv1`` for ``/layer1/layer1.0/conv1/Conv``."""
    path = ""
    for part in node.strip("/").split("/")[:-1]:
        path = part if not path or part.startswith(f"{path}.") else f"{path}.{part.removeprefix(f'{path}.')}"
    return path


def _attribute(node: Any, name: str) -> int:
    return next((int(attribute.i) for attribute in node.attribute if attribute.name == name), 0)


def _norm_after(layer: str) -> str:
    """Return the batch norm that follows a convolution by the usual names, or nothing: ``bn1`` after ``conv1``."""
    path, _, leaf = layer.rpartition(".")
    if leaf.isdigit():
        leaf = str(int(leaf) + 1)
    elif re.fullmatch(r"conv\d*", leaf):
        leaf = leaf.replace("conv", "bn")
    else:
        return ""
    return f"{path}.{leaf}" if path else leaf


def _unfolded(norm: str, bias: Tensor) -> dict[str, Tensor]:
    """Return a batch norm that adds a bias and changes nothing else."""
    ones = torch.ones_like(bias)
    return {
        f"{norm}.weight": ones * math.sqrt(1 + _EPSILON),
        f"{norm}.bias": bias,
        f"{norm}.running_mean": torch.zeros_like(bias),
        f"{norm}.running_var": ones,
    }
