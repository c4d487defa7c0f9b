"""The options of ``sparsebench run``."""

from __future__ import annotations

import argparse

from .cluster import add_cluster
from .common import (
    add_command,
    add_device,
    add_format,
    add_offline,
    add_own_files,
    add_precision,
    add_records,
    add_selection,
    kinds,
    several,
)
from .types import microbatch, natural, positive, seconds


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command and its options."""
    command = add_command(commands, "run", "run checkpoints on tasks and show how well they did")
    closer = add_selection(command, "what to run (an omitted option means every value the suite defines)", runs=True)
    several(
        closer,
        "--probe",
        metavar="NAME|FILE",
        help=f"linear mode's classifier: {kinds('probes')}, or a Python file with your own",
    )
    several(
        closer,
        "--seed",
        type=int,
        metavar="N",
        help="a seed of the classifier's initialisation and of the order of the data",
    )
    closer.add_argument(
        "--set",
        action="extend",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="change settings of the mode that --mode or --probe names, such as lr=0.01",
    )
    closer.add_argument("--limit", type=positive, metavar="N", help="at most N images of each split, for a quick look")
    several(
        closer,
        "--shift",
        metavar="NAME[:SEVERITY]",
        help="further test images, also for finished runs: corruptions, fog:3, a test set of the tasks, or tests (all)",
    )
    _add_way(command)
    own = add_own_files(command)
    add_format(own)
    _add_kept(command)
    _add_details(command)
    add_cluster(command)


def _add_way(command: argparse.ArgumentParser) -> None:
    """Add where records go to and how runs are computed."""
    how = command.add_argument_group("how to run it")
    add_records(how, "--output")
    how.add_argument("--dry-run", action="store_true", help="check everything and show the plan; run nothing")
    how.add_argument("--jobs", type=positive, default=1, metavar="N", help="runs at a time (default: 1)")
    how.add_argument(
        "--processes-per-run",
        type=positive,
        default=1,
        metavar="N",
        help="full mode: processes that share each batch of a run, on one machine; each has its --threads (default: 1)",
    )
    add_device(how)
    how.add_argument(
        "--engine",
        default="torch",
        metavar="NAME|FILE",
        help=f"what computes features: {kinds('engines')}, auto (the fastest), or a Python file (default: torch)",
    )
    how.add_argument(
        "--executor",
        metavar="NAME|FILE",
        help=f"where runs are computed: {kinds('executors')}, or a Python file (default: inline; with --jobs local)",
    )
    add_offline(how)
    how.add_argument("--skip-missing", action="store_true", help="leave out what isn't here and can't be fetched")
    how.add_argument(
        "--overwrite",
        choices=("never", "failed", "always"),
        default="failed",
        help="what to run again (default: failed)",
    )
    how.add_argument("--json", action="store_true", help="print JSON instead of tables")
    how.add_argument("--profile", action="store_true", help="show where the time went")


def _add_kept(command: argparse.ArgumentParser) -> None:
    """Add what is kept beside records."""
    kept = command.add_argument_group("what is kept")
    kept.add_argument("--save-weights", action="store_true", help="full mode: keep the finetuned weights")
    kept.add_argument("--no-heads", action="store_true", help="linear mode: don't keep the trained classifiers")
    kept.add_argument(
        "--predictions",
        choices=("logits", "classes"),
        help="of each test image: logits and class, or the class alone (default: logits; classes in mode upstream)",
    )
    kept.add_argument("--logger", metavar="NAME", help="log trainings to tensorboard or wandb, too")


def _add_details(command: argparse.ArgumentParser) -> None:
    rare = command.add_argument_group("details of computing (rarely needed)")
    add_precision(rare, ("fp32", "bf16", "fp16"))
    rare.add_argument("--compile", action="store_true", help="use torch.compile on the network")
    rare.add_argument(
        "--workers",
        type=natural,
        metavar="N",
        help="threads that decode images ahead (default: 1 for image files, 0 for images in memory)",
    )
    rare.add_argument(
        "--decoder",
        choices=("fast", "pillow"),
        default="fast",
        help="what decodes image files: fast, or pillow as the published pipeline (default: fast)",
    )
    rare.add_argument(
        "--microbatch",
        type=microbatch,
        metavar="N",
        help="full mode: compute a batch N images at a time, which changes what batch norm sees",
    )
    rare.add_argument(
        "--checkpoint-every",
        type=seconds,
        metavar="SECONDS",
        help="full mode: how often to save the state of a training (default: 300)",
    )
    rare.add_argument(
        "--retries", type=natural, metavar="N", help="further tries after a failure of disk or network (default: 2)"
    )
