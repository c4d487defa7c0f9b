"""ONNX files: weights under their layers' names, whatever an exporter has made of them; SparseML's networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from files import assert_is, saved, small_state
from torch import Tensor

import sparsebench
from sparsebench.models.formats import read_checkpoint
from sparsebench.schema import CheckpointError

onnx = pytest.importorskip("onnx", reason="needs the extra sparsebench[onnx]")

State = dict[str, Tensor]


def constant(name: str, value: Tensor, **options: Any) -> Any:
    return onnx.numpy_helper.from_array(value.numpy(), name)


def written(path: Path, nodes: list[Any], constants: list[Any], *, name: str = "main_graph", **properties: str) -> Path:
    graph = onnx.helper.make_graph(nodes, name, [], [], initializer=constants)
    model = onnx.helper.make_model(graph, producer_name="pytorch")
    onnx.helper.set_model_props(model, properties)
    path.write_bytes(model.SerializeToString())
    return path


def nodes_of(state: State, *, norms: bool = True) -> list[Any]:
    """Return the nodes that use a network's tensors, under torch's names of them."""
    nodes = []
    for name in state:
        layer, _, leaf = name.rpartition(".")
        if leaf != "weight":
            continue
        path = "/" + "/".join(
            ".".join(layer.split(".")[:2]) if i == 1 and layer.startswith("layer") else part
            for i, part in enumerate(layer.split("."))
        )
        if f"{layer}.running_mean" in state:
            if norms:
                inputs = [f"{layer}.{k}" for k in ("weight", "bias", "running_mean", "running_var")]
                nodes.append(
                    onnx.helper.make_node("BatchNormalization", ["x", *inputs], ["x"], f"{path}/BatchNormalization")
                )
        elif state[name].ndim == 4:
            nodes.append(onnx.helper.make_node("Conv", ["x", name], ["x"], f"{path}/Conv"))
        else:
            nodes.append(onnx.helper.make_node("Gemm", ["x", name, f"{layer}.bias"], ["y"], f"{path}/Gemm", transB=1))
    return nodes


def floats(state: State) -> State:
    return {name: value for name, value in state.items() if value.is_floating_point()}


@pytest.mark.slow
def test_named_weights_are_taken_with_their_zeros(tmp_path: Path) -> None:
    state = floats(small_state())
    path = written(tmp_path / "m.onnx", nodes_of(state), [constant(n, v) for n, v in state.items()], name="mini")
    backbone = sparsebench.load(path, head=True)  # the graph's name says which architecture it is
    assert_is(backbone, small_state())
    assert (backbone.info.format, backbone.info.arch, backbone.info.mask_source) == ("onnx", "mini", "zeros")
    assert set(backbone.masks) == {name for name, value in state.items() if value.ndim == 4}


@pytest.mark.slow
def test_the_metadata_name_the_architecture_and_the_ending_doesn_t_matter(tmp_path: Path) -> None:
    state = floats(small_state())
    path = written(tmp_path / "model", nodes_of(state), [constant(n, v) for n, v in state.items()], arch="mini")
    assert sparsebench.load(path).info.arch == "mini"


def test_folded_batch_norms_are_taken_apart(tmp_path: Path) -> None:
    """torch's exporter multiplies them into the convolutions, and numbers the results."""
    state = floats(small_state())
    network = sparsebench.load(saved(tmp_path / "m.pth", state), arch="mini", head=True).module
    nodes, constants, number = [], [], 400
    for node in nodes_of(state, norms=False):
        layer = node.input[1].removesuffix(".weight")
        if node.op_type == "Gemm":
            nodes.append(node)
            constants += [constant(f"{layer}.{k}", state[f"{layer}.{k}"]) for k in ("weight", "bias")]
            continue
        norm = f"{layer[:-1]}1" if layer.endswith(".0") else layer.replace("conv", "bn")
        scale = state[f"{norm}.weight"] / (state[f"{norm}.running_var"] + 1e-5).sqrt()
        bias = state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * scale
        names = [f"onnx::Conv_{number}", f"onnx::Conv_{number + 1}"]
        nodes.append(onnx.helper.make_node("Conv", ["x", *names], ["x"], node.name))
        constants += [constant(names[0], state[node.input[1]] * scale[:, None, None, None]), constant(names[1], bias)]
        number += 3
    backbone = sparsebench.load(written(tmp_path / "m.onnx", nodes, constants), arch="mini", head=True)
    images = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(backbone.module(images), network(images), rtol=1e-4, atol=1e-5)
    assert all(torch.equal(mask, state[name] != 0) for name, mask in backbone.masks.items())


