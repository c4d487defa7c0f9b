"""The format ``sparse``."""

from ....extensions import CheckpointFormat

SPARSE = CheckpointFormat(
    name="sparse",
    summary="sparsebench's own: safetensors with pruned weights stored sparse",
    opens="sparsebench.models.formats.sparse_file:opens",
    read="sparsebench.models.formats.sparse_file:read",
    place=1,
)
