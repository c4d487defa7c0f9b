"""The format ``hidden``."""

from ....extensions import CheckpointFormat

HIDDEN = CheckpointFormat(
    name="hidden",
    summary="hidden networks' scores of weights",
    fits="sparsebench.models.formats.scores:has_weight_scores",
    convert="sparsebench.models.formats.scores:convert",
    place=31,
)
