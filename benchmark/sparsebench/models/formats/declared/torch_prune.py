"""The format ``torch-prune``."""

from ....extensions import CheckpointFormat

TORCH_PRUNE = CheckpointFormat(
    name="torch-prune",
    summary="weights and masks of torch.nn.utils.prune",
    fits="sparsebench.models.formats.masked:is_pruned",
    convert="sparsebench.models.formats.masked:unprune",
    place=11,
)
