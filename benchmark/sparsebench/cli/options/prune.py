"""The options of ``sparsebench prune``."""

from __future__ import annotations

import argparse

from ...pruning.methods import methods
from .common import add_command, add_hardware
from .types import natural, path, pattern, positive, schedule, setting


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command and its options."""
    known = methods()
    command = add_command(commands, "prune", "train and prune a backbone upstream, and write its checkpoint")
    command.add_argument(
        "--method",
        required=True,
        metavar="NAME|FILE",
        help=f"{', '.join(m for m, k in known.items() if k.start == 'scratch')}; from dense weights (--init):"
        f" {', '.join(m for m, k in known.items() if k.start == 'dense')}; or a Python file with a method of your own",
    )
    command.add_argument(
        "--recipe",
        choices=("default", "published"),
        default="default",
        help="what the options left out mean: this project's one recipe (default), or the method's as published on"
        " ImageNet, its points of time as fractions of --epochs",
    )
    command.add_argument(
        "--sparsity",
        type=float,
        nargs="+",
        metavar="S",
        help=f"target, a fraction: 0.9; several for {', '.join(m for m, k in known.items() if k.serves == 'several')},"
        " of which one training serves them all",
    )
    command.add_argument(
        "--data",
        required=True,
        metavar="DATA",
        help="a .npz of JPEGs, a folder with train/ and val/, or torchvision:NAME:FOLDER",
    )
    command.add_argument(
        "--out",
        "--output",
        dest="out",
        type=path,
        required=True,
        metavar="FILE",
        help="the checkpoint, a .safetensors file",
    )
    spread = command.add_argument_group("sparsity")
    spread.add_argument(
        "--distribution", choices=("global", "uniform", "erk", "nm"), help="over layers (default: the method's)"
    )
    spread.add_argument("--nm", type=pattern, metavar="N:M", help="keep N of M consecutive inputs: 2:4")
    spread.add_argument(
        "--exempt",
        action="append",
        metavar="LAYER",
        help="leave dense (repeatable; none for no layer; default: stem, head)",
    )
    spread.add_argument(
        "--scope",
        choices=("prunable", "all_params"),
        default="prunable",
        help="what --sparsity is a fraction of: all but the exempt layers' weights (default), or every parameter",
    )
    recipe = command.add_argument_group("recipe (defaults are the method's)")
    recipe.add_argument("--arch", help="architecture: mini, or any of timm's (default: that of --init, else mini)")
    recipe.add_argument("--init", type=path, metavar="FILE|ID", help="trained dense weights to start from")
    recipe.add_argument(
        "--set",
        action="append",
        type=setting,
        default=[],
        metavar="KEY=VALUE",
        help="a hyperparameter of the method's own (repeatable): alpha=0.2",
    )
    recipe.add_argument("--epochs", type=positive, metavar="N")
    recipe.add_argument("--batch-size", type=positive, metavar="N")
    recipe.add_argument("--lr", type=float, help="highest learning rate")
    recipe.add_argument("--warmup", type=float, metavar="F", help="fraction of the training in which the rate rises")
    recipe.add_argument(
        "--schedule",
        type=schedule,
        metavar="HOW",
        help="of the learning rate: cosine, constant, or steps such as 0.3:0.1,0.7:0.01 (of the training, of the rate)",
    )
    recipe.add_argument("--momentum", type=float)
    recipe.add_argument(
        "--nesterov", action=argparse.BooleanOptionalAction, help="Nesterov's momentum, or the plain one"
    )
    recipe.add_argument("--weight-decay", type=float)
    recipe.add_argument(
        "--decay-on",
        choices=("all", "weights"),
        help="what weight decay acts on: all parameters, or the weights of convolutions and linear layers",
    )
    recipe.add_argument(
        "--label-smoothing", type=float, metavar="F", help="share of the target spread over all classes"
    )
    recipe.add_argument("--seed", type=natural, metavar="K")
    add_hardware(command.add_argument_group("hardware"), ("fp32", "bf16"))
