"""``sparsebench prune``: train and prune a backbone upstream."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any

from ..engines.memory import keep_pages
from ..schema import CheckpointError, InputError
from .display import Bar


def main(arguments: argparse.Namespace) -> int:
    """Train, prune and write a checkpoint."""
    keep_pages()
    import torch

    from ..pruning.methods import get_method
    from ..pruning.prune import make_recipe, prune
    from ..pruning.trainer import Hardware
    from ..pruning.upstream import open_upstream
    from ..store import ensure_writable

    method = get_method(arguments.method)
    _check(arguments, method.name, method.from_dense)
    ensure_writable(arguments.out.parent)
    torch.set_num_threads(arguments.threads)
    size = _input_size(arguments.arch)
    print(f"reading {arguments.data}", file=sys.stderr)
    data = open_upstream(arguments.data, size)
    recipe = make_recipe(
        method.name,
        arguments.sparsity,
        data,
        init=arguments.init,
        arch=arguments.arch,
        distribution="dense" if method.name == "dense" else arguments.distribution,
        exempt=tuple(arguments.exempt) if arguments.exempt else None,
        epochs=arguments.epochs,
        batch_size=arguments.batch_size,
        lr=arguments.lr,
        weight_decay=arguments.weight_decay,
        seed=arguments.seed,
    )
    hardware = Hardware(arguments.device, arguments.precision, not arguments.no_channels_last)
    with Bar("training") as bar:

        def report(kind: str, values: dict[str, Any]) -> None:
            if kind == "step":
                bar.update(values["done"], values["total"])
            else:
                bar.line(
                    f"epoch {values['epoch'] + 1}/{recipe.epochs}: loss {values['train_loss']:.3f},"
                    f" val top-1 {values['val_top1']:.2%}, sparsity {values['sparsity']:.2%} ({values['phase']},"
                    f" {values['seconds']:.0f} s)"
                )

        made = prune(
            recipe,
            data,
            arguments.out,
            init=arguments.init,
            command=command(arguments),
            hardware=hardware,
            report=report,
        )
    print(f"{made.path}: val top-1 {made.top1:.2%}; log in {made.log}")
    if made.twin is not None:
        print(f"{made.twin}: its dense twin, val top-1 {made.twin_top1:.2%}")
    return 0


def _input_size(arch: str) -> int:
    from ..backbones import find, preprocess_of

    return preprocess_of(find(arch)[0]).input_size


def _check(arguments: argparse.Namespace, method: str, from_dense: bool) -> None:
    if method == "dense" and arguments.sparsity != 0:
        raise InputError(f"--sparsity {arguments.sparsity:g} with --method dense", "leave --sparsity out")
    if method != "dense" and not 0 < arguments.sparsity < 1:
        raise InputError(
            f"impossible sparsity {arguments.sparsity:g}", "give a fraction between 0 and 1: --sparsity 0.9"
        )
    if arguments.out.suffix != ".safetensors":
        raise InputError(
            f"--out {arguments.out} must end in .safetensors", f"for example {arguments.out.stem}.safetensors"
        )
    if from_dense and arguments.init is None:
        raise InputError(f"method {method} starts from trained dense weights", "give them with --init")
    if arguments.out.exists():
        raise InputError(f"--out {arguments.out} is already there", "choose another file, or delete it first")
    if arguments.init is not None and not from_dense:
        raise InputError(f"method {method} trains from scratch", "leave --init out")
    if arguments.init is not None and not arguments.init.is_file():
        raise CheckpointError(f"there is no file {arguments.init}", "give trained dense weights with --init")


def command(arguments: argparse.Namespace) -> str:
    """Return the command line, with file names instead of this machine's paths."""
    parts = ["sparsebench", "prune"]
    for name in ("method", "sparsity", "data", "out", "arch", "init", "distribution", "exempt", "epochs", "batch_size",
                 "lr", "weight_decay", "seed", "threads", "precision"):  # fmt: skip
        value = getattr(arguments, name)
        if value is None or value == _DEFAULTS.get(name):
            continue
        for item in value if isinstance(value, list) else [value]:
            parts += [f"--{name.replace('_', '-')}", item.name if isinstance(item, Path) else str(item)]
    return shlex.join(parts)


_DEFAULTS = {"sparsity": 0.0, "arch": "mini", "distribution": "global", "threads": None, "precision": "fp32"}
