"""A worker process: reads groups from standard input, runs them, and tells events on standard output.

It ends when its input ends. A watching thread reads the input, so that a worker whose parent has died stops at once
instead of finishing a group that nobody waits for.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading

from ..engines.memory import keep_pages
from ..runner import Event, run_group
from .protocol import decode_job, encode_event

_LOST_PARENT = 3


def main() -> None:
    """Work until standard input ends."""
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
        group, options = decode_job(jobs.get())
        run_group(group, options, emit)
        out.write('{"kind": "idle"}\n')


def _watch(jobs: queue.Queue[str]) -> None:
    for line in sys.stdin:
        jobs.put(line)
    os._exit(_LOST_PARENT)


if __name__ == "__main__":
    main()
