"""The format ``sparseml``."""

from ....extensions import CheckpointFormat

SPARSEML = CheckpointFormat(
    name="sparseml",
    summary="SparseML's ResNet and MobileNetV1, as SparseZoo has them",
    fits="sparsebench.models.formats.sparseml_names:is_sparseml",
    convert="sparsebench.models.formats.sparseml_names:sparseml",
    place=45,
)
