"""What a checkpoint becomes: a network with its masks, its preprocessing and what is known about it."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path

from torch import Tensor, nn

from ..schema import Checkpoint, Preprocess
from ..schema.text import printable
from .sparsity import SparsityReport


@dataclass(frozen=True)
class BackboneInfo:
    """What is known about a loaded backbone.

    ``weights_sha256`` and ``mask_sha256`` are content hashes of the backbone alone (without the head): whatever the
    file is called, equal backbones have equal hashes. ``head_sha256`` is the head's, None where there is none.
    ``mask_source`` is ``file`` (the file's own masks), ``zeros`` (where weights are zero), ``file+zeros`` (some
    layers have the one, some the other) or ``none`` (dense). ``files`` are all that were read: the checkpoint's
    own, first, and the one that it derives from or completes. ``packed_bytes`` is the backbone's size by
    :func:`sparsebench.models.sparsity.packed_bytes`. ``weights_taken`` names the set of weights where the file has
    several, and ``prefix_removed`` what was taken out of its tensors' names.
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
    head_sha256: str | None
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


@dataclass(frozen=True, repr=False)
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

    @property
    def has_head(self) -> bool:
        """Whether the module gives upstream logits instead of features."""
        try:
            return not isinstance(self.module.get_submodule(self.info.head_name), nn.Identity)
        except AttributeError:
            return False

    def facts(self) -> dict[str, str]:
        """Return what there is to know at a glance, as texts by name."""
        info, images = self.info, self.preprocess
        held = f"{info.sparsity.held:,} of them held at zero by {len(self.masks)} masks"
        count = sum(parameter.numel() for parameter in self.module.parameters())
        output = f"logits of {info.num_classes} classes" if self.has_head else f"{info.feature_dim} features"
        size = images.input_size
        return {
            "checkpoint": info.id,
            "architecture": info.arch,
            "output": f"{output} of images (B, 3, {size}, {size})",
            "parameters": f"{count:,}, {held}",
            "sparsity": f"{info.sparsity_measured:.4%} of {info.checkpoint.sparsity_scope}, mask: {info.mask_source}",
            "packed size": f"{info.packed_bytes:,} bytes",
            "input": f"{size} px, {images.interpolation}, short side {images.resize_size}",
            "normalisation": f"mean {images.mean}, std {images.std}",
            "file": f"{info.path} (format {info.format})",
            "weights": f"sha256 {info.weights_sha256[:16]}, mask {info.mask_sha256[:16]}",
        }

    def __repr__(self) -> str:
        """Return the facts, a line each; ``.module`` prints the network's layers."""
        facts = self.facts()
        width = max(map(len, facts))
        return "\n".join(["Backbone", *(f"  {name:{width}}  {printable(text)}" for name, text in facts.items())])

    def _repr_html_(self) -> str:
        """Return the facts as a table, for notebooks."""
        rows = (
            f'<tr><th style="text-align: left">{escape(name)}</th>'
            f'<td style="text-align: left">{escape(printable(text))}</td></tr>'
            for name, text in self.facts().items()
        )
        return f"<table>{''.join(rows)}</table>"
