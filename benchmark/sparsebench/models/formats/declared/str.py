"""The format ``str``."""

from ....extensions import CheckpointFormat

STR = CheckpointFormat(
    name="str",
    summary="STR's raw weights and learned thresholds",
    fits="sparsebench.models.formats.thresholds:has_thresholds",
    convert="sparsebench.models.formats.thresholds:apply_thresholds",
    place=20,
)
