"""Fetch a checkpoint's file: one process at a time, one address after the other, in place only when it is right."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from glob import escape
from pathlib import Path

from filelock import FileLock, Timeout

from ..common.progress import Progress
from ..schema import Checkpoint, CheckpointError
from .archive import extract
from .errors import ByHandError, DiskError, FetchError, TransferError, disk, foreign
from .limits import Limits
from .locating import WrongHashError, check_hash, checkpoint_path, find_state, locate, remedy
from .part import Part
from .pins import read_pin
from .transfer import Order, transfer
from .words import host

Note = Callable[[str], None]


@dataclass(frozen=True)
class Fetcher:
    """Fetches checkpoint files.

    Parameters
    ----------
    limits : Limits
        How long to wait, and how often to try.
    progress : callable, optional
        ``progress(done, total)`` of the file being fetched, in bytes; the total is infinite where it isn't known.
    note : callable, optional
        Called with one line of text for each further try and each wait.
    """

    limits: Limits = field(default_factory=Limits)
    progress: Progress | None = None
    note: Note | None = None
    _silent: set[str] = field(default_factory=set, init=False, repr=False)

    def fetch(self, checkpoint: Checkpoint) -> Path:
        """Return the path of a checkpoint's file, fetched if it isn't there.

        A file in the checkpoints folder that isn't what its entry says is fetched again; one of the user's own isn't
        touched.

        Raises
        ------
        ByHandError
            If no address gives it; the message says what to get from where, and where to put it.
        FetchError
            If every address fails; the message names them all.
        CheckpointError
            If what is there is not the registered file.
        """
        source, place = checkpoint.file, checkpoint_path(checkpoint.file)
        if find_state(source) == "here":
            try:
                return locate(checkpoint)
            except WrongHashError:
                if not (source.path.startswith("cache:") and source.addresses):
                    raise
                self._note(f"{checkpoint.id}: {place.name} is not the registered file: fetched again")
        elif not source.addresses:
            error = ByHandError if source.manual else FetchError
            raise error(f"checkpoint {checkpoint.id}: {place} is missing", remedy(checkpoint))
        read_pin(place)  # a lock file that can't be read is said before anything is fetched
        with self._alone(checkpoint, place):
            with suppress(CheckpointError):  # another process may have fetched it meanwhile
                return locate(checkpoint)
            self._from_any(checkpoint, place)
        return place

    def _from_any(self, checkpoint: Checkpoint, place: Path) -> None:
        failures: list[str] = []
        hint = checkpoint.file.manual or f"try again later, or put the file at {place} by other means"
        for address in checkpoint.file.addresses:
            try:
                with foreign("it can't be fetched"):
                    self._from_one(checkpoint, place, address)
            except DiskError:
                raise
            except TransferError as error:
                failures.append(f"{host(address)}: {error.reason}")
                if error.silent:
                    self._silent.add(host(address))
            except CheckpointError as error:
                failures.append(f"{host(address)}: {error.message}")
                if not isinstance(error, WrongHashError) and error.hint:
                    hint = error.hint
            else:
                for old in place.parent.glob(f"{escape(place.name)}.????????.part*"):
                    with suppress(OSError):
                        old.unlink()
                return
            self._note(f"{checkpoint.id}: {failures[-1]}")
        raise FetchError(f"checkpoint {checkpoint.id} can't be fetched: {'; '.join(failures)}", hint)

    def _from_one(self, checkpoint: Checkpoint, place: Path, address: str) -> None:
        source, part = checkpoint.file, Part(place, address)
        hashed = bool(source.sha256 or source.sha256_prefix)
        limits = self.limits
        if host(address) in self._silent:  # don't wait long for it with every file
            limits = replace(limits, tries=min(2, limits.tries))
        name = f"{checkpoint.id}: {host(address)}"
        size = None if source.member else source.size
        order = Order(part, limits, hashed, size, self.progress, lambda text: self._note(f"{name}: {text}"))
        if transfer(order):
            try:
                return self._put_in_place(checkpoint, part, place)
            except DiskError:
                raise
            except (CheckpointError, TransferError):
                self._note(f"{checkpoint.id}: the pieces of {place.name} don't fit together: fetched again")
            transfer(order)
        self._put_in_place(checkpoint, part, place)

    def _put_in_place(self, checkpoint: Checkpoint, part: Part, place: Path) -> None:
        """Unpack what was fetched, check it, and only then give it its name; what is wrong is deleted."""
        source, ready = checkpoint.file, part.path
        try:
            if source.member:
                ready = part.path.with_name(part.path.name + ".member")
                extract(part.path, source.member, ready, source.size)
            check_hash(checkpoint, ready, place, part.address)
            with disk(place):
                with ready.open("rb+") as handle:
                    os.fsync(handle.fileno())
                ready.replace(place)
        except DiskError:
            raise
        except (CheckpointError, TransferError):
            part.discard()
            raise
        finally:
            if ready != part.path:
                with suppress(OSError):
                    ready.unlink()
        part.discard()

    @contextmanager
    def _alone(self, checkpoint: Checkpoint, place: Path) -> Iterator[None]:
        """Keep other processes from fetching the same file; the system frees the lock of a process that dies."""
        with disk(place):
            place.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(place.with_name(f".{place.name}.lock"))
            try:
                lock.acquire(timeout=0)
            except Timeout:
                self._note(f"{checkpoint.id}: another process is fetching it: waiting")
                lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def _note(self, text: str) -> None:
        if self.note is not None:
            self.note(text)
