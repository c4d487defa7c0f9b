"""The command line's arguments; nothing here imports torch."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any, NoReturn

from ..common.version import __version__
from ..pruning.methods import methods
from ..pruning.schedules import Drops, read_drops
from ..schema.errors import nearest
from .cluster_options import add_cluster


class Parser(argparse.ArgumentParser):
    """A parser whose mistakes are one line: what was wrong, what is near, where the help is."""

    def error(self, message: str) -> NoReturn:
        """End with status 2 and one line."""
        hint = f"see {self.prog} --help"
        unknown = re.match(r"unrecognized arguments: ([^\s=]+)", message)
        options = self._every_option()
        if unknown and unknown.group(1) in options:
            hint = f"it belongs to {' and '.join(options[unknown.group(1)])}"
        elif unknown and (near := nearest(unknown.group(1), options)):
            hint = f"did you mean {' or '.join(near)}?"
        self.exit(2, f"error: {message}; {hint}\n")

    def _every_option(self) -> dict[str, list[str]]:
        """Return the long options of this parser and of its commands, and who has them."""
        found: dict[str, list[str]] = {}
        for action in self._actions:
            for option in action.option_strings:
                if option.startswith("--"):
                    found.setdefault(option, []).append(self.prog)
            if isinstance(action, argparse._SubParsersAction):
                for command in action.choices.values():
                    for option, owners in command._every_option().items():
                        found.setdefault(option, []).extend(owners)
        return dict(sorted(found.items()))


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of ``sparsebench``."""
    parser = Parser(
        prog="sparsebench",
        description="How well does a pruned ImageNet backbone transfer?",
        epilog="Without further arguments, `sparsebench run` runs all embedded checkpoints on all embedded tasks.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"sparsebench {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_run(commands)
    _add_fetch(commands)
    _add_list(commands)
    _add_inspect(commands)
    _add_status(commands)
    _add_cancel(commands)
    _add_report(commands)
    _add_compare(commands)
    _add_bench(commands)
    _add_prune(commands)
    _add_migrate(commands)
    _add_doctor(commands)
    for command in commands.choices.values():
        command.add_argument("--debug", action="store_true", help="show full tracebacks")
    return parser


def _command(commands: argparse._SubParsersAction, name: str, summary: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(
        name, help=summary, description=summary[0].upper() + summary[1:] + ".", allow_abbrev=False
    )
    return command


def _add_registry(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("your own files")
    group.add_argument("--registry", action="append", type=_path, default=[], metavar="FILE", help="more checkpoints")
    group.add_argument(
        "--tasks-dir", action="append", type=_path, default=[], metavar="DIR", help="more tasks and suites"
    )
    group.add_argument("--data", type=_path, metavar="DIR", help="where data sets live")


def _several(group: argparse._ArgumentGroup, *names: str, **more: Any) -> None:
    """Add an option that takes several values, at once or repeated."""
    group.add_argument(*names, action="extend", nargs="+", default=[], **({"type": _name} | more))


def _add_selection(
    command: argparse.ArgumentParser, title: str, *, tasks: bool = True, runs: bool = False, suite: bool = True
) -> argparse._ArgumentGroup:
    pick = command.add_argument_group(
        title,
        "Each takes several values. Names may be patterns, in quotes: 'mini.*_s90', and '!mini.lth*' leaves out.",
    )
    _several(pick, "--method", help="pruning method: acdc, gmp, dense, ...")
    _several(pick, "--sparsity", type=float, metavar="S", help="nominal, a fraction: 0.9")
    if tasks:
        _several(pick, "--task", "--dataset", dest="task", metavar="ID|DIR|YAML", help="id, image folder or task file")
    if runs:
        _several(pick, "--mode", help="linear or full")
    _several(
        pick,
        "--checkpoint",
        "--model",
        dest="checkpoint",
        metavar="ID|FILE",
        help="an id, or a .pth/.safetensors; FILE#ema, FILE#raw or FILE#NAME picks one of several sets of weights",
    )
    if suite:
        pick.add_argument("--suite", default="mini", help="tasks, architectures and protocols (default: mini)")
    _several(pick, "--arch", help="architecture; with a checkpoint FILE, the file's")
    _several(pick, "--variant", help="a method's variant (erk_5x, uniform, ...), or all")
    if tasks and suite:
        pick.add_argument(
            "--no-reference",
            action="store_true",
            help="leave out the dense references that the selected checkpoints are compared with",
        )
    return pick


def _add_json(target: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    target.add_argument("--json", action="store_true", help="print JSON instead of tables")


def _add_offline(target: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    target.add_argument("--offline", action="store_true", help="fetch nothing (also: SPARSEBENCH_OFFLINE=1)")


def _add_hardware(group: argparse._ArgumentGroup, precisions: tuple[str, ...]) -> None:
    group.add_argument("--threads", type=_positive, default=1, metavar="T", help="CPU threads (default: 1)")
    group.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, ... (default: cpu)")
    group.add_argument("--precision", choices=precisions, default="fp32", help="autocast below fp32 (default: fp32)")
    group.add_argument("--no-channels-last", action="store_true", help="keep images channels first in memory")


def _add_run(commands: argparse._SubParsersAction) -> None:
    command = _command(commands, "run", "run cells of the benchmark and show how well they did")
    pick = _add_selection(command, "what to run (leaving one out means all that the suite selects)", runs=True)
    _several(
        pick,
        "--probe",
        metavar="NAME",
        help="linear mode's classifier: sgd, lbfgs, ridge, knn or fewshot (default: the suite's); without --mode,"
        " linear mode alone",
    )
    _several(pick, "--seed", type=int, metavar="K", help="seed of head and order")
    pick.add_argument(
        "--set",
        action="extend",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="change settings of the protocol: --set lr=0.01 epochs=20 (docs/tasks.md); needs --mode or --probe",
    )
    _add_registry(command)
    where = command.add_argument_group("where to")
    where.add_argument(
        "--results",
        "--output",
        dest="results",
        type=_path,
        default=Path("runs"),
        metavar="DIR",
        help="records (default: runs/)",
    )
    where.add_argument("--save-weights", action="store_true", help="full mode: keep the finetuned weights")
    where.add_argument("--no-heads", action="store_true", help="linear mode: don't keep the trained classifiers")
    where.add_argument(
        "--predictions",
        choices=("logits", "classes"),
        default="logits",
        help="what is kept of each test image: logits in half precision and the predicted class, or the class alone"
        " (default: logits)",
    )
    how = command.add_argument_group("how")
    rare = command.add_argument_group("details of computing (rarely needed)")
    rare.add_argument("--overwrite", choices=("never", "failed", "always"), default="failed", help="what to run again")
    how.add_argument(
        "--executor",
        choices=("inline", "local", "slurm"),
        help="in this process, on --jobs workers of this machine, or as jobs of a Slurm cluster (default: inline, and"
        " local from --jobs 2 on)",
    )
    how.add_argument("--jobs", type=_positive, default=1, metavar="N", help="worker processes (default: 1, here)")
    _add_hardware(how, ("fp32", "bf16", "fp16"))
    rare.add_argument("--compile", action="store_true", help="torch.compile the network")
    how.add_argument(
        "--engine",
        default="torch",
        help="how frozen backbones are run: torch, sparse, onnxruntime, or auto, the fastest (default: torch)",
    )
    rare.add_argument(
        "--workers",
        type=_natural,
        metavar="N",
        help="threads that decode the next batch of images while this one is computed; 0 decodes in between (default:"
        " 1 for image files, 0 for images in memory)",
    )
    rare.add_argument(
        "--decoder",
        choices=("fast", "pillow"),
        default="fast",
        help="of image files: fast (Pillow's pixels, or within a grey level or two where there was no C compiler) or"
        " pillow, pixel for pixel the published pipeline's",
    )
    rare.add_argument(
        "--microbatch",
        type=_microbatch,
        metavar="N",
        help="full mode: compute a training batch N images at a time, for a device whose memory doesn't take it whole;"
        " batch norm then sees N images, so this is a protocol of its own",
    )
    rare.add_argument(
        "--checkpoint-every",
        type=_seconds,
        metavar="S",
        help="full mode: seconds between two states on disk, from which an interrupted run goes on (default: 300)",
    )
    rare.add_argument(
        "--retries",
        type=_natural,
        metavar="N",
        help="tries more for a run that the disk, the network or its worker process failed (default: 2)",
    )
    rare.add_argument("--logger", metavar="NAME", help="tensorboard or wandb, beside the logs/ of each run")
    _add_offline(how)
    how.add_argument("--profile", action="store_true", help="print where the time went, and the bottleneck")
    how.add_argument(
        "--skip-missing", action="store_true", help="leave out what isn't here and can't be fetched, and run the rest"
    )
    how.add_argument(
        "--dry-run",
        action="store_true",
        help="check everything, print the plan and what is missing, fetch and run nothing",
    )
    how.add_argument(
        "--json",
        action="store_true",
        help="print the closing table as JSON; with --dry-run the plan, each run with its id and what defines it",
    )
    add_cluster(command)


def _add_fetch(commands: argparse._SubParsersAction) -> None:
    command = _command(commands, "fetch", "fetch published checkpoints and data sets, to run without a network later")
    _add_selection(command, "for what (the selectors of run; leaving one out means all that the suite selects)")
    part = command.add_mutually_exclusive_group()
    part.add_argument("--checkpoints-only", action="store_true", help="no data sets")
    part.add_argument("--tasks-only", action="store_true", help="no checkpoints")
    _add_registry(command)
    how = command.add_argument_group("how")
    how.add_argument(
        "--timeout",
        type=_seconds,
        metavar="S",
        help="seconds without an answer, or below 1 KiB per second, that end a try (default: 60)",
    )
    how.add_argument("--tries", type=_positive, metavar="N", help="tries an address (default: 5)")
    how.add_argument(
        "--dry-run", action="store_true", help="list what is here, what isn't and where it is; fetch nothing"
    )


def _add_list(commands: argparse._SubParsersAction) -> None:
    command = _command(commands, "list", "list what is registered")
    command.add_argument("what", choices=("checkpoints", "tasks", "methods", "suites"))
    pick = _add_selection(command, "which of them (default: all)", suite=False)
    pick.add_argument("--suite", help="those of a suite")
    _add_json(command)
    _add_registry(command)


def _add_inspect(commands: argparse._SubParsersAction) -> None:
    command = _command(commands, "inspect", "show a checkpoint's provenance, measured sparsity, parameters and FLOPs")
    command.add_argument("checkpoint", metavar="CHECKPOINT", help="an id, or a file (FILE#ema: its averaged weights)")
    command.add_argument("--arch", help="a file's architecture, where it doesn't name its own")
    command.add_argument("--json", action="store_true", help="print JSON")
    _add_offline(command)
    _add_registry(command)


def _add_status(commands: argparse._SubParsersAction) -> None:
    command = _command(
        commands, "status", "show what is done, running, queued, failed, lost and missing in a results folder"
    )
    command.add_argument("--results", type=_path, default=Path("runs"), metavar="DIR", help="records (default: runs/)")
    command.add_argument("--watch", action="store_true", help="show it anew until nothing runs or is queued any more")
    command.add_argument(
        "--interval", type=_seconds, default=5.0, metavar="S", help="seconds between two looks (default: 5)"
    )
    pick = command.add_argument_group("which cells (default: all; names or patterns)")
    _several(pick, "--checkpoint", "--model", dest="checkpoint", metavar="ID", help="checkpoints")
    _several(pick, "--task", "--dataset", dest="task", metavar="ID", help="tasks")
    _several(pick, "--mode", help="linear or full")
    _add_json(command)


def _add_cancel(commands: argparse._SubParsersAction) -> None:
    command = _command(commands, "cancel", "take jobs that were submitted to Slurm out of its queue")
    command.add_argument(
        "submission", nargs="*", metavar="SUBMISSION", help="a submission or plan (default: all of the results folder)"
    )
    command.add_argument("--results", type=_path, default=Path("runs"), metavar="DIR", help="records (default: runs/)")


def _add_report(commands: argparse._SubParsersAction) -> None:
    command = _command(commands, "report", "write tables, leaderboard and figures from results")
    _add_selection(command, "which results (default: all; references stay)", runs=True, suite=False)
    _add_json(command)
    command.add_argument(
        "--results",
        type=_results,
        default=Path("runs"),
        metavar="DIR",
        help="a results folder or tidy CSV (default: runs/), or `published`: the paper's results, which come with"
        " sparsebench (a folder of that name is ./published)",
    )
    command.add_argument(
        "--compare",
        type=_results,
        metavar="DIR",
        help="set the results beside these, cell by cell: `published`, a results folder or tidy CSV",
    )
    command.add_argument(
        "--out",
        "--output",
        dest="out",
        type=_path,
        default=Path("report"),
        metavar="DIR",
        help="where to (default: report/)",
    )
    command.add_argument(
        "--bench",
        type=_path,
        metavar="DIR",
        help="what `sparsebench bench` measured, to stand beside accuracy (default: the folder bench beside the"
        " results, if there)",
    )
    command.add_argument(
        "--tasks-dir", action="append", type=_path, default=[], metavar="DIR", help="more tasks and suites"
    )


def _add_compare(commands: argparse._SubParsersAction) -> None:
    command = _command(
        commands, "compare", "say whether one checkpoint transfers better than another, and how sure it is"
    )
    for name, metavar in (("first", "A"), ("second", "B")):
        command.add_argument(
            name,
            metavar=metavar,
            help="a checkpoint's id, a glob (the mean over what it matches), a results folder or `published`",
        )
    command.add_argument(
        "--results",
        type=_results,
        default=Path("runs"),
        metavar="DIR",
        help="where ids and globs are looked up: a results folder, tidy CSV or `published` (default: runs/)",
    )
    command.add_argument("--mode", help="linear, full or upstream, where there are several")
    command.add_argument("--probe", help="of linear mode, where there are several: sgd, lbfgs, ...")
    command.add_argument("--protocol", metavar="NAME", help="where there are several")
    command.add_argument("--tasks", nargs="+", metavar="TASK", help="ids or globs (default: all that both ran)")
    command.add_argument(
        "--replicate", type=int, metavar="N", help="one upstream training only (default: all there are)"
    )
    command.add_argument(
        "--random-tasks",
        action="store_true",
        help="let the interval cover the choice of tasks: another task of this kind",
    )
    command.add_argument("--json", action="store_true", help="print JSON; numbers are fractions")


def _add_migrate(commands: argparse._SubParsersAction) -> None:
    command = _command(commands, "migrate", "rewrite results of an older version of sparsebench for this one")
    command.add_argument(
        "results", nargs="+", type=_path, metavar="RESULTS", help="a results folder, or a curated CSV file"
    )


def _add_doctor(commands: argparse._SubParsersAction) -> None:
    command = _command(commands, "doctor", "show what this machine has of what sparsebench can use, and what to do")
    command.add_argument("--results", type=_path, default=Path("runs"), metavar="DIR", help="records (default: runs/)")
    _add_json(command)


def _add_bench(commands: argparse._SubParsersAction) -> None:
    command = _command(commands, "bench", "measure speed on this machine: engines, probes, decoding, finetuning")
    pick = _add_selection(command, "which checkpoints (leaving all out means those of the suite)", tasks=False)
    pick.add_argument("--registry", action="append", type=_path, default=[], metavar="FILE", help="more checkpoints")
    how = command.add_argument_group("how")
    parts = ("engines", "probes", "decoding", "finetuning")
    how.add_argument("--what", nargs="+", choices=parts, default=list(parts), help="parts to measure (default: all)")
    how.add_argument("--engine", action="append", default=[], help="torch, sparse, onnxruntime (default: all here)")
    how.add_argument("--device", action="append", default=[], help="cpu, cuda, ... (default: cpu, and cuda if there)")
    how.add_argument("--batch", type=_positive, default=64, metavar="N", help="images per batch (default: 64)")
    how.add_argument("--threads", type=_positive, metavar="T", help="CPU threads (default: all cores)")
    how.add_argument("--turns", type=_positive, default=15, metavar="N", help="measurements of each (default: 15)")
    _add_offline(how)
    where = command.add_argument_group("where from and to")
    where.add_argument(
        "--results",
        type=_path,
        metavar="DIR",
        help="accuracy to draw throughput against: a results folder or tidy CSV (default: runs/, else results/mini/)",
    )
    where.add_argument(
        "--out",
        "--output",
        dest="out",
        type=_path,
        default=Path("bench"),
        metavar="DIR",
        help="where to (default: bench/)",
    )


def _add_prune(commands: argparse._SubParsersAction) -> None:
    known = methods()
    command = _command(commands, "prune", "train and prune a backbone upstream, and write its checkpoint")
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
        type=_path,
        required=True,
        metavar="FILE",
        help="the checkpoint, a .safetensors file",
    )
    spread = command.add_argument_group("sparsity")
    spread.add_argument(
        "--distribution", choices=("global", "uniform", "erk", "nm"), help="over layers (default: the method's)"
    )
    spread.add_argument("--nm", type=_pattern, metavar="N:M", help="keep N of M consecutive inputs: 2:4")
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
    recipe.add_argument("--init", type=_path, metavar="FILE|ID", help="trained dense weights to start from")
    recipe.add_argument(
        "--set",
        action="append",
        type=_setting,
        default=[],
        metavar="KEY=VALUE",
        help="a hyperparameter of the method's own (repeatable): alpha=0.2",
    )
    recipe.add_argument("--epochs", type=_positive, metavar="N")
    recipe.add_argument("--batch-size", type=_positive, metavar="N")
    recipe.add_argument("--lr", type=float, help="highest learning rate")
    recipe.add_argument("--warmup", type=float, metavar="F", help="fraction of the training in which the rate rises")
    recipe.add_argument(
        "--schedule",
        type=_schedule,
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
    recipe.add_argument("--seed", type=_natural, metavar="K")
    _add_hardware(command.add_argument_group("hardware"), ("fp32", "bf16"))


def _pattern(text: str) -> tuple[int, int]:
    parts = text.split(":")
    if len(parts) != 2 or not all(part.isdigit() for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} is not a pattern N:M, for example 2:4")
    return int(parts[0]), int(parts[1])


def _setting(text: str) -> tuple[str, float | str]:
    key, _, value = (part.strip() for part in text.partition("="))
    if not key or not value:
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    try:
        return key, float(value)
    except ValueError:
        return key, value


def _schedule(text: str) -> Drops:
    try:
        return read_drops(text)
    except ValueError:
        hint = "is not cosine, constant or steps, for example 0.3:0.1,0.7:0.01"
        raise argparse.ArgumentTypeError(f"{text!r} {hint}") from None


def _path(text: str) -> Path:
    if not text.strip():
        raise argparse.ArgumentTypeError("the path is empty")
    return Path(text).expanduser()


def _results(text: str) -> Path | str:
    """Return where results are: a path, or the word for the paper's, which is no path."""
    return text if text == "published" else _path(text)


def _name(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("the name is empty")
    return text


def _whole(text: str, least: int) -> int:
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if value < least:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} on")
    return value


def _positive(text: str) -> int:
    return _whole(text, 1)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return value


def _microbatch(text: str) -> int:
    number = _positive(text)
    if number < 2:
        raise argparse.ArgumentTypeError("batch norm needs at least 2 images")
    return number


def _natural(text: str) -> int:
    return _whole(text, 0)
