"""The format ``rigl-tf``."""

from ....extensions import CheckpointFormat

RIGL_TF = CheckpointFormat(
    name="rigl-tf",
    summary="RigL's TensorFlow checkpoints",
    opens="sparsebench.models.formats.heads:is_tensorflow",
    read="sparsebench.models.formats.rigl_tensorflow:read",
    modules=("google_crc32c",),
    extra="rigl",
    place=2000,  # after those of other packages, whose files may look like its own
)
