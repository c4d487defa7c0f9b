"""Fetch one address into its part file: resumed where the server can, tried again where that may help."""

from __future__ import annotations

import math
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import requests

from ..progress import Progress, Throttle
from .addresses import Wanted, resolve
from .errors import DiskError, TransferError
from .http import Limits, ask, innermost
from .pages import page_reason
from .part import Part

CHUNK = 32 * 1024
_RESERVE = 16 * 2**20


@dataclass(frozen=True)
class Order:
    """What is fetched, and what is known of it before.

    Parameters
    ----------
    part : Part
        Where the bytes go, and from which address.
    limits : Limits
        Time and tries.
    hashed : bool
        Whether a hash will tell if the bytes are right: a part may then be resumed without a word of the server's on
        whether the file has changed.
    size : int, optional
        The bytes that the file must have.
    """

    part: Part
    limits: Limits
    hashed: bool = False
    size: int | None = None


def transfer(order: Order, progress: Progress | None = None, note: Callable[[str], None] | None = None) -> bool:
    """Complete the part file.

    Parameters
    ----------
    order : Order
        What to fetch.
    progress : callable, optional
        ``progress(done, total)`` in bytes; the total is infinite where the server doesn't say it.
    note : callable, optional
        Told why something is tried again.

    Returns
    -------
    bool
        Whether it was resumed, so that its bytes are not all from one answer.

    Raises
    ------
    TransferError
        If it fails for good, or as often as the limits allow.
    DiskError
        If the disk doesn't take it.
    """
    wanted = resolve(order.part.address)
    tried = 0
    while True:
        try:
            return _attempt(order, wanted, progress)
        except TransferError as error:
            tried += 1
            _give_up(error, tried, order.limits)
            pause = order.limits.pause(tried) if error.wait is None else error.wait
            if note is not None:
                note(f"{error.reason}; try {tried + 1} of {order.limits.tries} in {pause:.0f} s")
            time.sleep(pause)


def _give_up(error: TransferError, tried: int, limits: Limits) -> None:
    if not error.again:
        raise error
    if error.wait is not None and error.wait > limits.longest_wait:
        raise TransferError(f"{error.reason} and asks to wait {error.wait:.0f} s", again=False) from error
    if tried >= limits.tries:
        reason = f"{error.reason} ({tried} tries)" if tried > 1 else error.reason
        raise TransferError(reason, again=False, silent=error.silent) from error


def _attempt(order: Order, wanted: Wanted, progress: Progress | None) -> bool:
    """Fetch what is missing; return whether what was there before was kept."""
    part = order.part
    start, validator = part.size(), part.validator()
    if start and not (validator or order.hashed):
        start = 0  # nobody could tell whether the file has changed since
    headers = {"Range": f"bytes={start}-"} if start else {}
    if start and validator:
        headers["If-Range"] = validator
    with ask(wanted, headers, order.limits) as answer:
        if answer.status_code == 416:
            if start and _total_of_range(answer) == start:
                return True
            part.discard()
            raise TransferError("the server has no further bytes, so the file has changed since", again=True)
        if answer.status_code == 206 and not _continues(answer, start, validator):
            part.discard()
            raise TransferError("the server went on at another place than asked for", again=True)
        resumed = answer.status_code == 206
        start = start if resumed else 0
        total = start + _length(answer)
        _check_size(order, total)
        chunks = _body(answer, order.limits)
        first = next(chunks, b"")
        if not resumed:
            if reason := page_reason(answer.headers.get("Content-Type", ""), first):
                raise TransferError(reason, again=False)
            part.begin(answer.headers)
        _check_room(order, total - start)
        _write(part, first, chunks, start, total, progress)
    return resumed


def _write(
    part: Part, first: bytes, chunks: Iterator[bytes], start: int, total: float, progress: Progress | None
) -> None:
    watch = Throttle(progress, total)
    watch.advance(start)

    def everything() -> Iterator[bytes]:
        yield first
        yield from chunks

    done = start
    for size in part.append(everything()):
        done += size
        watch.advance(size)
    if not math.isinf(total) and done != total:
        raise TransferError(f"the server stopped after {done:,} of {total:,.0f} bytes", again=True)
    if done == 0:
        raise TransferError("the server gave an empty file", again=False)


def _body(answer: requests.Response, limits: Limits) -> Iterator[bytes]:
    try:
        yield from answer.iter_content(CHUNK)
    except requests.exceptions.ConnectionError as error:  # requests' name for a body that stalls
        if "timed out" not in str(error).lower():
            raise TransferError(f"the connection broke: {innermost(error)}", again=True) from error
        raise TransferError(f"no further bytes within {limits.stall:g} s", again=True) from error
    except requests.exceptions.RequestException as error:
        raise TransferError(f"the connection broke off early: {innermost(error)}", again=True) from error


def _length(answer: requests.Response) -> float:
    """Return the bytes of the body; infinite where the server doesn't say, or compresses on the way."""
    text = answer.headers.get("Content-Length", "")
    packed = answer.headers.get("Content-Encoding", "identity").lower() != "identity"
    return float(int(text)) if text.isdigit() and not packed else math.inf


def _continues(answer: requests.Response, start: int, validator: str | None) -> bool:
    found = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
    tag = answer.headers.get("ETag", "")
    same = not (validator and validator.startswith('"') and tag) or tag == validator
    return bool(start) and found is not None and int(found.group(1)) == start and same


def _total_of_range(answer: requests.Response) -> int | None:
    found = re.fullmatch(r"bytes \*/(\d+)", answer.headers.get("Content-Range", ""))
    return int(found.group(1)) if found else None


def _check_size(order: Order, total: float) -> None:
    if order.size is not None and not math.isinf(total) and total != order.size:
        raise TransferError(f"the server's file has {total:,.0f} bytes, registered are {order.size:,}", again=False)


def _check_room(order: Order, needed: float) -> None:
    folder = order.part.target.parent
    free = shutil.disk_usage(folder).free
    if not math.isinf(needed) and needed + _RESERVE > free:
        raise DiskError(
            f"{folder} has room for {free:,} bytes, but {needed:,.0f} more are to come", "make room, or choose a folder"
        )