def test_transposed_linear_layers_are_turned_back(tmp_path: Path) -> None:
    weight, other = torch.randn(3, 2), torch.randn(4, 3)
    nodes = [
        onnx.helper.make_node("MatMul", ["x", "onnx::MatMul_7"], ["z"], "/blocks/blocks.0/attn/qkv/MatMul"),
        onnx.helper.make_node("Gemm", ["z", "fc.weight"], ["y"], "/fc/Gemm"),
    ]
    constants = [constant("onnx::MatMul_7", weight.T.contiguous()), constant("fc.weight", other.T.contiguous())]
    raw = read_checkpoint(written(tmp_path / "m.onnx", nodes, constants))
    assert raw.state.keys() == {"blocks.0.attn.qkv.weight", "fc.weight"}
    assert torch.equal(raw.state["blocks.0.attn.qkv.weight"], weight)
    assert torch.equal(raw.state["fc.weight"], other)


def test_equal_tensors_written_once_half_precision_and_sparse_ones(tmp_path: Path) -> None:
    nodes = [
        onnx.helper.make_node("Identity", ["a.weight"], ["b.weight"]),
        onnx.helper.make_node("Conv", ["x", "b.weight"], ["x"], "/b/Conv"),
        onnx.helper.make_node("Conv", ["x", "c.weight"], ["x"], "/c/Conv"),
        onnx.helper.make_node("Gemm", ["x", "bn_wrapper_replace_me.d.weight"], ["x"], "Gemm_7", transB=1),
    ]
    half = np.arange(4, dtype=np.float16).reshape(2, 2, 1, 1)
    model = onnx.load(written(tmp_path / "m.onnx", nodes, [onnx.numpy_helper.from_array(half, "a.weight")]))
    for name, places in (("c.weight", [0, 5]), ("bn_wrapper_replace_me.d.weight", [[0, 0], [1, 2]])):
        values = onnx.numpy_helper.from_array(np.array([1.0, 2.0], np.float32), name)
        indices = onnx.numpy_helper.from_array(np.array(places, np.int64), "i")
        model.graph.sparse_initializer.append(onnx.helper.make_sparse_tensor(values, indices, [2, 3]))
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    raw = read_checkpoint(tmp_path / "m.onnx")
    assert raw.state["b.weight"].dtype == torch.float32
    assert raw.state["b.weight"].flatten().tolist() == raw.state["a.weight"].flatten().tolist() == [0, 1, 2, 3]
    assert raw.state["c.weight"].tolist() == raw.state["d.weight"].tolist() == [[1, 0, 0], [0, 0, 2]]


