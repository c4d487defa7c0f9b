"""``sparsebench prune``: train and prune a backbone upstream."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..engines.memory import keep_pages
from ..schema import CheckpointError, InputError
from .display import Bar

if TYPE_CHECKING:
    from ..pruning.base import PruningMethod
    from ..pruning.initial import Initial


def main(arguments: argparse.Namespace) -> int:
    """Train, prune and write checkpoints."""
    keep_pages()
    import torch

    from ..engines.context import emulated
    from ..models.backbones import find
    from ..pruning.methods import get_method
    from ..pruning.prune import make_recipe, preprocess_of, prune
    from ..pruning.trainer import Hardware
    from ..pruning.upstream import open_upstream
    from ..store import ensure_writable

    method = get_method(arguments.method)
    sparsities = _sparsities(arguments, method)
    distribution = "nm" if arguments.nm and arguments.distribution is None else arguments.distribution
    _check(arguments, method, sparsities)
    settings = dict(arguments.set)
    method(max(sparsities), distribution, arguments.nm, sparsities, **settings)  # impossible choices end here
    init = _start(arguments)
    ensure_writable(arguments.out.parent)
    torch.set_num_threads(arguments.threads)
    size = preprocess_of(init, find(arguments.arch)[0]).input_size
    print(f"reading {arguments.data}", file=sys.stderr)
    with Bar("reading") as bar:
        data = open_upstream(arguments.data, size, unlabelled=not method.trains(), report=bar.update)
    recipe = make_recipe(
        method,
        sparsities,
        data,
        init=init,
        published=arguments.recipe == "published",
        arch=arguments.arch,
        distribution=distribution,
        nm=arguments.nm,
        exempt=() if arguments.exempt == ["none"] else tuple(arguments.exempt) if arguments.exempt else None,
        scope=arguments.scope,
        settings=settings,
        epochs=arguments.epochs,
        batch_size=arguments.batch_size,
        lr=arguments.lr,
        warmup=arguments.warmup,
        drops=arguments.schedule,
        momentum=arguments.momentum,
        nesterov=arguments.nesterov,
        weight_decay=arguments.weight_decay,
        decay_on=arguments.decay_on,
        label_smoothing=arguments.label_smoothing,
        relabel=arguments.relabel,
        seed=arguments.seed,
    )
    hardware = Hardware(arguments.device, arguments.precision, not arguments.no_channels_last)
    if emulated(arguments.device, arguments.precision):
        print(
            f"warning: this processor has no {arguments.precision} arithmetic, so that it takes many times as long;"
            " fp32 gives the same accuracy up to chance",
            file=sys.stderr,
        )
    with Bar("training") as bar:

        def report(kind: str, values: dict[str, Any]) -> None:
            if kind == "step":
                bar.update(values["done"], values["total"])
            else:
                bar.line(
                    f"epoch {values['epoch'] + 1}/{recipe.epochs}: loss {values['train_loss']:.3f},"
                    f" val top-1 {values['val_top1']:.2%}, sparsity {values['sparsity']:.2%} ({values['phase']},"
                    f" {values['seconds']:.0f} s)" + _of_relabelled(values)
                )

        pruned = prune(
            recipe,
            data,
            arguments.out,
            method=method,
            init=init,
            command=command(arguments),
            hardware=hardware,
            report=report,
        )
    for made in pruned.made:
        top1 = "no val top-1: the data only calibrated" if made.top1 is None else f"val top-1 {made.top1:.2%}"
        print(f"{made.path}: sparsity {made.sparsity:g}, {top1}")
    print(f"log in {pruned.log}")
    return 0


def _of_relabelled(values: dict[str, Any]) -> str:
    """Return what an epoch made of images with random labels, if there are any."""
    if "memorised" not in values:
        return ""
    return f"; random labels: {values['memorised']:.1%} memorised, {values['recovered']:.1%} recovered"


def _start(arguments: argparse.Namespace) -> Initial | None:
    """Settle what ``--init`` and ``--arch`` mean: an id becomes its file, a file's own architecture is the default."""
    from ..pruning.initial import Initial

    init = None
    if arguments.init is not None:
        reference = None
        if not arguments.init.is_file():
            from ..downloads import locate
            from ..registry import load_registry

            known = load_registry().checkpoints
            entry = known.get(str(arguments.init))
            if entry is None:
                raise CheckpointError(
                    f"there is no file {arguments.init}",
                    "give trained dense weights with --init: a file, or a registered id",
                )
            arguments.init, arguments.arch, reference = locate(entry), arguments.arch or entry.arch, entry.id
        init = Initial.read(arguments.init, reference)
        arguments.arch = arguments.arch or init.arch
    arguments.arch = arguments.arch or "mini"
    return init


