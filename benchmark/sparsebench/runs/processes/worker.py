"""One of the processes that train a run together: ``python -m sparsebench.runs.processes.worker JOB``, by torchrun.

It ends when its standard input does: the command that started it has ended, or asks for a stop. The processes then
agree on a step after which the first of them writes down how far they are.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
import traceback
import warnings
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from ...common import interruption
from ...common.progress import listening
from ...common.timings import measuring
from ...engines.memory import keep_pages
from ...schema import SparsebenchError
from ...transfer.finetune import TrainingState
from ...transfer.full import train_full
from ..jobs import read_job
from ..session import Session
from .messages import GRACE_SECONDS, Speaker, described

_ENDS = (SparsebenchError, OSError, MemoryError, torch.OutOfMemoryError)
"""Errors of the run itself; any other may come of a lost peer, and the processes are started anew."""


def main(job: Path) -> int:
    """Train, and return the exit status: not 0 where the processes should be started anew."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the command decides what an interrupt means
    speaker, gone = Speaker(), threading.Event()
    threading.Thread(target=_listen, args=(gone,), daemon=True).start()
    speaker.say("process", pid=os.getpid(), start=_start())
    keep_pages()
    try:
        with interruption.handled():
            _train(json.loads(job.read_bytes()), speaker)
    except (interruption.Stopped, KeyboardInterrupt):
        return 0
    except _ENDS as error:
        traceback.print_exc()
        speaker.say("failed", **described(error))
        gone.wait(GRACE_SECONDS)
        return 0
    except Exception:
        traceback.print_exc()
        return 1
    return 0


def _start() -> int:
    """Return how often the launcher has started all processes anew."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))


def _listen(gone: threading.Event) -> None:
    sys.stdin.buffer.read()
    interruption.request_stop("the command has ended, or was asked to stop")
    gone.set()
    time.sleep(GRACE_SECONDS)
    os._exit(0)


def _train(document: dict[str, Any], speaker: Speaker) -> None:
    interruption.check()
    (group,), options = read_job(document)
    (spec,) = group.runs
    numerics = spec.numerics
    torch.set_num_threads(numerics.threads)
    gpu = numerics.device.startswith("cuda")
    if gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("cpu:gloo,cuda:nccl" if gpu else "gloo")
    first = dist.get_rank() == 0
    if first:
        speaker.say("group", size=dist.get_world_size(), restarts=_start())
        warnings.showwarning = lambda text, category, *_: _warn(speaker, text, category)
    resume = TrainingState(Path(document["folder"]), document["identity"], options.checkpoint_seconds, writes=first)
    with measuring() as stages, listening(lambda line: speaker.say("note", line=line) if first else None):
        inputs = Session(group, replace(options, save_weights=False)).inputs_of(spec)
        sent = train_full(
            inputs,
            group.protocol,
            spec,
            progress=lambda done, total: speaker.say("progress", done=done, total=total),
            workers=options.workers,
            resume=resume,
            observe=lambda report: speaker.say("epoch", report=asdict(report)),
        )
    if first:
        speaker.say("trained", sent=sent, stages=stages)
    dist.destroy_process_group()


def _warn(speaker: Speaker, text: Warning | str, category: type[Warning]) -> None:
    """Have the command show a warning of ours; what torch warns of goes into the log."""
    if category.__module__.startswith("sparsebench"):
        speaker.say("warning", line=str(text))
    else:
        print(f"{category.__name__}: {text}", file=sys.stderr)


if __name__ == "__main__":
    status = main(Path(sys.argv[1]))
    sys.stderr.flush()
    os._exit(status)  # threads of a lost group may never end
