"""The format ``bimask``."""

from ....extensions import CheckpointFormat

BIMASK = CheckpointFormat(
    name="bimask",
    summary="dense weights from which Bi-Mask's N:M mask follows; only where it is asked for",
    convert="sparsebench.models.formats.patterns:convert_bimask",
    place=51,
)
