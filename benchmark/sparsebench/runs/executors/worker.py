"""A worker process: reads groups from standard input, runs them, and reports events on standard output.

It ends when its input ends. A watching thread reads the input, so that a worker whose parent has died stops soon
instead of finishing a group that nobody waits for: a training writes down how far it is first, and claims are given
back. A signal to the worker is answered alike, and then ends it, so that its parent sees by which.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import sys
import threading
import time

from ...common import interruption
from ...engines.memory import keep_pages
from ..runner import Loaded, run_group
from .protocol import AFFINITY, decode_job, encode_event, encode_idle

GRACE_SECONDS = 60.0
"""How long a worker that is to end may take for its step in progress and its state; then it ends all the same."""

_LOST_PARENT = 3


class _Parent:
    """The command that started this worker: it sends groups as lines on standard input, and is sent events."""

    def __init__(self) -> None:
        self.jobs: queue.Queue[str] = queue.Queue()
        self.gone = threading.Event()
        self.busy = threading.Event()
        self._out = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8", buffering=1)
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever a library prints is not an event
        threading.Thread(target=self._listen, daemon=True).start()

    def send(self, line: str) -> None:
        """Send a line; that the parent has died shows at the end of the input."""
        with contextlib.suppress(OSError):
            self._out.write(line + "\n")

    def _listen(self) -> None:
        for line in sys.stdin:
            self.jobs.put(line)
        self.gone.set()
        self.jobs.put("")  # for a main thread that ends its group just now and waits: the signal wouldn't wake it
        if self.busy.is_set():
            signal.raise_signal(signal.SIGTERM)  # the main thread answers it
            time.sleep(GRACE_SECONDS)
        os._exit(_LOST_PARENT)


def main() -> None:
    """Work until standard input ends."""
    if cpus := os.environ.get(AFFINITY):
        with contextlib.suppress(OSError):  # processors taken away since: then the system chooses
            os.sched_setaffinity(0, [int(cpu) for cpu in cpus.split(",")])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interrupt means
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    keep_pages()
    parent, loaded = _Parent(), Loaded()
    try:
        with interruption.handled():
            parent.send('{"kind": "ready"}')
            while True:
                _serve(parent, loaded)
    except (interruption.Stopped, KeyboardInterrupt) as stop:
        if isinstance(stop, interruption.Interrupted) and not parent.gone.is_set():
            signal.signal(stop.number, signal.SIG_DFL)
            signal.raise_signal(stop.number)
        os._exit(_LOST_PARENT)


def _serve(parent: _Parent, loaded: Loaded) -> None:
    """Run the next group, with what the last one has loaded."""
    line = parent.jobs.get()
    if not line:
        os._exit(_LOST_PARENT)
    group, options, wait = decode_job(line)
    parent.busy.set()
    left = run_group(group, options, lambda event: parent.send(encode_event(event)), wait=wait, loaded=loaded)
    parent.busy.clear()
    parent.send(encode_idle(left))


if __name__ == "__main__":
    main()