def damaged(path: Path, change: str) -> None:
    node = onnx.helper.make_node("Conv", ["x", "a.weight"], ["x"], "/a/Conv")
    model = onnx.load(written(path, [node], [constant("a.weight", torch.ones(2, 2, 1, 1))]))
    tensor = model.graph.initializer[0]
    if change == "external":
        tensor.data_location = onnx.TensorProto.EXTERNAL
        entry = tensor.external_data.add()
        entry.key, entry.value = "location", "/etc/passwd"
    elif change == "quantised":
        model.graph.node.append(onnx.helper.make_node("DequantizeLinear", ["a", "b"], ["c"]))
    elif change in ("huge", "negative", "short"):
        tensor.dims[0] = {"huge": 1 << 40, "negative": -2, "short": 3}[change]
    elif change == "empty":
        del model.graph.initializer[:]
    elif change == "no network":
        del model.graph.node[:]
    elif change == "places":
        values = onnx.numpy_helper.from_array(np.array([1.0], np.float32), "b.weight")
        indices = onnx.numpy_helper.from_array(np.array([99], np.int64), "i")
        model.graph.sparse_initializer.append(onnx.helper.make_sparse_tensor(values, indices, [2, 3]))
    content = model.SerializeToString()
    path.write_bytes(content[:-7] if change == "cut" else content)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("external", "in another file"),
        ("quantised", "is quantised"),
        ("huge", "of its budget"),
        ("negative", "negative size"),
        ("short", "can't be read"),
        ("empty", "holds no weights"),
        ("no network", "no network of ONNX"),
        ("places", "can't be read"),
        ("cut", None),
    ],
)
def test_what_can_t_be_used_is_refused(tmp_path: Path, change: str, message: str | None) -> None:
    damaged(tmp_path / "m.onnx", change)
    with pytest.raises(CheckpointError, match=message) as caught:
        read_checkpoint(tmp_path / "m.onnx")
    assert "m.onnx" in str(caught.value)


@pytest.mark.parametrize("content", [b"onnx", b"\x08\x07\x12\xff", b"\x00" * 40, b"{}"])
def test_what_is_no_onnx_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"m\.onnx"):
        read_checkpoint(tmp_path / "m.onnx")


def as_sparseml(name: str) -> str:
    """Return SparseML's name of a tensor of a basic ResNet."""
    if name.startswith("layer"):
        stage, block, rest = name.split(".", 2)
        rest = rest.replace("downsample.0", "identity.conv").replace("downsample.1", "identity.bn")
        return f"sections.{int(stage[-1]) - 1}.{block}.{rest}"
    return name.replace("fc.", "classifier.fc.").replace("conv1.", "input.conv.").replace("bn1.", "input.bn.")


def test_sparsezoos_resnet_is_ours(tmp_path: Path) -> None:
    state = floats(small_state())
    nodes, theirs = nodes_of(state), {as_sparseml(n): v for n, v in state.items()}
    for node in nodes:
        node.name = ""  # its files are of an exporter that numbers nodes
        node.input[:] = [as_sparseml(name) if name in state else name for name in node.input]
    backbone = sparsebench.load(
        written(tmp_path / "model.onnx", nodes, [constant(n, v) for n, v in theirs.items()]), arch="mini", head=True
    )
    assert_is(backbone, small_state())
    assert backbone.info.format == "onnx+sparseml"


def test_sparsezoos_mobilenet_needs_no_architecture(tmp_path: Path) -> None:
    from sparsebench.models import backbones

    torch.manual_seed(3)
    network = backbones.build(backbones.find("mobilenet_v1")[0], 7).eval()
    sections = [1, 2, 2, 6, 2]
    places = [(section, block) for section, blocks in enumerate(sections) for block in range(blocks)]
    theirs: State = {}
    for name, value in network.state_dict().items():
        parts = name.split(".")
        if parts[0] == "fc":
            theirs[f"classifier.{name}"] = value
        elif parts[1] == "0":
            theirs[f"input.{('conv', 'bn')[int(parts[2])]}.{parts[3]}"] = value
        else:
            section, block = places[int(parts[1]) - 1]
            layer = {"0": "depth.conv", "1": "depth.bn", "3": "point.conv", "4": "point.bn"}[parts[2]]
            theirs[f"sections.{section}.{block}.{layer}.{parts[3]}"] = value
    backbone = sparsebench.load(saved(tmp_path / "m.pth", {"state_dict": theirs}), head=True)
    assert (backbone.info.arch, backbone.info.format) == ("mobilenet_v1", "sparseml")
    assert all(torch.equal(v, network.state_dict()[n]) for n, v in backbone.module.state_dict().items())
