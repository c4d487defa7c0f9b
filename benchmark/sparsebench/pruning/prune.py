"""Make a sparse checkpoint: from a recipe and data to a file, its log and, where the method has one, its dense twin."""

from __future__ import annotations

import csv
import io
import json
import pickle
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .. import backbones
from ..files import sha256_file, write_bytes, write_text
from ..formats import read_checkpoint, sparse_file
from ..loading import mismatch
from ..schema import CheckpointError, InputError
from .acdc import ACDC
from .base import PruningMethod
from .methods import get_method
from .trainer import LOG_COLUMNS, Hardware, Recipe, Trainer, evaluate
from .upstream import Normalise, UpstreamData

Report = Callable[[str, dict[str, Any]], None]


@dataclass(frozen=True)
class Pruned:
    """What :func:`prune` left: the files and the accuracies (fractions) of what is stored in them."""

    path: Path
    log: Path
    top1: float
    twin: Path | None = None
    twin_top1: float | None = None


def prune(
    recipe: Recipe,
    data: UpstreamData,
    out: Path,
    *,
    init: Path | None = None,
    command: str = "",
    hardware: Hardware | None = None,
    report: Report | None = None,
) -> Pruned:
    """Train and prune a backbone upstream, and write its checkpoint.

    The state is kept in ``<out>.resume`` after every epoch; the same call goes on from there and removes it at the end.

    Parameters
    ----------
    recipe : Recipe
        Method, sparsity, architecture and hyperparameters.
    data : UpstreamData
        What to train on.
    out : Path
        The checkpoint, a ``.safetensors`` file; its log is written beside it, as ``.log.csv``.
    init : Path, optional
        Checkpoint of trained dense weights, for methods that start from them.
    command : str
        The command line that does this, recorded in the file.
    hardware : Hardware, optional
        Where to train.
    report : callable, optional
        ``report("step", {...})`` and ``report("epoch", {...})`` as the training goes on.

    Raises
    ------
    InputError
        If the arguments don't fit each other, or differ from those of the training to resume.
    RunError
        If the loss is no longer a number.
    """
    method_class = get_method(recipe.method)
    if method_class.from_dense and init is None:
        raise InputError(f"method {recipe.method} starts from trained dense weights", "give them with --init")
    architecture = backbones.find(recipe.arch)[0]
    preprocess = backbones.preprocess_of(architecture)
    normalise = Normalise(preprocess.mean, preprocess.std)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        model = backbones.build(architecture, len(data.classes))
    if init is not None:
        _load_init(model, init)
    method = method_class(recipe.sparsity, recipe.distribution)
    trainer = Trainer(model, method, recipe, data, normalise, hardware)
    resume = out.with_suffix(".resume")
    _resume(trainer, resume)

    def step(done: int, total: int) -> None:
        if report is not None:
            report("step", {"done": done, "total": total})

    while trainer.epoch < recipe.epochs:
        line = trainer.run_epoch(step)
        _save_state(trainer, resume)
        if report is not None:
            report("epoch", line)
    trainer.finish()
    write_text(out.with_suffix(".log.csv"), _log_csv(trainer.log))
    describe = _Describer(recipe, data, preprocess.model_dump(mode="json"), command)
    top1 = _write_checkpoint(trainer, out, trainer.model.state_dict(), trainer.state.masks, describe)
    result = Pruned(out, out.with_suffix(".log.csv"), top1)
    if isinstance(method, ACDC) and method.twin is not None:
        twin = out.with_name(f"{out.stem}_dense{out.suffix}")
        result = Pruned(out, result.log, top1, twin, _write_checkpoint(trainer, twin, method.twin, {}, describe))
    resume.unlink(missing_ok=True)
    return result


def _load_init(model: nn.Module, path: Path) -> None:
    """Load trained dense weights of the same architecture and classes."""
    state = read_checkpoint(path).state
    problem = mismatch(model, state)
    if problem is not None:
        hint = "it must have the same architecture and number of classes"
        raise CheckpointError(f"--init {path} doesn't fit: {problem.text}", hint)
    model.load_state_dict(state, strict=False)


