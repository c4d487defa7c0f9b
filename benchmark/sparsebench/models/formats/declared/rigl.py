"""The format ``rigl``."""

from ....extensions import CheckpointFormat

RIGL = CheckpointFormat(
    name="rigl",
    summary="RigL's ResNet-50, converted from TensorFlow",
    fits="sparsebench.models.formats.layouts:is_rigl",
    convert="sparsebench.models.formats.layouts:rigl",
    place=40,
)