def _sparsities(arguments: argparse.Namespace, method: type[PruningMethod]) -> tuple[float, ...]:
    """Return the sparsities asked for: those given, an N:M pattern's own, or 0 for ``dense``."""
    from ..pruning.patterns import check_nm

    given = tuple(arguments.sparsity or ())
    if method.name == "dense":
        if any(given):
            raise InputError(f"--sparsity {given[0]:g} with --method dense", "leave --sparsity out")
        return (0.0,)
    if arguments.nm:
        n, m = arguments.nm
        check_nm(n, m)
        if arguments.scope != "prunable":
            raise InputError(f"--nm with --scope {arguments.scope}", "a pattern is a fraction of the prunable weights")
        given = given or (1 - n / m,)
    if not given:
        raise InputError(f"method {method.name} needs a sparsity", "give one, for example --sparsity 0.9")
    for sparsity in given:
        if not 0 < sparsity < 1:
            raise InputError(f"impossible sparsity {sparsity:g}", "give a fraction between 0 and 1: --sparsity 0.9")
    return given


def _check(arguments: argparse.Namespace, method: type[PruningMethod], sparsities: tuple[float, ...]) -> None:
    """Find mistakes before the data is read, which takes long."""
    from ..engines.context import find_device
    from ..pruning.prune import check_epochs, check_free, output_paths
    from ..pruning.trainer import check_numbers

    if arguments.out.suffix != ".safetensors":
        raise InputError(
            f"--out {arguments.out} must end in .safetensors", f"for example {arguments.out.stem}.safetensors"
        )
    if method.start == "dense" and arguments.init is None:
        raise InputError(f"method {method.name} starts from trained dense weights", "give them with --init")
    if arguments.init is not None and method.start == "scratch":
        raise InputError(f"method {method.name} trains from scratch", "leave --init out")
    if arguments.epochs is not None:
        check_epochs(method, arguments.epochs)
    find_device(arguments.device)
    check_numbers(arguments.lr, arguments.weight_decay, arguments.seed)
    check_free(arguments.out, output_paths(arguments.out, method, sparsities))


def command(arguments: argparse.Namespace) -> str:
    """Return the command line, with file names instead of this machine's paths."""
    from ..pruning.schedules import drops_text
    from ..pruning.settings import shown
    from ..pruning.upstream import data_label

    values = vars(arguments) | {
        "method": Path(arguments.method).name if arguments.method.endswith(".py") else arguments.method,
        "data": data_label(arguments.data),
        "nm": arguments.nm and "{}:{}".format(*arguments.nm),
        "set": [f"{key}={shown(value)}" for key, value in arguments.set],
        "schedule": None if arguments.schedule is None else drops_text(arguments.schedule),
    }
    parts = ["sparsebench", "prune"]
    for name in _OPTIONS:
        value = values[name]
        if value is None or value == _DEFAULTS.get(name):
            continue
        if name == "sparsity":
            parts += ["--sparsity", *map(str, value)]
            continue
        if isinstance(value, bool):
            parts.append(f"--{'' if value else 'no-'}{name}")
            continue
        for item in value if isinstance(value, list) else [value]:
            parts += [f"--{name.replace('_', '-')}", item.name if isinstance(item, Path) else str(item)]
    return shlex.join(parts)


_OPTIONS = (
    "method", "recipe", "sparsity", "distribution", "nm", "scope", "exempt", "set", "data", "init", "arch", "epochs",
    "batch_size", "lr", "warmup", "schedule", "momentum", "nesterov", "weight_decay", "decay_on", "label_smoothing",
    "relabel", "seed", "precision", "threads", "out",
)  # fmt: skip
_DEFAULTS = {"recipe": "default", "arch": "mini", "scope": "prunable", "precision": "fp32"}
