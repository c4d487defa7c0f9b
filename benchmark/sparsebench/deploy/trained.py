"""The network that a run trained: its backbone and its head, put together again from what the run kept."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from ..models import backbones, masks
from ..models.backbone import Backbone
from ..models.loading import load_entry
from ..runs.kept import read_kept
from ..schema import Checkpoint, CheckpointError, InputError, ResultsError, RunRecord

_AGAIN = "run its cell again with --overwrite always"


@dataclass(frozen=True)
class Trained:
    """A network with its head.

    Parameters
    ----------
    backbone : Backbone
        As the run left it: finetuned in full mode.
    weight, bias : Tensor, shapes (C, d) and (C,)
        The head.
    classes : tuple of str
        The classes' names.
    """

    backbone: Backbone
    weight: Tensor
    bias: Tensor
    classes: tuple[str, ...]

    def whole(self) -> nn.Module:
        """Return one module from images to logits, of the architecture itself, its head in place.

        Raises
        ------
        InputError
            If the architecture's own head isn't one linear layer on the features.
        """
        info = self.backbone.info
        (arch, *_) = backbones.find(info.arch)
        model = backbones.build(arch, len(self.classes)).eval()
        state = {**model.state_dict(), **self.backbone.module.state_dict()}
        for name in backbones.head_names(model, arch):
            for leaf, value in (("weight", self.weight), ("bias", self.bias)):
                own = state.get(f"{name}.{leaf}")
                if own is None or own.numel() != value.numel():
                    raise InputError(
                        f"the head of {info.arch} is no linear layer on {info.feature_dim} features",
                        "use the kept head: heads/ of the results folder",
                    )
                state[f"{name}.{leaf}"] = value.reshape(own.shape)
        model.load_state_dict(state)
        self._check(model)
        return model

    @torch.inference_mode()
    def _check(self, model: nn.Module) -> None:
        """Raise unless the network in one piece gives the logits of backbone and head."""
        size = self.backbone.preprocess.input_size
        images = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
        apart = torch.nn.functional.linear(self.backbone.module(images), self.weight, self.bias)
        if not torch.allclose(model(images), apart, rtol=1e-3, atol=1e-4):
            raise InputError(
                f"{self.backbone.info.arch} does more to its features than its head",
                "use the kept head: heads/ of the results folder",
            )


def trained_network(record: RunRecord, root: Path, entries: Iterable[Checkpoint]) -> Trained:
    """Put a run's network together.

    Parameters
    ----------
    record : RunRecord
        The finished run.
    root : Path
        The results folder.
    entries : iterable of Checkpoint
        What its checkpoint may be; the first one with the run's hashes counts.

    Raises
    ------
    InputError
        If the run has no head to export, or hasn't kept its weights; the hint says how it would have.
    CheckpointError
        If its checkpoint isn't here any more.
    ResultsError
        If what it kept is damaged.
    """
    path = kept_file(record, root)
    backbone = _backbone_of(record, entries)
    tensors, said = read_kept(path, record)
    weight: Tensor | None
    bias: Tensor | None
    if record.spec.mode == "full":
        backbone, weight, bias = _finetuned(backbone, tensors, path)
    else:
        weight, bias = tensors.get("weight"), tensors.get("bias")
    classes = tuple(str(name) for name in said.get("classes", ()))
    shapes = (len(classes), backbone.info.feature_dim), (len(classes),)
    if weight is None or bias is None or (tuple(weight.shape), tuple(bias.shape)) != shapes:
        raise ResultsError(f"{str(path)!r} is no head of {shapes[0]} weights", _AGAIN)
    return Trained(backbone, weight.float(), bias.float(), classes)


def kept_file(record: RunRecord, root: Path) -> Path:
    """Return the file in which a run kept its head or network.

    Raises
    ------
    InputError
        If there is none; the hint says how to keep it.
    """
    spec = record.spec
    if spec.mode == "upstream":
        raise InputError(
            f"the run {record.record_key} trained nothing: it tests the checkpoint's own head",
            "export a run in mode linear or full",
        )
    full = spec.mode == "full"
    file = record.weights_file if full else record.head_file
    if file is None and not full and spec.probe not in ("sgd", "lbfgs", "ridge"):
        raise InputError(
            f"the run {record.record_key} has no head: the probe {spec.probe} keeps no linear one",
            "export a run with --probe sgd, lbfgs or ridge",
        )
    path = root / (file or "")
    if file is None or not path.is_file():
        what, how = ("weights", "--save-weights") if full else ("head", "no --no-heads, and --overwrite always")
        cell = f"--checkpoint {spec.checkpoint} --task {spec.task} --mode {spec.mode} --seed {spec.seed}"
        raise InputError(
            f"the run {record.record_key} kept no {what}",
            f"run it again: sparsebench run {cell} --results {root} with {how}",
        )
    if not path.resolve().is_relative_to(root.resolve()):
        raise ResultsError(f"the run {record.record_key} names a file outside of its folder: {file!r}")
    return path


def _backbone_of(record: RunRecord, entries: Iterable[Checkpoint]) -> Backbone:
    spec, reason = record.spec, f"the checkpoint {record.spec.checkpoint} of the run is not registered"
    for entry in entries:
        try:
            backbone = load_entry(entry)
        except CheckpointError as error:
            reason = error.line
            continue
        if (backbone.info.weights_sha256, backbone.info.mask_sha256) == (spec.weights_sha256, spec.mask_sha256):
            return backbone
        reason = f"{entry.id} isn't the network of the run any more"
    raise CheckpointError(reason, "give the registry file that it is in: --registry")


def _finetuned(backbone: Backbone, tensors: dict[str, Tensor], path: Path) -> tuple[Backbone, Tensor, Tensor]:
    """Return the backbone with finetuned weights, its masks proved, and the head."""
    name = backbone.info.head_name
    weight, bias = tensors.pop(f"{name}.weight", None), tensors.pop(f"{name}.bias", None)
    try:
        backbone.module.load_state_dict(tensors)
    except RuntimeError as error:
        raise ResultsError(f"{str(path)!r} doesn't fit {backbone.info.arch}: {error}", _AGAIN) from error
    masks.prove(backbone.module, backbone.masks)
    if weight is None or bias is None:
        raise ResultsError(f"{str(path)!r} has no head {name!r}", _AGAIN)
    return replace(backbone), weight, bias
