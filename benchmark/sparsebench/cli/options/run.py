"""The options of ``sparsebench run``."""

from __future__ import annotations

import argparse
from pathlib import Path

from .cluster import add_cluster
from .common import add_command, add_format, add_hardware, add_offline, add_registry, add_selection, kinds, several
from .types import microbatch, natural, path, positive, seconds


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command and its options."""
    command = add_command(commands, "run", "run cells of the benchmark and show how well they did")
    pick = add_selection(command, "what to run (leaving one out means all that the suite selects)", runs=True)
    several(
        pick,
        "--probe",
        metavar="NAME|FILE",
        help=f"linear mode's classifier: {kinds('probes')}, or a Python file with your own (default: the suite's)",
    )
    several(pick, "--seed", type=int, metavar="K", help="seed of head and order")
    pick.add_argument(
        "--set",
        action="extend",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="change settings of the protocol: --set lr=0.01 epochs=20 (docs/tasks.md); needs --mode or --probe",
    )
    pick.add_argument("--limit", type=positive, metavar="N", help="at most N images of each split, for a quick look")
    add_format(pick)
    add_registry(command)
    where = command.add_argument_group("where to")
    where.add_argument(
        "--results",
        "--output",
        dest="results",
        type=path,
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
        metavar="NAME|FILE",
        help=f"where runs are computed: {kinds('executors')}, or a Python file (default: inline; with --jobs local)",
    )
    how.add_argument("--jobs", type=positive, default=1, metavar="N", help="worker processes (default: 1, here)")
    add_hardware(how, ("fp32", "bf16", "fp16"))
    rare.add_argument("--compile", action="store_true", help="torch.compile the network")
    how.add_argument(
        "--engine",
        default="torch",
        metavar="NAME|FILE",
        help=f"how frozen backbones are run: {kinds('engines')}, auto (the fastest), or a Python file (default: torch)",
    )
    rare.add_argument(
        "--workers",
        type=natural,
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
        type=microbatch,
        metavar="N",
        help="full mode: compute a training batch N images at a time, for a device whose memory doesn't take it whole;"
        " batch norm then sees N images, so this is a protocol of its own",
    )
    rare.add_argument(
        "--checkpoint-every",
        type=seconds,
        metavar="S",
        help="full mode: seconds between two states on disk, from which an interrupted run goes on (default: 300)",
    )
    rare.add_argument(
        "--retries",
        type=natural,
        metavar="N",
        help="tries more for a run that the disk, the network or its worker process failed (default: 2)",
    )
    rare.add_argument("--logger", metavar="NAME", help="tensorboard or wandb, beside the logs/ of each run")
    add_offline(how)
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
