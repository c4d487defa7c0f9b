"""The options of a Slurm job on the command line; each replaces its key of the profile that ``--cluster`` names."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...runs.executors.cluster import Cluster

_TEXTS = {
    "partition": "the cluster's partition",
    "account": "the account that is charged",
    "qos": "the quality of service",
    "constraint": "features that nodes must have",
}
_NUMBERS = {
    "time_minutes": ("MIN", "time limit of a job (default: 240)"),
    "cpus": ("N", "cores per job (default: --threads plus --workers, per process of a run)"),
    "gpus": ("N", "GPUs per job (default: one per process of a run with --device cuda, else 0)"),
    "array_size": ("N", "the most jobs per array (default: 1000)"),
    "max_parallel": ("N", "the most jobs at a time (default: no limit)"),
}


def _path(text: str) -> Path:
    return Path(text).expanduser()


def add_cluster(command: argparse.ArgumentParser) -> None:
    """Add the options of a Slurm job."""
    group = command.add_argument_group("Slurm (with --executor slurm)")
    group.add_argument("--cluster", type=_path, metavar="FILE", help="a YAML file with these and more options")
    for name, text in _TEXTS.items():
        group.add_argument(f"--{name}", metavar="NAME", help=text)
    for name, (metavar, text) in _NUMBERS.items():
        group.add_argument(f"--{name.replace('_', '-')}", type=_natural, metavar=metavar, help=text)
    group.add_argument("--memory-gb", type=float, metavar="GB", help="memory of a job (default: the site's)")
    group.add_argument(
        "--bundle-minutes", type=float, metavar="MIN", help="the least work per job: short runs share one (default: 5)"
    )
    group.add_argument(
        "--setup",
        action="append",
        metavar="LINE",
        help="a line of shell before the work, such as 'module load cuda'; may be repeated",
    )
    group.add_argument(
        "--sbatch",
        action="append",
        type=_setting,
        metavar="OPTION[=VALUE]",
        help="another option of sbatch, without dashes; may be repeated",
    )
    group.add_argument(
        "--no-wait", action="store_true", help="submit the jobs and return; `status --watch` follows them"
    )


def cluster_of(arguments: argparse.Namespace) -> Cluster | None:
    """Return the profile that the arguments make; None if they name none."""
    from ...runs.executors.cluster import read_cluster

    replaced = {name: getattr(arguments, name) for name in (*_TEXTS, *_NUMBERS, "memory_gb", "bundle_minutes", "setup")}
    replaced["extra"] = dict(arguments.sbatch) if arguments.sbatch else None
    if arguments.cluster is None and all(value is None for value in replaced.values()):
        return None
    return read_cluster(arguments.cluster, arguments.executor, **replaced)


def _natural(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = -1
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 on")
    return value


def _setting(text: str) -> tuple[str, str | bool]:
    name, equals, value = text.lstrip("-").partition("=")
    if not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not OPTION or OPTION=VALUE")
    return name, value if equals else True
