"""Fetch one address into its part file: resumed where the server can, tried again where that may help."""

from __future__ import annotations

import math
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain

import requests

from ..common.progress import Progress, Throttle
from .addresses import Wanted, resolve
from .archive import most_of
from .errors import DiskError, TransferError, foreign
from .http import ask
from .limits import Limits
from .pages import page_reason
from .part import Part
from .watch import Watch

_CHUNK = 256 * 1024
_START = 4096
_RESERVE = 16 * 2**20
_LENGTH = re.compile(r"[0-9]{1,18}")
_RANGE = re.compile(r"bytes ([0-9]{1,18})-[0-9]{1,18}/([0-9]{1,18})")


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
        Whether the bytes are checked by a hash at the end: a part may then be resumed without a word of the server's on
        whether the file has changed.
    size : int, optional
        The bytes that the file must have.
    progress : callable, optional
        ``progress(done, total)`` in bytes; the total is infinite where nobody says it.
    note : callable, optional
        Given a line on each further try.
    """

    part: Part
    limits: Limits
    hashed: bool = False
    size: int | None = None
    progress: Progress | None = None
    note: Callable[[str], None] | None = None

    @property
    def most(self) -> int:
        """The most bytes that are taken."""
        return self.size or self.limits.largest

    def resumable(self) -> tuple[int, str | None]:
        """Return how many bytes can be gone on with, and what If-Range names."""
        size, validator = self.part.state()
        # without either, what comes could be the rest of another version of the file, and nobody would know
        known = bool(validator or self.hashed)
        return (size, validator) if known and size <= self.most else (0, None)


def transfer(order: Order) -> bool:
    """Complete the part file; return whether it was resumed, so that its bytes are not all from one answer.

    Raises
    ------
    TransferError
        If it fails for good, or as often as the limits allow; bytes that can't be used are then deleted.
    DiskError
        If the disk doesn't take it.
    """
    limits, retries = order.limits, order.limits.retries()
    end = time.monotonic() + limits.total
    with foreign("the address can't be used"):
        wanted = resolve(order.part.address)
    while True:
        try:
            with Watch(limits, end - time.monotonic()) as watch:
                return _attempt(order, wanted, watch)
        except TransferError as error:
            if error.bad or not order.resumable()[0]:
                order.part.discard()
            if not error.again:
                raise
            if error.wait is not None and error.wait > limits.longest_wait:
                raise TransferError(f"{error.reason} and asks to wait {error.wait:.0f} s") from error
            if not retries.total:
                tried = f" ({limits.tries} tries)" if limits.tries > 1 else ""
                raise TransferError(error.reason + tried, silent=error.silent) from error
            retries = retries.increment(error=error)
            pause = retries.get_backoff_time() if error.wait is None else error.wait
            if order.note is not None:
                order.note(f"{error.reason}; try {len(retries.history) + 1} of {limits.tries} in {pause:.0f} s")
            time.sleep(pause)


def _attempt(order: Order, wanted: Wanted, watch: Watch) -> bool:
    """Fetch what is missing; return whether what was there before was kept."""
    start, validator = order.resumable()
    headers = {"Range": f"bytes={start}-"} if start else {}
    if start and validator:
        headers["If-Range"] = validator
    with ask(wanted, headers, order.limits, watch) as answer:
        if answer.status_code not in (200, 206):
            if answer.status_code == 416 and answer.headers.get("Content-Range") == f"bytes */{start}":
                return True
            raise TransferError(f"the server doesn't go on with the file ({answer.status_code})", again=True, bad=True)
        resumed, packed = answer.status_code == 206, _packed(answer)
        begin, total = _span(answer, order.size)
        if resumed and (packed or not start or begin != start or not _same(answer, validator)):
            raise TransferError("the server went on at another place than asked for", again=True, bad=True)
        if order.size not in (None, total):
            raise TransferError(f"the server's file has {total:,.0f} bytes, registered are {order.size:,}", bad=True)
        if order.most < total < math.inf:
            raise TransferError(f"the server's file has {total:,.0f} bytes, more than are taken of one file", bad=True)
        if math.isinf(min(total, _length(answer))) and not (answer.raw.chunked or order.hashed):
            raise TransferError("the server doesn't say where the file ends: register its size or its sha256", bad=True)
        chunks, first = _body(answer, watch), b""
        while len(first) < _START and (chunk := next(chunks, b"")):
            first += chunk
        if not resumed and (reason := page_reason(answer.headers.get("Content-Type", ""), first[:_START])):
            raise TransferError(reason)
        _check_space(order, total - begin)
        if not resumed:
            order.part.begin(answer.headers, resumable=not packed)
        most = min(order.most, most_of(_length(answer))) if packed else order.most
        _write(order, chain([first], chunks), begin, total, most)
    return resumed


def _body(answer: requests.Response, watch: Watch) -> Iterator[bytes]:
    while chunk := answer.raw.read1(_CHUNK, decode_content=True):
        watch.advance(len(chunk))
        yield chunk


def _write(order: Order, chunks: Iterator[bytes], start: int, total: float, most: float) -> None:
    report, done = Throttle(order.progress, total), start
    report.advance(start)
    for size in order.part.append(chunks):
        done += size
        report.advance(size)
        if done > most:
            raise TransferError(f"the server gives more than {most:,.0f} bytes", bad=True)
    if done == 0:
        raise TransferError("the server gave an empty file")
    if not math.isinf(total) and done != total:
        raise TransferError(f"the server stopped after {done:,} of {total:,.0f} bytes", again=True)


def _check_space(order: Order, needed: float) -> None:
    folder = order.part.target.parent
    free = shutil.disk_usage(folder).free
    if free < needed + _RESERVE < math.inf:
        raise DiskError(
            f"{folder} has space for {free:,} bytes, but {needed:,.0f} more are to come",
            "free some space, or set SPARSEBENCH_CHECKPOINTS to another folder",
        )


def _span(answer: requests.Response, size: int | None) -> tuple[int, float]:
    """Return the byte of the file at which the body begins, -1 where none is named, and the bytes of the whole file.

    The latter are infinite where the server doesn't say them, or compresses on the way, and no size is registered.
    """
    unknown = math.inf if size is None else float(size)
    if answer.status_code != 206:
        known = not _packed(answer) and not math.isinf(_length(answer))
        return 0, _length(answer) if known else unknown
    found = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
    return (int(found[1]), float(found[2])) if found else (-1, unknown)


def _length(answer: requests.Response) -> float:
    text = answer.headers.get("Content-Length", "")
    return float(text) if _LENGTH.fullmatch(text) else math.inf


def _packed(answer: requests.Response) -> bool:
    return answer.headers.get("Content-Encoding", "identity").lower() != "identity"


def _same(answer: requests.Response, validator: str | None) -> bool:
    tag = answer.headers.get("ETag", "")
    return not (tag and validator and validator.startswith('"')) or tag == validator
