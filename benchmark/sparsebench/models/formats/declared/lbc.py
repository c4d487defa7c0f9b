"""The format ``lbc``."""

from ....extensions import CheckpointFormat

LBC = CheckpointFormat(
    name="lbc",
    summary="LBC's choice among the combinations of an N:M pattern",
    fits="sparsebench.models.formats.combinations:has_combinations",
    convert="sparsebench.models.formats.combinations:apply_combinations",
    place=33,
)
