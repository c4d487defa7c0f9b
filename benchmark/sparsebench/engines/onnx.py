"""The ``onnxruntime`` engine: the folded backbone, exported to ONNX in memory (the extra ``onnxruntime``)."""

from __future__ import annotations

import io
import logging
import warnings

import numpy as np
import torch
from torch import Tensor, nn

from ..schema import InputError, Numerics
from .fold import fold_batchnorm


class OnnxEngine:
    """A frozen backbone in onnxruntime on the CPU; dense, whatever the mask.

    Raises
    ------
    InputError
        If torch can't export the backbone.
    """

    def __init__(self, module: nn.Module, threads: int, input_shape: tuple[int, ...]) -> None:
        import onnxruntime

        frozen = fold_batchnorm(module).module.requires_grad_(False).float().cpu()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        content = _exported(frozen, input_shape)
        self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def __call__(self, batch: Tensor) -> Tensor:
        """Return float32 features (B, d) of a float batch (B, 3, H, W) on the CPU."""
        images = np.ascontiguousarray(batch.detach().float().numpy())
        (features,) = self._session.run(None, {"images": images})
        return torch.from_numpy(np.array(features, np.float32))


def _exported(module: nn.Module, input_shape: tuple[int, ...]) -> bytes:
    """Return the backbone as ONNX; batch, height and width stay open."""
    buffer = io.BytesIO()
    example = torch.zeros(1, *input_shape[1:])
    names = {"images": {0: "batch", 2: "height", 3: "width"}, "features": {0: "batch"}}
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            logging.getLogger("torch.onnx").setLevel(logging.ERROR)
            torch.onnx.export(
                module,
                (example,),
                buffer,  # type: ignore[arg-type]  # a file object will do
                input_names=["images"],
                output_names=["features"],
                dynamic_axes=names,
                dynamo=False,
            )
    except Exception as error:  # the exporter raises its own and others' errors
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise InputError(f"torch can't export this backbone to ONNX: {reason}", "use --engine torch") from error
    return buffer.getvalue()


def build(module: nn.Module, numerics: Numerics, input_shape: tuple[int, ...]) -> OnnxEngine:
    """Build the engine.

    Raises
    ------
    InputError
        If it can't run this backbone.
    """
    return OnnxEngine(module, numerics.threads, input_shape)
