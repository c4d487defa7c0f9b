"""What our own architectures share: timm's interface for a network that ends in average pooling and a linear head."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


class PooledNetwork(nn.Module):
    """A network with timm's interface (``forward_features``, ``forward_head``, ``reset_classifier``) and a head ``fc``.

    A subclass builds its layers, calls :meth:`add_head`, and implements :meth:`forward_features`.
    Its configuration is the class's, in timm's terms.
    """

    default_cfg: dict[str, Any]
    pretrained_cfg: dict[str, Any]
    num_classes: int
    num_features: int
    head_hidden_size: int
    fc: nn.Module

    def add_head(self, features: int, num_classes: int) -> None:
        """Add the head for ``features`` channels; 0 classes leave it out, so that the forward pass gives features."""
        self.num_features = self.head_hidden_size = features
        self.reset_classifier(num_classes)

    def get_classifier(self) -> nn.Module:
        """Return the head."""
        return self.fc

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the head by a new one (0 classes: by none)."""
        self.num_classes = num_classes
        self.fc = nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()

    def forward_features(self, x: Tensor) -> Tensor:
        """Map images ``(B, 3, H, W)`` to the last feature map ``(B, d, h, w)``."""
        raise NotImplementedError(f"{type(self).__name__} has no forward_features")

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Pool a feature map over space; then the head, unless ``pre_logits``."""
        x = x.mean((2, 3))
        return x if pre_logits else self.fc(x)

    def forward(self, x: Tensor) -> Tensor:
        """Map images to logits ``(B, num_classes)``, or to features ``(B, d)`` where there is no head."""
        return self.forward_head(self.forward_features(x))
