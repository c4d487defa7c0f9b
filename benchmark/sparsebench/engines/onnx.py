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
        content = exported(frozen, input_shape)
        self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def __call__(self, batch: Tensor) -> Tensor:
        """Return float32 features (B, d) of a float batch (B, 3, H, W) on the CPU."""
        images = np.ascontiguousarray(batch.detach().float().numpy())
        (features,) = self._session.run(None, {"images": images})
        return torch.from_numpy(np.array(features, np.float32))


def exported(
    module: nn.Module,
    input_shape: tuple[int, ...],
    output: str = "features",
    opset: int | None = None,
    open_axes: dict[int, str] | None = None,
) -> bytes:
    """Return a module as ONNX, with the input ``images`` and one output.

    Parameters
    ----------
    module : nn.Module
        In eval mode.
    input_shape : tuple of int
        Shape (B, 3, H, W) of a typical batch.
    output : str
        The output's name.
    opset : int, optional
        Version of the operators; torch's own choice without it.
    open_axes : dict of int to str, optional
        The axes of the input whose length isn't fixed, and their names; by default batch, height and width.

    Raises
    ------
    InputError
        If torch can't export it.
    """
    buffer = io.BytesIO()
    example = torch.zeros(1, *input_shape[1:])
    axes = open_axes or {0: "batch", 2: "height", 3: "width"}
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            logging.getLogger("torch.onnx").setLevel(logging.ERROR)
            torch.onnx.export(
                module,
                (example,),
                buffer,  # type: ignore[arg-type]  # a file object will do
                input_names=["images"],
                output_names=[output],
                dynamic_axes={"images": axes, output: {0: axes[0]}},
                opset_version=opset,
                dynamo=False,
            )
    except Exception as error:  # the exporter raises its own and others' errors
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise InputError(f"torch can't export this backbone to ONNX: {reason}", "use torch") from error
    return buffer.getvalue()


def build(module: nn.Module, numerics: Numerics, input_shape: tuple[int, ...]) -> OnnxEngine:
    """Build the engine.

    Raises
    ------
    InputError
        If it can't run this backbone.
    """
    return OnnxEngine(module, numerics.threads, input_shape)
