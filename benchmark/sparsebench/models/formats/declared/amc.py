"""The format ``amc``."""

from ....extensions import CheckpointFormat

AMC = CheckpointFormat(
    name="amc",
    summary="AMC's MobileNetV1",
    fits="sparsebench.models.formats.layouts:is_amc",
    convert="sparsebench.models.formats.layouts:amc",
    place=41,
)
