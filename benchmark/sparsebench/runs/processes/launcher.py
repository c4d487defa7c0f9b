"""torch's elastic launcher, deaf to the signals that a cluster sends to all processes of a job.

Those are for the process that started the run, which asks its processes to stop. Processes inherit what is ignored.
"""

from __future__ import annotations

import signal
import sys


def main(arguments: list[str]) -> None:
    """Start processes as ``torchrun`` does, and start them anew where one ends otherwise than by itself."""
    for name in ("SIGUSR1", "SIGUSR2"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    from torch.distributed.run import main as torchrun

    torchrun(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
