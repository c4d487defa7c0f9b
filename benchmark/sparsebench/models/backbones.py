"""Architectures by name: built by timm, by torchvision or here, features and head apart, with their preprocessing.

timm and torchvision take longer to import than torch, and are imported when a name may be theirs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from types import SimpleNamespace
from typing import Any, cast

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from ..schema import CheckpointError, Interpolation, Preprocess, UnknownNameError
from .architectures import OWN, STANDALONE
from .architectures.pooled import PooledNetwork

__all__ = [
    "Architecture",
    "build",
    "feature_dim",
    "find",
    "head_name",
    "head_names",
    "is_known",
    "known",
    "preprocess_of",
    "remove_head",
    "skip_init",
]

LIBRARIES = ("timm", "torchvision")


@dataclass(frozen=True)
class Architecture:
    """A name that a library builds: ``library`` is ``timm`` or ``torchvision``, ``name`` may carry a timm tag.

    Our own architectures count as timm's.
    """

    library: str
    name: str

    def __str__(self) -> str:
        return self.name if self.library == "timm" else f"torchvision/{self.name}"


def _timm() -> Any:
    """Return timm, with our own architectures registered."""
    import timm

    from .architectures import registration  # noqa: F401 - importing it registers them

    return timm


def _torchvision_names() -> list[str]:
    """Return the names of torchvision's classifiers."""
    from torchvision import models

    return models.list_models(models)


def _is_standalone(arch: Architecture) -> bool:
    """Return whether an architecture is built here, without timm."""
    return arch.library == "timm" and arch.name in STANDALONE


def known() -> list[str]:
    """Return the names of all architectures, torchvision's under their own names."""
    return sorted({*_timm().list_models(), *_torchvision_names()})


def find(arch: str) -> list[Architecture]:
    """Return the architectures a name can mean, timm's first.

    ``resnet18`` exists in both libraries; ``timm/resnet18`` or ``torchvision/resnet18`` mean one of them.

    Raises
    ------
    UnknownNameError
        If neither library has it.
    """
    library, _, name = arch.rpartition("/")
    if library in ("", "timm") and name in STANDALONE:
        return [Architecture("timm", name)]
    found = []
    if library in ("", "timm") and _timm().is_model(name) and _has_tag(name):
        found.append(Architecture("timm", name))
    if library in ("", "torchvision") and name in _torchvision_names():
        found.append(Architecture("torchvision", name))
    if not found:
        raise UnknownNameError("architecture", arch, known())
    return found


def _has_tag(name: str) -> bool:
    """Return whether timm knows the tag of a name, if it has one."""
    try:
        _timm().get_pretrained_cfg(name)
    except RuntimeError:
        return False
    return True


def is_known(arch: str) -> bool:
    """Return whether a library has an architecture of this name."""
    try:
        return bool(find(arch))
    except UnknownNameError:
        return False


_RANDOM = frozenset(
    {torch.Tensor.uniform_, torch.Tensor.normal_, torch.nn.init.trunc_normal_, torch.nn.init.kaiming_normal_}
    | {torch.nn.init.kaiming_uniform_, torch.nn.init.normal_, torch.nn.init.uniform_, torch.nn.init.xavier_uniform_}
)


class skip_init(TorchFunctionMode):  # noqa: N801 - called like a function, as torch's own is
    """Within it, networks are built without drawing weights: theirs are to be loaded. It saves most of the time.

    What isn't random (zeros, ones, tables of positions) is set as always.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Leave a tensor as it is where it would be filled at random."""
        given = kwargs or {}
        filled = args[0] if args else given.get("tensor")  # torch.nn.init passes it on by its name
        return filled if func in _RANDOM and filled is not None else func(*args, **given)


def build(arch: Architecture, num_classes: int) -> nn.Module:
    """Build an architecture without weights from anywhere; 0 classes leave the head out.

    The initialisation draws from torch's global generator, except within :class:`skip_init`.
    """
    if _is_standalone(arch):
        return STANDALONE[arch.name](num_classes)
    model: nn.Module
    if arch.library == "timm":
        model = _timm().create_model(arch.name, pretrained=False, num_classes=num_classes)
        return model
    from torchvision.models import get_model

    model = get_model(arch.name, weights=None, num_classes=num_classes or 1000)
    if num_classes == 0:
        remove_head(model, arch)
    return model


