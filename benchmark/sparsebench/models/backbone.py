"""What a checkpoint becomes: a network with its masks, its preprocessing and what is known about it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from ..schema import Checkpoint, Preprocess
from .sparsity import SparsityReport


@dataclass(frozen=True)
class BackboneInfo:
    """What is known about a loaded backbone.

    ``weights_sha256`` and ``mask_sha256`` are content hashes of the backbone alone (without the head): whatever the
    file is called, equal backbones have equal hashes. ``mask_source`` is ``file`` (the file's own masks), ``zeros``
    (where weights are zero), ``file+zeros`` (some layers have the one, some the other) or ``none`` (dense).
    ``files`` are all that were read: the checkpoint's own, first, and the one that it derives from or completes.
    ``packed_bytes`` is the backbone's size by :func:`sparsebench.models.sparsity.packed_bytes`. ``weights_taken`` names
    the set of weights where the file has several, and ``prefix_removed`` what was taken out of its tensors' names.
    """

    checkpoint: Checkpoint
    arch: str
    path: Path
    format: str
    mask_source: str
    feature_dim: int
    head_name: str
    num_classes: int | None
    used_keys: int
    unused_keys: tuple[str, ...]
    weights_sha256: str
    mask_sha256: str
    sparsity: SparsityReport
    packed_bytes: int
    files: tuple[Path, ...]
    weights_taken: str | None = None
    prefix_removed: str | None = None

    @property
    def id(self) -> str:
        """The checkpoint's id."""
        return self.checkpoint.id

    @property
    def sparsity_measured(self) -> float:
        """Sparsity that the masks hold, under the checkpoint's own scope."""
        return self.sparsity.scope(self.checkpoint.sparsity_scope)


@dataclass(frozen=True)
class Backbone:
    """A network ready for use.

    Parameters
    ----------
    module : nn.Module
        In eval mode on the CPU; maps ``(B, 3, H, W)`` to features ``(B, d)``, or to upstream logits with its head.
    masks : dict of str to Tensor
        Parameter name of ``module`` to bool mask, True = kept; what is not pruned has no entry.
    preprocess : Preprocess
        How images become its input.
    info : BackboneInfo
        Where it comes from and what was measured on it.
    """

    module: nn.Module
    masks: dict[str, Tensor]
    preprocess: Preprocess
    info: BackboneInfo
