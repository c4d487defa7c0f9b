"""The format ``plain``."""

from ....extensions import CheckpointFormat

PLAIN = CheckpointFormat(
    name="plain",
    summary="a state dict: .pth files of torch.save, or safetensors",
    opens="sparsebench.models.formats.heads:is_plain",
    read="sparsebench.models.formats.plain:read",
    place=2001,  # after those of other packages, whose files may look like its own
)
