"""Somebody else's runtime, dense."""

from ...extensions import Engine

ONNXRUNTIME = Engine(
    name="onnxruntime",
    summary="onnxruntime on the CPU, dense",
    build="sparsebench.engines.onnx:build",
    modules=("onnxruntime", "onnx"),
    extra="onnxruntime",
    packages=("onnxruntime", "onnx"),
    place=3,
)