def _save_state(trainer: Trainer, path: Path) -> None:
    buffer = io.BytesIO()
    torch.save({"recipe": asdict(trainer.recipe), **trainer.state_dict()}, buffer)
    write_bytes(path, buffer.getvalue())


def _resume(trainer: Trainer, path: Path) -> None:
    if not path.exists():
        return
    try:
        saved = torch.load(path, map_location=trainer.device, weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{path} can't be resumed from: {error}", "delete it to start again") from error
    before, now = saved.pop("recipe"), asdict(trainer.recipe)
    differ = sorted(key for key in now if before.get(key) != now[key])
    if differ:
        shown = ", ".join(f"{key} was {before.get(key)!r}, is {now[key]!r}" for key in differ)
        raise InputError(f"{path} belongs to a training with other arguments: {shown}", "give the same, or delete it")
    trainer.load_state_dict(saved)


def _log_csv(log: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, LOG_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(log)
    return text.getvalue()


class _Describer:
    """Says what a checkpoint file is, in its own metadata."""

    def __init__(self, recipe: Recipe, data: UpstreamData, preprocess: dict[str, Any], command: str) -> None:
        self.recipe, self.data, self.preprocess, self.command = recipe, data, preprocess, command

    def __call__(self, *, twin: bool, top1: float | None) -> dict[str, Any]:
        recipe = self.recipe
        return {
            "arch": recipe.arch,
            "method": "dense" if twin else recipe.method,
            "sparsity": 0.0 if twin else recipe.sparsity,
            "sparsity_scope": "prunable",
            "distribution": "dense" if twin or recipe.sparsity == 0 else recipe.distribution,
            "exempt": list(recipe.exempt),
            "classes": list(self.data.classes),
            "preprocess": self.preprocess,
            "upstream": {"dataset": self.data.name, "top1": top1},
            "recipe": asdict(recipe),
            "command": self.command,
        }


def _write_checkpoint(
    trainer: Trainer, path: Path, state: dict[str, Tensor], masks: dict[str, Tensor], describe: _Describer
) -> float:
    """Write a checkpoint; the accuracy it records is that of the weights as they are read back."""
    twin = state is not None and masks == {} and trainer.state.masks != {}
    sparse_file.write(path, state, masks, describe(twin=twin, top1=None))
    trainer.model.load_state_dict(sparse_file.read(path).state)
    top1 = evaluate(trainer.model, trainer.data, trainer.normalise, trainer.device)
    sparse_file.write(path, state, masks, describe(twin=twin, top1=top1))
    return top1


def default_exempt(arch: str, classes: int) -> tuple[str, ...]:
    """Return the layers that methods leave dense unless told otherwise: the stem and the head."""
    architecture = backbones.find(arch)[0]
    model = backbones.build(architecture, classes)
    stem = next(name for name, layer in model.named_modules() if isinstance(layer, nn.Conv2d))
    return stem, backbones.head_name(model, architecture)


def make_recipe(
    method: str, sparsity: float, data: UpstreamData, *, init: Path | None = None, **choices: Any
) -> Recipe:
    """Return a method's recipe with its own defaults for what ``choices`` leaves out (None counts as left out)."""
    method_class: type[PruningMethod] = get_method(method)
    given = {key: value for key, value in choices.items() if value is not None}
    arch = given.pop("arch", "mini")
    given.setdefault("lr", method_class.peak_lr)
    given.setdefault("epochs", method_class.epochs)
    given.setdefault("exempt", default_exempt(arch, len(data.classes)))
    return Recipe(
        method=method,
        sparsity=sparsity,
        arch=arch,
        init_sha256=None if init is None else sha256_file(init),
        data=json.dumps([data.name, len(data.train_labels), len(data.val_labels), len(data.classes)]),
        **given,
    )
