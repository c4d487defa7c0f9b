"""Bytes that the processes of one run send per step: dense, 90 % sparse, and in 8 bits.

What is counted is compared with what the kernel saw pass over loopback. For a machine with other traffic there, run it
in a network namespace of its own: ``unshare -rn sh -c 'ip link set lo up; python scripts/bench_exchange.py'``.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F

from sparsebench.models import backbones, masks
from sparsebench.pruning.distributions import global_masks
from sparsebench.schema import Parallel
from sparsebench.transfer.finetune.parallel import SharedNetwork, find_team
from sparsebench.transfer.finetune.shares import Part

CASES = (("dense", 0.0, "exact"), ("90 % sparse", 0.9, "exact"), ("90 % sparse, 8 bits", 0.9, "int8"))


def main() -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arch", default="resnet18")
    parser.add_argument("--processes", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--steps", type=int, default=3)
    arguments = parser.parse_args()
    print(f"{arguments.arch}, MB that all processes send per step\n")
    print("| processes | network | gradients | batch norm | other | counted | over loopback |")
    print("|---:|---|---:|---:|---:|---:|---:|")
    for processes in arguments.processes:
        for name, sparsity, exchange in CASES:
            with tempfile.TemporaryDirectory() as folder:
                given = (processes, sparsity, exchange, arguments.arch, arguments.steps, folder)
                mp.spawn(_process, given, nprocs=processes)  # type: ignore[attr-defined]
                sent = torch.load(Path(folder) / "sent.pt", weights_only=True)
            kinds = [sent.get(kind, 0) for kind in ("gradients", "batch_norm", "other")]
            cells = [value / arguments.steps / 1e6 for value in (*kinds, sum(kinds), sent["seen"])]
            print(f"| {processes} | {name} | " + " | ".join(f"{cell:.2f}" for cell in cells) + " |", flush=True)


def _process(rank: int, processes: int, sparsity: float, exchange: str, arch: str, steps: int, folder: str) -> None:
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=processes)
    torch.manual_seed(0)
    model = backbones.build(backbones.find(arch)[0], 100)
    weights = masks.prunable(model)
    found = global_masks({n: w.detach().abs() for n, w in weights.items()}, sparsity) if sparsity else {}
    masks.apply(model, found)
    team = find_team(processes)
    how = Parallel(exchange=exchange)  # type: ignore[arg-type]
    network = SharedNetwork(team, model.train(), found, how)  # type: ignore[arg-type]
    before: dict[str, int] = {}
    for step in range(steps + 1):
        if step == 1:  # the first one sets things up
            dist.barrier()
            before = dict(team.sent) | {"seen": _loopback()}
        model.zero_grad(set_to_none=True)
        with network.computing(Part(2, 1 / processes), last=True):
            F.cross_entropy(network.forward(torch.randn(2, 3, 32, 32)), torch.arange(2)).backward()
    dist.barrier()
    if rank == 0:
        after = dict(team.sent) | {"seen": _loopback()}
        torch.save({kind: value - before.get(kind, 0) for kind, value in after.items()}, Path(folder) / "sent.pt")
    dist.destroy_process_group()


def _loopback() -> int:
    """Return the bytes that have passed over loopback; 0 where the system doesn't say."""
    table = Path("/proc/net/dev")
    lines = table.read_text().splitlines() if table.exists() else []
    return next((int(line.split()[1]) for line in lines if line.split()[0] == "lo:"), 0)


if __name__ == "__main__":
    main()
