"""``sparsebench fetch``: get what a run reads, to run it without a network later."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..schema import Checkpoint, DatasetError, DifferentDataError, InputError, SparsebenchError, Task
from .listing import columns
from .run import make_selection

if TYPE_CHECKING:
    from ..downloads import Limits
    from ..runs.prefetch import Prefetch


def main(arguments: argparse.Namespace) -> int:
    """Fetch what was selected; 0 if everything is here at the end, so that the same selection runs offline; else 1."""
    from ..api import Request
    from ..downloads import TransferDisplay
    from ..models.entries import select_checkpoints
    from ..registry.selection import select_tasks

    request = Request(
        selection=make_selection(arguments),
        registry_files=arguments.registry,
        tasks_dirs=arguments.tasks_dir,
        data_dir=arguments.data,
    )
    registry = request.registry()
    suite = registry.suite(request.selection.suite)
    checkpoints = [] if arguments.tasks_only else select_checkpoints(request.selection, registry, suite)
    names = request.selection.tasks
    tasks = [] if arguments.checkpoints_only else select_tasks(names, registry, suite, request.data_dir)
    with TransferDisplay() as display:
        prefetch = request.prefetch(display, limits=make_limits(arguments))
        needs = [checkpoint_need(c) for entry in checkpoints for c in entry.files()] + [
            task_need(t, prefetch) for t in tasks
        ]
        if arguments.dry_run:
            print(render(needs, prefetch))
            return 0
        _check_network(needs)
        failures: list[SparsebenchError] = []
        for need in needs:
            try:
                need.get(prefetch)
            except SparsebenchError as error:
                failures.append(error)
                display.line(f"{need.name}: failed")
            else:
                if need.state != "here":
                    display.line(f"{need.name}: here now")
    print(summary(needs, len(failures), prefetch))
    for failure in failures:
        print(failure.line, file=sys.stderr)
    if failures:
        print(f"error: {len(failures)} of {len(needs)} are not here", file=sys.stderr)
    return 1 if failures else 0


@dataclass(frozen=True)
class Need:
    """A checkpoint file or data set that the selection reads, and whether it is here.

    ``state`` is ``here``, ``fetchable``, ``by hand`` or ``missing``; ``size`` is in bytes, None where it isn't known.
    """

    subject: Checkpoint | Task
    state: str
    size: int | None = None
    source: str = ""
    remedy: str | None = None

    @property
    def name(self) -> str:
        """What it is, for people."""
        return f"{'checkpoint' if isinstance(self.subject, Checkpoint) else 'task'} {self.subject.id}"

    def get(self, prefetch: Prefetch) -> None:
        """Fetch it if it isn't here, and check it, or raise :class:`SparsebenchError`."""
        if isinstance(self.subject, Checkpoint):
            prefetch.fetch(self.subject)
        elif self.state != "here":
            if self.state == "fetchable":
                prefetch.download(self.subject)
            prefetch.open(self.subject)


def checkpoint_need(checkpoint: Checkpoint) -> Need:
    """Return what is needed of a checkpoint; nothing is read."""
    from ..downloads import checkpoint_path, find_state
    from ..downloads.locating import remedy
    from ..downloads.words import public

    source, state = checkpoint.file, find_state(checkpoint.file)
    path = checkpoint_path(source)
    if state == "here":
        return Need(checkpoint, state, path.stat().st_size, "the package" if "package:" in source.path else str(path))
    more = f" and {len(source.mirrors)} more" if source.mirrors else ""
    return Need(
        checkpoint, state, source.size, f"{public(source.url)}{more}" if source.url else str(path), remedy(checkpoint)
    )


def task_need(task: Task, prefetch: Prefetch) -> Need:
    """Return what is needed of a task; its data is opened to see whether it is all there."""
    try:
        prefetch.open(task)
    except DatasetError as error:
        here = isinstance(error, DifferentDataError)
        state = "fetchable" if prefetch.can_download(task) and not here else "by hand"
        return Need(task, state, None, task.source or "", error.line)
    return Need(task, "here", None, task.source or "")


def make_limits(arguments: argparse.Namespace) -> Limits:
    """Return the limits that the arguments ask for."""
    from ..downloads import Limits

    standard = Limits()
    stall = arguments.timeout or standard.stall
    return Limits(connect=min(stall, standard.connect), stall=stall, tries=arguments.tries or standard.tries)


def render(needs: list[Need], prefetch: Prefetch) -> str:
    """Return the table of a dry run, and below it what has to be done by hand."""
    words = {"fetchable": "to fetch"}
    rows = [["WHAT", "STATE", "BYTES", "FROM"]]
    rows += [[n.name, words.get(n.state, n.state), "?" if n.size is None else f"{n.size:,}", n.source] for n in needs]
    lines = [columns(rows), summary(needs, None, prefetch)]
    lines += [f"{n.name}: {n.remedy}" for n in needs if n.state in ("by hand", "missing")]
    return "\n".join(lines)


def summary(needs: list[Need], failed: int | None, prefetch: Prefetch) -> str:
    """Return one line on how much is here; ``failed`` is None before anything was fetched."""
    from ..common.paths import checkpoints_dir

    before = sum(n.state == "here" for n in needs)
    if failed is None:
        known = sum(n.size or 0 for n in needs if n.state == "fetchable")
        text = f"{len(needs)} needed, {before} here, {sum(n.state == 'fetchable' for n in needs)} to fetch"
        text += f" ({known:,} bytes of known size)" if known else ""
    else:
        text = f"{len(needs)} needed, {len(needs) - failed} here"
    return f"{text}; checkpoints in {checkpoints_dir()}, data sets in {prefetch.data_root}"


def _check_network(needs: list[Need]) -> None:
    from ..downloads.offline import network_forbidden

    forbidden = network_forbidden()
    if forbidden and any(n.state == "fetchable" for n in needs):
        raise InputError(f"{forbidden} forbids the network", "unset it to fetch")
