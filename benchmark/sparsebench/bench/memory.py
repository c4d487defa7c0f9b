"""The memory that a backbone takes in an engine: the peak of a process that loads it, builds it and runs a batch.

A process that has imported everything, and computed nothing, forks a child for each measurement; what the child's
resident memory grows by at most is the answer. (This module is that process, run with ``-m``.)
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import subprocess
import sys
from types import TracebackType
from typing import TYPE_CHECKING

from ..schema import Checkpoint, Numerics

if TYPE_CHECKING:
    from typing import Self

_READY = "ready\n"
_IMPORTED = ("timm", "onnx", "onnxruntime", "torch.onnx", "sparsebench.engines.sparse.engine")


class MemoryMeter:
    """Measures on CPUs of systems that can fork and know a process's peak; elsewhere every answer is None."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        if not sys.platform.startswith("linux"):
            return
        self._process = subprocess.Popen(
            [sys.executable, "-m", "sparsebench.bench.memory"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )

    def wait(self) -> None:
        """Return when the process has imported all it needs: what is timed next has the processor to itself."""
        if self._process is not None and self._process.stdout is not None:
            while self._process.stdout.readline() not in (_READY, ""):
                pass

    def measure(self, checkpoint: Checkpoint, numerics: Numerics, batch: int) -> int | None:
        """Return the bytes that a checkpoint takes in an engine with batches of a size; None if that isn't known."""
        if self._process is None or self._process.stdin is None or self._process.stdout is None:
            return None
        job = {
            "checkpoint": checkpoint.model_dump(mode="json"),
            "numerics": numerics.model_dump(mode="json"),
            "batch": batch,
        }
        try:
            self._process.stdin.write(json.dumps(job) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            return None
        found = json.loads(answer) if answer.endswith("\n") else None
        return found if isinstance(found, int) else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


def main() -> None:
    """Answer each line of standard input with a number of bytes, or null."""
    for name in _IMPORTED:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    from ..engines.memory import keep_pages

    keep_pages()
    print(_READY, end="", flush=True)
    for line in sys.stdin:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            _answer(line, writer)
        os.close(writer)
        with os.fdopen(reader) as answer:
            text = answer.read()
        os.waitpid(child, 0)
        print(text or "null", flush=True)


def _answer(line: str, writer: int) -> None:
    """Measure in the forked child, write the answer, and end it."""
    try:
        os.write(writer, str(_growth(json.loads(line))).encode())
    finally:
        os._exit(0)


def _growth(job: dict[str, object]) -> int:
    import resource

    import torch

    from ..engines import prepare
    from ..models.loading import load_entry

    numerics = Numerics.model_validate(job["numerics"])
    torch.set_num_threads(numerics.threads)
    before = _resident()
    backbone = load_entry(Checkpoint.model_validate(job["checkpoint"]))
    size = backbone.preprocess.input_size
    images = torch.zeros(int(str(job["batch"])), 3, size, size)
    run = prepare(backbone.module, numerics, tuple(images.shape))
    for _ in range(2):
        run(images)
    return max(0, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before)


def _resident() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 - one line of the kernel's
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main()
