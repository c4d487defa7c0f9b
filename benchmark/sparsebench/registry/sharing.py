"""Whether several processes can share a run: what ``--processes-per-run N`` asks of modes, numerics and protocols."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from ..schema import InputError, Numerics, Parallel, Protocol
from .cells import Cells
from .selection import Selection

_FLAG = "--processes-per-run"


def with_number(selection: Selection, numerics: Numerics) -> Selection:
    """Return the selection with the number of processes beside its settings of ``parallel``, which depend on it."""
    settings = selection.settings
    given = any(str(key).partition(".")[0] == "parallel" for key in settings)
    if not given or numerics.processes == 1 or "parallel" in settings:
        return selection
    return replace(selection, settings={"parallel.processes": numerics.processes, **settings})


def check_sharing(numerics: Numerics, cells: Cells) -> None:
    """Check that the modes, numerics and protocols of a request allow its number of processes per run.

    Each batch must be divisible among the processes, and a protocol be for as many as there are.

    Raises
    ------
    InputError
        If they don't.
    """
    _check_numerics(numerics, cells.tasks)
    for protocol in {one.name: one for several in cells.protocols.values() for one in several}.values():
        _check_protocol(numerics, protocol)


def _check_numerics(numerics: Numerics, modes: Collection[str]) -> None:
    if numerics.processes == 1:
        return
    asked = f"{_FLAG} {numerics.processes}"
    others = [mode for mode in modes if mode != "full"]
    if others:
        raise InputError(
            f"{asked} is for mode full, not for {' and '.join(others)}", "add --mode full, or leave it out"
        )
    if numerics.engine not in ("torch", "auto"):
        raise InputError(f"{asked} doesn't go with --engine {numerics.engine}: torch trains in several processes",
                         "leave one of them out")  # fmt: skip
    if numerics.compile:
        raise InputError(f"{asked} doesn't go with --compile", "leave one of them out")
    if numerics.device not in ("cpu", "cuda"):
        raise InputError(f"{asked} needs --device cpu or cuda, not {numerics.device}", "on cuda each has its own GPU")


def _check_protocol(numerics: Numerics, protocol: Protocol) -> None:
    count, how = numerics.processes, protocol.parallel
    if how is not None and how.processes != count:
        wanted = "several processes" if how.processes is None else f"{how.processes} processes"
        raise InputError(
            f"protocol {protocol.name!r} is for {wanted} per run, not {count}",
            f"give {_FLAG} {how.processes or 'N'}, or leave out what it says of parallel",
        )
    how = how or Parallel()
    if how.exchange == "int8" and numerics.precision == "fp16":
        raise InputError("parallel.exchange=int8 doesn't go with --precision fp16", "use bf16 or fp32")
    images = min(protocol.batch_size, protocol.microbatch or protocol.batch_size)
    least = 2 if how.batch_norm == "local" else 1
    if count > 1 and count * least > images:
        of = "microbatch" if images < protocol.batch_size else "batch"
        each = ", and local batch norm needs two images of each process" if least == 2 else ""
        raise InputError(
            f"{_FLAG} {count} is too many for a {of} of {images} images (protocol {protocol.name!r}){each}",
            f"give {max(1, images // least)} or fewer",
        )
