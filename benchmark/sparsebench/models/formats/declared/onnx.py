"""The format ``onnx``."""

from ....extensions import CheckpointFormat

ONNX = CheckpointFormat(
    name="onnx",
    summary="ONNX files, as SparseZoo has them",
    opens="sparsebench.models.formats.onnx_file:opens",
    read="sparsebench.models.formats.onnx_file:read",
    modules=("onnx",),
    extra="onnx",
    place=2,
)