def head_name(model: nn.Module, arch: Architecture) -> str:
    """Return the name of the layer that turns features into logits (``fc``, ``classifier``, ``heads.head``).

    Raises
    ------
    CheckpointError
        If there is none, or several.
    """
    names = head_names(model, arch)
    if len(names) > 1:
        raise CheckpointError(
            f"architecture {arch} has {len(names)} classifiers, not one", "choose another architecture"
        )
    return names[0]


def head_names(model: nn.Module, arch: Architecture) -> tuple[str, ...]:
    """Return the names of the layers that turn features into logits: distilled networks have two, most one.

    Raises
    ------
    CheckpointError
        If there is none.
    """
    if arch.library == "timm":
        config: Any = model.default_cfg
        names = config.get("classifier")
        if not names:
            raise CheckpointError(f"architecture {arch} has no classifier layer", "choose another architecture")
        return (names,) if isinstance(names, str) else tuple(names)
    linear = [name for name, layer in model.named_modules() if isinstance(layer, nn.Linear)]
    if not linear:
        raise CheckpointError(f"architecture {arch} has no linear classifier", "choose another architecture")
    return (linear[-1],)


def remove_head(model: nn.Module, arch: Architecture) -> None:
    """Make ``model`` give features ``(B, d)`` instead of logits, in place."""
    if arch.library == "timm":
        reset: Any = model.reset_classifier
        reset(0)
        return
    for name in head_names(model, arch):
        parent, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(parent), leaf, nn.Identity())


def preprocess_of(arch: Architecture) -> Preprocess:
    """Return an architecture's own preprocessing, for a file that doesn't say.

    A name with a timm tag (``resnet18.a1_in1k``), or one of our own architectures, has exactly its configuration's.
    Without a tag, size, mean and standard deviation are the architecture's, resizing is the transfer literature's
    (bilinear, 256 for a crop of 224), except for backbones made for small images, whose whole image is used.
    """
    if arch.library == "torchvision":
        return Preprocess()
    if _is_standalone(arch):
        config: Any = SimpleNamespace(**STANDALONE[arch.name].default_cfg)
    else:
        config = _timm().get_pretrained_cfg(arch.name, allow_unregistered=True)
    if config is None:
        return Preprocess()
    tagged = "." in arch.name or arch.name in OWN
    crop = config.crop_pct if tagged or config.crop_pct == 1.0 else 0.875
    interpolation = config.interpolation if tagged else "bilinear"
    if interpolation not in ("bilinear", "bicubic", "nearest"):
        interpolation = "bicubic"
    return Preprocess(
        input_size=config.input_size[-1],
        mean=tuple(config.mean),
        std=tuple(config.std),
        interpolation=cast(Interpolation, interpolation),
        crop_pct=crop,
    )


@lru_cache(maxsize=64)
def feature_dim(arch: Architecture, size: int) -> int:
    """Return the number of features ``d`` that an architecture gives without its head.

    It is computed without memory for weights or images: a file from elsewhere may ask for any size.

    Parameters
    ----------
    arch : Architecture
        The architecture.
    size : int
        Height and width of its input, in pixels.

    Raises
    ------
    CheckpointError
        If it doesn't take images of this size, or its output is not one vector per image.
    """
    with torch.random.fork_rng(devices=[]), torch.device("meta"), skip_init():
        model = build(arch, 2)
    if isinstance(model, PooledNetwork):  # takes any size
        return model.num_features
    remove_head(model, arch)
    model.eval()
    try:
        with torch.inference_mode(), torch.device("meta"):
            output = model(torch.zeros(1, 3, size, size))
    except Exception as error:  # an architecture may refuse a size in any way
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise CheckpointError(
            f"architecture {arch} takes no images of {size} pixels: {reason}", "correct input_size in its preprocess"
        ) from error
    if not isinstance(output, torch.Tensor) or output.ndim != 2:
        shape = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
        raise CheckpointError(f"the backbone gives {shape} for one image, not a feature vector", "choose another arch")
    return int(output.shape[1])
