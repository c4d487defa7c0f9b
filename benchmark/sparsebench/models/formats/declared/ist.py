"""The format ``ist``."""

from ....extensions import CheckpointFormat

IST = CheckpointFormat(
    name="ist",
    summary="layers wrapped with masks, as IST's repositories save them",
    fits="sparsebench.models.formats.masked:is_wrapped",
    convert="sparsebench.models.formats.masked:unwrap",
    place=10,
)
