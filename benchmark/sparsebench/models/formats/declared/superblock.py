"""The format ``superblock``."""

from ....extensions import CheckpointFormat

SUPERBLOCK = CheckpointFormat(
    name="superblock",
    summary="SuperBlock's scores of tiles",
    fits="sparsebench.models.formats.scores:has_tile_scores",
    convert="sparsebench.models.formats.scores:convert",
    place=30,
)
