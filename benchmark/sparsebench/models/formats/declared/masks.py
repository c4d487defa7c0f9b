"""The format ``masks``."""

from ....extensions import CheckpointFormat

MASKS = CheckpointFormat(
    name="masks",
    summary="masks alone, of a lottery ticket whose weights are another file's",
    fits="sparsebench.models.formats.masked:is_masks_alone",
    convert="sparsebench.models.formats.masked:masks_alone",
    place=12,
)
