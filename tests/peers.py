"""Processes of a test that form torch's default group, by the backend gloo on loopback."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import traceback
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist


def together(count: int, work: Callable[[int], Any]) -> list[Any]:
    """Return what ``work(rank)`` gives in each of several forked processes, or raise what one of them raised."""
    context = multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory() as folder:
        ends, processes = [], []
        for rank in range(count):
            mine, its = context.Pipe(duplex=False)
            process = context.Process(target=_peer, args=(rank, count, Path(folder) / "store", work, its))
            process.start()
            its.close()
            ends.append(mine)
            processes.append(process)
        answers = [end.recv() for end in ends]
        for process in processes:
            process.join()
    for error, _ in answers:
        if error is not None:
            raise error
    return [result for _, result in answers]


def _peer(rank: int, count: int, store: Path, work: Callable[[int], Any], answer: Connection) -> None:
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    torch.set_num_threads(1)
    try:
        dist.init_process_group(
            "gloo", init_method=f"file://{store}", rank=rank, world_size=count, timeout=timedelta(seconds=120)
        )
        answer.send((None, work(rank)))
        dist.destroy_process_group()
    except Exception as error:
        traceback.print_exc()
        answer.send((error, None))
    os._exit(0)
