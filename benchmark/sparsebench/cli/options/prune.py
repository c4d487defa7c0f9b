"""The options of ``sparsebench prune``."""

from __future__ import annotations

import argparse

from ...pruning.methods import methods
from .common import add_command, add_device, add_precision
from .types import natural, path, pattern, positive, schedule, setting


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command and its options."""
    command = add_command(commands, "prune", "train and prune a backbone upstream, and write its checkpoint")
    _add_what(command)
    _add_common(command.add_argument_group("the training (default: the method's own values)"))
    _add_spread(command.add_argument_group("where weights are pruned (default: the method's own way)"))
    _add_recipe(command.add_argument_group("details of the training (default: the method's own values)"))
    how = command.add_argument_group("how to compute it")
    add_device(how)
    add_precision(how, ("fp32", "bf16"))


def _add_what(command: argparse.ArgumentParser) -> None:
    known = methods()
    scratch = ", ".join(name for name, method in known.items() if method.start == "scratch")
    dense = ", ".join(name for name, method in known.items() if method.start == "dense")
    several = ", ".join(name for name, method in known.items() if method.serves == "several")
    what = command.add_argument_group("what to make")
    what.add_argument(
        "--method",
        required=True,
        metavar="NAME|FILE",
        help=f"{scratch}; from the dense weights of --init: {dense}; or a Python file with your own",
    )
    what.add_argument(
        "--sparsity",
        type=float,
        nargs="+",
        metavar="S",
        help=f"the share of weights to prune, such as 0.9; one training gives several for {several}",
    )
    what.add_argument(
        "--data",
        required=True,
        metavar="DATA",
        help="images: a .npz of JPEGs, a folder with train/ and val/, or torchvision:NAME:FOLDER",
    )
    what.add_argument(
        "--out",
        "--output",
        dest="out",
        type=path,
        required=True,
        metavar="FILE",
        help="the checkpoint to write, a .safetensors file",
    )


def _add_common(recipe: argparse._ArgumentGroup) -> None:
    recipe.add_argument("--init", type=path, metavar="FILE|ID", help="trained dense weights to start from")
    recipe.add_argument("--arch", metavar="NAME", help="mini, or any of timm's (default: that of --init, else mini)")
    recipe.add_argument(
        "--recipe",
        choices=("default", "published"),
        default="default",
        help="this project's one recipe, or the method's as published on ImageNet (default: default)",
    )
    recipe.add_argument("--epochs", type=positive, metavar="N", help="passes over the data")
    recipe.add_argument("--batch-size", type=positive, metavar="N", help="images per step")
    recipe.add_argument("--lr", type=float, metavar="RATE", help="the highest learning rate")
    recipe.add_argument("--seed", type=natural, metavar="N", help="seed of weights and order")
    recipe.add_argument(
        "--set",
        action="append",
        type=setting,
        default=[],
        metavar="KEY=VALUE",
        help="a setting of the method's own, such as alpha=0.2; may be repeated",
    )


def _add_spread(spread: argparse._ArgumentGroup) -> None:
    spread.add_argument(
        "--distribution", choices=("global", "uniform", "erk", "nm"), help="how sparsity is spread over layers"
    )
    spread.add_argument("--nm", type=pattern, metavar="N:M", help="keep N of M consecutive inputs, such as 2:4")
    spread.add_argument(
        "--exempt",
        action="append",
        metavar="LAYER",
        help="leave a layer dense; may be repeated, none for no layer (default: stem, head)",
    )
    spread.add_argument(
        "--scope",
        choices=("prunable", "all_params"),
        default="prunable",
        help="what --sparsity is a share of: the weights of layers not exempt, or all parameters (default: prunable)",
    )


def _add_recipe(recipe: argparse._ArgumentGroup) -> None:
    recipe.add_argument(
        "--schedule",
        type=schedule,
        metavar="HOW",
        help="learning rate: cosine, constant, or steps of the training and the rate, such as 0.3:0.1,0.7:0.01",
    )
    recipe.add_argument("--warmup", type=float, metavar="SHARE", help="share of the training in which the rate rises")
    recipe.add_argument("--momentum", type=float, metavar="M", help="momentum of SGD")
    recipe.add_argument("--nesterov", action=argparse.BooleanOptionalAction, help="use Nesterov's momentum, or not")
    recipe.add_argument("--weight-decay", type=float, metavar="DECAY", help="L2 penalty of SGD")
    recipe.add_argument(
        "--decay-on", choices=("all", "weights"), help="decay all parameters, or the weights of layers alone"
    )
    recipe.add_argument(
        "--relabel",
        type=positive,
        metavar="N",
        help="give N training images random labels and log which are memorised and recovered; no augmentation",
    )
    recipe.add_argument("--label-smoothing", type=float, metavar="SHARE", help="share of the target over all classes")
