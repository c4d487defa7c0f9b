"""The format ``optg``."""

from ....extensions import CheckpointFormat

OPTG = CheckpointFormat(
    name="optg",
    summary="OptG's scores of weights, ranked over all layers",
    fits="sparsebench.models.formats.global_scores:has_global_scores",
    convert="sparsebench.models.formats.global_scores:apply_global_scores",
    place=32,
)
