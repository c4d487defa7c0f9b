"""The format ``nm-dense``."""

from ....extensions import CheckpointFormat

NM_DENSE = CheckpointFormat(
    name="nm-dense",
    summary="dense weights from which an N:M mask follows; only where it is asked for",
    convert="sparsebench.models.formats.patterns:convert",
    place=50,
)
