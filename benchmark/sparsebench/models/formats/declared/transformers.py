"""The format ``transformers``."""

from ....extensions import CheckpointFormat

TRANSFORMERS = CheckpointFormat(
    name="transformers",
    summary="ResNet and ViT under the names of Hugging Face's transformers",
    fits="sparsebench.models.formats.transformers_names:is_transformers",
    convert="sparsebench.models.formats.transformers_names:transformers",
    place=9,  # before masks alone, which may have these names
)
