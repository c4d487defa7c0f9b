"""Make sparse checkpoints: from a recipe and data to the files of a training and its log."""

from __future__ import annotations

import csv
import io
import json
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..common.files import write_bytes, write_text
from ..models import backbones
from ..models.formats import sparse_file
from ..models.masks import prunable
from ..schema import CheckpointError, InputError, Preprocess, RunError
from .base import PruningMethod
from .initial import Initial
from .methods import get_method
from .relabel import RELABEL_COLUMNS, relabel
from .state import Result
from .trainer import LOG_COLUMNS, Hardware, Recipe, Trainer
from .training import End, Training
from .upstream import Normalise, UpstreamData

Report = Callable[[str, dict[str, Any]], None]


@dataclass(frozen=True)
class Made:
    """A checkpoint file, its nominal sparsity, and the upstream top-1 (a fraction) of what is stored in it.

    A method without a target has the sparsity that came out.

    There is no top-1 where the data only calibrated: they aren't of the network's classes.
    """

    path: Path
    sparsity: float
    top1: float | None


@dataclass(frozen=True)
class Pruned:
    """What :func:`prune` left: the training's log, and its checkpoints."""

    log: Path
    made: tuple[Made, ...]


def prune(
    recipe: Recipe,
    data: UpstreamData,
    out: Path,
    *,
    method: type[PruningMethod] | None = None,
    init: Initial | None = None,
    command: str = "",
    hardware: Hardware | None = None,
    report: Report | None = None,
) -> Pruned:
    """Train and prune a backbone upstream, and write its checkpoints (see :func:`output_paths`).

    The state is kept in ``<out>.resume`` after every epoch; the same call goes on from there and removes it at the end.

    Parameters
    ----------
    recipe : Recipe
        Method, sparsities, architecture and hyperparameters.
    data : UpstreamData
        What to train on.
    out : Path
        The checkpoint, a ``.safetensors`` file; the log is written beside it, as ``.log.csv``.
    method : type of PruningMethod, optional
        The recipe's method, where it isn't one of the known ones.
    init : Initial, optional
        Trained dense weights, for methods that start from them. For a method without training its head may have other
        classes than the data, which then only calibrate batch norm.
    command : str
        The command line that does this, recorded in the file.
    hardware : Hardware, optional
        Where to train.
    report : callable, optional
        ``report("step", {...})`` and ``report("epoch", {...})`` as the training goes on.

    Raises
    ------
    InputError
        If the arguments don't fit each other, or differ from those of the training to resume, or a file is in the way.
    RunError
        If the loss is no longer a number, or the training was too short to prune.
    """
    method_class = method or get_method(recipe.method)
    if method_class.start == "dense" and init is None:
        raise InputError(f"method {recipe.method} starts from trained dense weights", "give them with --init")
    check_epochs(method_class, recipe.epochs)
    if recipe.relabel:
        if not method_class.trains():
            raise InputError(f"method {recipe.method} doesn't train", "leave --relabel out")
        data = relabel(data, recipe.relabel, recipe.seed)
    paths = output_paths(out, method_class, recipe.sparsities)
    check_free(out, paths)
    architecture = backbones.find(recipe.arch)[0]
    preprocess = preprocess_of(init, architecture)
    normalise = Normalise(preprocess.mean, preprocess.std)
    classes = init.head_classes(architecture) if init and not method_class.trains() else len(data.classes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        model = backbones.build(architecture, classes)
    if init is not None:
        init.load_into(model)
    labelled = classes == len(data.classes)
    nominal = {_over_prunable(sparsity, recipe, model): sparsity for sparsity in recipe.sparsities}
    chosen = method_class(max(nominal), recipe.distribution, recipe.nm, tuple(nominal), **recipe.settings)
    trainer = Trainer(model, chosen, recipe, data, normalise, hardware)
    resume = resume_path(out)
    _resume(trainer, resume)

    def step(done: int, total: int) -> None:
        if report is not None:
            report("step", {"done": done, "total": total})

    made = []
    try:
        while trainer.epoch < recipe.epochs:
            line = trainer.run_epoch(step)
            _save_state(trainer, resume)
            if report is not None:
                report("epoch", line)
        for result in trainer.results():
            sparsity = nominal.get(result.sparsity, 0.0)
            names = data.classes if labelled else None
            meta = _describe(recipe, sparsity, names, preprocess.model_dump(mode="json"), command)
            if not result.exact:
                meta["sparsity"] = _measured(result, recipe, model)
            if init is not None and init.reference is not None and sparsity > 0:
                meta["reference"] = init.reference
            top1 = _write_checkpoint(trainer, paths[sparsity], result, meta, labelled)
            made.append(Made(paths[sparsity], meta["sparsity"], top1))
    except RunError as error:
        if not resume.exists():
            raise
        hint = f"{error.hint}; {resume} keeps the last good state: delete it to start again with other arguments"
        raise RunError(error.message, hint) from error
    log = out.with_suffix(".log.csv")
    write_text(log, _log_csv(trainer.log))
    resume.unlink(missing_ok=True)
    return Pruned(log, tuple(sorted(made, key=lambda m: m.sparsity)))


def output_paths(out: Path, method: type[PruningMethod], sparsities: Sequence[float]) -> dict[float, Path]:
    """Return the checkpoint files of a training, by nominal sparsity.

    The only sparsity's is ``out`` itself; of several, each adds its own (``mini.lth.safetensors`` gives
    ``mini.lth_s80.safetensors``, ...). A dense network beside them adds ``_dense``.
    """

    def path(suffix: str) -> Path:
        return out.with_name(f"{out.stem}{suffix}{out.suffix}")

    paths = {s: path(f"_s{100 * s:g}".replace(".", "")) for s in sparsities} if len(sparsities) > 1 else {}
    if len(set(paths.values())) < len(paths):
        raise InputError("two of the sparsities would have the same file name", "make their checkpoints one by one")
    if not paths:
        paths[sparsities[0]] = out
    if method.dense_network:
        paths[0.0] = path("_dense")
    return paths


def resume_path(out: Path) -> Path:
    """Return the file that keeps a training's state."""
    return out.with_suffix(".resume")


def check_free(out: Path, paths: Mapping[float, Path]) -> None:
    """Raise :class:`InputError` if a checkpoint is there already, unless an unfinished training left it."""
    there = [path for path in paths.values() if path.exists()]
    if there and not resume_path(out).exists():
        raise InputError(f"--out {there[0]} is already there", "choose another file, or delete it first")


def check_epochs(method: type[PruningMethod], epochs: int) -> None:
    """Raise :class:`InputError` if a method can't train that long."""
    if not method.trains() and epochs != 0:
        raise InputError(f"method {method.name} doesn't train", "leave --epochs out")
    if method.trains() and epochs < 1:
        raise InputError(f"--epochs {epochs} is not a training", "train for at least one epoch")


def _over_prunable(sparsity: float, recipe: Recipe, model: nn.Module) -> float:
    """Return a nominal sparsity as a fraction of the prunable weights.

    Raises
    ------
    InputError
        If these are too few for it.
    """
    if recipe.scope == "prunable" or sparsity == 0:
        return sparsity
    zeros = sparsity * sum(p.numel() for p in model.parameters())
    weights = sum(w.numel() for w in prunable(model, recipe.exempt).values())
    if zeros >= weights:
        raise InputError(
            f"sparsity {sparsity:g} of all parameters is impossible: {weights:,} weights can be pruned,"
            f" {zeros:,.0f} would have to be",
            "give a lower one, or exempt fewer layers",
        )
    return zeros / weights


def _measured(result: Result, recipe: Recipe, model: nn.Module) -> float:
    """Return a result's own sparsity, to four digits, as a fraction of what the recipe's scope says."""
    pruned = sum(int((~mask).sum()) for mask in result.masks.values())
    weights = prunable(model, recipe.exempt).values() if recipe.scope == "prunable" else model.parameters()
    return round(pruned / sum(w.numel() for w in weights), 4)


def preprocess_of(init: Initial | None, architecture: backbones.Architecture) -> Preprocess:
    """Return the preprocessing of a training: that of the weights it starts from, else the architecture's."""
    own = None if init is None else init.preprocess
    return own or backbones.preprocess_of(architecture)


def _save_state(trainer: Trainer, path: Path) -> None:
    buffer = io.BytesIO()
    torch.save({"recipe": asdict(trainer.recipe), **trainer.state_dict()}, buffer)
    write_bytes(path, buffer.getvalue())


def _resume(trainer: Trainer, path: Path) -> None:
    if not path.exists():
        return
    try:
        saved = torch.load(path, map_location=trainer.device, weights_only=True)
        before, now = {"relabel": 0} | dict(saved.pop("recipe")), asdict(trainer.recipe)
    except _DAMAGED as error:
        raise _cannot_resume(path, error) from error
    differ = sorted(key for key in now if before.get(key) != now[key])
    if differ:
        shown = ", ".join(f"{key} was {before.get(key)!r}, is {now[key]!r}" for key in differ)
        raise InputError(f"{path} belongs to a training with other arguments: {shown}", "give the same, or delete it")
    try:
        trainer.load_state_dict(saved)
    except _DAMAGED as error:
        raise _cannot_resume(path, error) from error


_DAMAGED = (RuntimeError, EOFError, pickle.UnpicklingError, KeyError, TypeError, ValueError, AttributeError)
"""What reading a state raises that is damaged or somebody else's."""


def _cannot_resume(path: Path, error: Exception) -> CheckpointError:
    reason = str(error).partition("\n")[0] or type(error).__name__
    return CheckpointError(f"{path} can't be resumed from: {reason}", "delete it to start again")


def _log_csv(log: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    columns = (*LOG_COLUMNS, *(RELABEL_COLUMNS if log and RELABEL_COLUMNS[0] in log[0] else ()))
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(log)
    return text.getvalue()


def _describe(
    recipe: Recipe, sparsity: float, classes: tuple[str, ...] | None, preprocess: dict[str, Any], command: str
) -> dict[str, Any]:
    """Return what a checkpoint file says of itself; without class names where the data aren't of its classes."""
    pattern = None if recipe.nm is None or sparsity == 0 else "{}:{}".format(*recipe.nm)
    return {
        "arch": recipe.arch,
        "method": recipe.method if sparsity > 0 else "dense",
        "sparsity": sparsity,
        "sparsity_scope": recipe.scope,
        "distribution": recipe.distribution if sparsity > 0 else "dense",
        "nm": pattern,
        "exempt": list(recipe.exempt),
        **({} if classes is None else {"classes": list(classes)}),
        "preprocess": preprocess,
        "recipe": asdict(recipe),
        "command": command,
    }


def _write_checkpoint(
    trainer: Trainer, path: Path, result: Result, meta: dict[str, Any], labelled: bool
) -> float | None:
    """Write a checkpoint; the accuracy it records, if any, is that of the weights as they are read back."""
    state, masks = result.state, result.masks
    sparse_file.write(path, state, masks, meta)
    if not labelled:
        return None
    trainer.model.load_state_dict(sparse_file.read(path).state)
    top1 = trainer.evaluate()
    trainer.model.load_state_dict(state)
    sparse_file.write(path, state, masks, meta | {"upstream": {"dataset": trainer.data.name, "top1": top1}})
    return top1


def exempt_layers(arch: str, classes: int, ends: Sequence[End] = ("stem", "head")) -> tuple[str, ...]:
    """Return the names of the layers that stay dense: the stem, the head, both or none."""
    architecture = backbones.find(arch)[0]
    with torch.random.fork_rng(devices=[]):
        model = backbones.build(architecture, classes)
    convolutions = (name for name, layer in model.named_modules() if isinstance(layer, nn.Conv2d))
    names = {"stem": next(convolutions, None), "head": backbones.head_name(model, architecture)}
    return tuple(name for end in ends if (name := names[end]) is not None)


def make_recipe(
    method: str | type[PruningMethod],
    sparsities: Sequence[float],
    data: UpstreamData,
    *,
    init: Initial | None = None,
    published: bool = False,
    **choices: Any,
) -> Recipe:
    """Return a method's recipe, with defaults for what ``choices`` leaves out (None counts as left out).

    Parameters
    ----------
    method : str or type of PruningMethod
        The method.
    sparsities : sequence of float
        What to prune to.
    data : UpstreamData
        What will be trained on.
    init : Initial, optional
        What the training will start from.
    published : bool
        Whether the defaults are those of the method's publication.
    **choices
        Other fields of :class:`~sparsebench.pruning.trainer.Recipe`.

    Raises
    ------
    InputError
        If the method can't do what is asked, or has no published recipe.
    """
    kind = get_method(method) if isinstance(method, str) else method
    training, settings = kind.training, dict(choices.pop("settings", None) or {})
    if published:
        if kind.published is None:
            raise InputError(f"method {kind.name} declares no published recipe", "leave --recipe out")
        training, settings = kind.published.training, {**kind.published.settings, **settings}
    given = {key: value for key, value in choices.items() if value is not None}
    arch = given.pop("arch", "mini")
    chosen = kind(max(sparsities), given.get("distribution"), given.get("nm"), tuple(sparsities), **settings)
    given.setdefault("distribution", chosen.distribution)
    given.setdefault("epochs", chosen.default_epochs(training))
    if "exempt" not in given:
        ends = training.dense_ends(chosen.distribution)
        given["exempt"] = exempt_layers(arch, len(data.classes) or 2, ends)
    return Recipe(
        method=chosen.name,
        sparsities=chosen.sparsities,
        arch=arch,
        settings=chosen.chosen_settings(),
        init_sha256=None if init is None else init.sha256,
        data=json.dumps([data.name, len(data.train_labels), len(data.val_labels), len(data.classes)]),
        **{name: getattr(training, name) for name in _TRAINING} | given,
    )


_TRAINING = tuple(field.name for field in fields(Training) if field.name not in ("epochs", "dense"))
"""What a recipe takes from a :class:`~sparsebench.pruning.training.Training` as it is."""
