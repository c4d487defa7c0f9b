"""A whole network as ONNX, checked against torch before it is written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import nn

from ..engines.onnx import exported
from ..schema import InputError, RunError

OPSET = 17
TOLERANCE = 1e-4
"""Largest difference of a logit to torch's, as a fraction of the largest logit (of 1 where that is smaller)."""

_HINT = "pip install 'sparsebench[onnx]'"


def require_onnx() -> None:
    """Raise InputError unless what writes and what checks ONNX files is installed."""
    missing = [name for name in ("onnx", "onnxruntime") if find_spec(name) is None]
    if missing:
        raise InputError(f"an ONNX file needs {' and '.join(missing)}", _HINT)


def onnx_bytes(model: nn.Module, size: int, about: Mapping[str, Any], opset: int = OPSET) -> bytes:
    """Return a network from normalised images (batch, 3, size, size) to ``logits`` as ONNX, any batch size.

    Parameters
    ----------
    model : nn.Module
        In eval mode, on the CPU.
    size : int
        Height and width of its input in pixels.
    about : mapping
        What the file says about itself, as JSON texts under these names.
    opset : int
        Version of the operators.

    Raises
    ------
    InputError
        If onnx or onnxruntime isn't installed, or torch can't export the network.
    RunError
        If onnxruntime doesn't compute what torch does.
    """
    require_onnx()
    import onnx

    proto = onnx.load_from_string(exported(model, (1, 3, size, size), "logits", opset, {0: "batch"}))
    onnx.helper.set_model_props(proto, {name: _text(value) for name, value in about.items()})
    content: bytes = proto.SerializeToString()
    _check(model, size, content)
    return content


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


@torch.inference_mode()
def _check(model: nn.Module, size: int, content: bytes) -> None:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    source = torch.Generator().manual_seed(0)
    for batch in (1, 3):
        images = torch.randn(batch, 3, size, size, generator=source)
        expected = model(images).numpy()
        (found,) = session.run(None, {"images": images.numpy()})
        off = float(np.abs(found - expected).max()) / max(1.0, float(np.abs(expected).max()))
        if not off <= TOLERANCE:
            raise RunError(f"onnxruntime's logits differ from torch's by {off:.1g}", "export without --onnx")
