"""The format ``masks-beside``. Read by ``plain``, which sees what lies beside the weights."""

from ....extensions import CheckpointFormat

MASKS_BESIDE = CheckpointFormat(
    name="masks-beside",
    summary="a state dict with masks in a mapping, list or vector beside it",
    place=2002,
)
