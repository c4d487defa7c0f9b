"""A worker process: reads groups from standard input, runs them, and tells events on standard output.

It ends when its input ends. A watching thread reads the input, so that a worker whose parent has died stops soon
instead of finishing a group that nobody waits for: a training writes down how far it is first.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import sys
import threading
import time

from .. import interruption
from ..engines.memory import keep_pages
from ..runner import Event, run_group
from .protocol import AFFINITY, decode_job, encode_event, encode_idle

_LOST_PARENT = 3
_GRACE_SECONDS = 3.0  # for a training to write down how far it is


_busy = threading.Event()


def main() -> None:
    """Work until standard input ends."""
    if cpus := os.environ.get(AFFINITY):
        with contextlib.suppress(OSError):  # processors taken away since: then the system chooses
            os.sched_setaffinity(0, [int(cpu) for cpu in cpus.split(",")])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interrupt means
    keep_pages()
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever a library prints is not an event
    jobs: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_watch, args=(jobs,), daemon=True).start()

    def emit(event: Event) -> None:
        out.write(encode_event(event) + "\n")

    out.write('{"kind": "ready"}\n')
    while True:
        group, options, wait = decode_job(jobs.get())
        try:
            _busy.set()
            left = run_group(group, options, emit, wait=wait)
            _busy.clear()
        except interruption.Stopped:
            os._exit(_LOST_PARENT)
        out.write(encode_idle(left) + "\n")


def _watch(jobs: queue.Queue[str]) -> None:
    for line in sys.stdin:
        jobs.put(line)
    interruption.request_stop("the command that started this worker has ended")
    if _busy.is_set():
        time.sleep(_GRACE_SECONDS)
    os._exit(_LOST_PARENT)


if __name__ == "__main__":
    main()
