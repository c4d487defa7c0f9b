"""The connections of one try at one address, watched: they end when they are too slow, or lead where they must not."""

from __future__ import annotations

import ipaddress
import math
import socket
import threading
import time
from contextlib import suppress
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter

from ..schema import SparsebenchError
from .errors import TransferError
from .limits import SLOWEST, Limits
from .words import innermost


class Watch:
    """A context for one try: ends its connection when it is too slow, and puts every error into words.

    The time limit of a socket starts again with each byte, so a server can hold it for ever, in its headers as in a
    body, one byte after the other. Here a thread looks at what really came, and shuts the socket down.

    Parameters
    ----------
    limits : Limits
        What is too slow.
    seconds : float
        What is left of the time for this address.
    """

    def __init__(self, limits: Limits, seconds: float) -> None:
        self._limits, self._end = limits, time.monotonic() + seconds
        self._window, self._came = math.inf, 0  # when the current window began, and what came in it
        self._answered = False
        self._sockets: list[socket.socket] = []
        self._scope = "public"
        self.redirected = False
        self._ended: TransferError | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="download-watch", daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._over.set()
        self._thread.join()
        for each in self._sockets:
            each.close()
        if isinstance(error, SparsebenchError) or not isinstance(error, Exception | None):
            return
        if self._ended is not None:  # without an error too: a body without length ends like a connection that is shut
            raise self._ended from error
        if error is not None and not isinstance(error, TransferError):
            raise self._in_words(error) from error

    def session(self) -> requests.Session:
        """Return a session whose connections are watched."""
        session = requests.Session()
        for scheme in ("http://", "https://"):
            session.mount(scheme, _Adapter(self))
        return session

    def advance(self, count: int) -> None:
        """Note that ``count`` bytes of the file have come."""
        self._answered = True
        self._came += count
        if self._came >= SLOWEST * self._limits.stall:
            self._window, self._came = time.monotonic(), 0

    def connecting(self) -> None:
        """Note that a connection is being made, which has a time limit of its own."""
        self._window = math.inf

    def connected(self, connection: socket.socket) -> None:
        """Watch a connection from its first byte on; a copy of its socket is below TLS too."""
        self._sockets.append(connection.dup())
        self._window, self._came = time.monotonic(), 0
        if self._ended is not None:
            raise self._ended

    def allow(self, address: str) -> None:
        """Check where a connection leads: to the server that the entry names, then only to its like or to public ones.

        Raises
        ------
        TransferError
            If a server has redirected to a machine of the user's own network.
        """
        scope = scope_of(address)
        if not self.redirected:
            self._scope = scope
        elif scope not in ("public", self._scope):
            raise TransferError(f"a redirect to {address}, a {scope} address: only an entry itself may name one")

    def _look(self) -> None:
        while not self._over.wait(min(self._limits.stall / 4, 1.0)):
            now, stall = time.monotonic(), self._limits.stall
            if now > self._end:
                self._ended = TransferError(f"the file was not complete within {self._limits.total:g} s")
            elif now - self._window > stall:
                slow = f"fewer than {SLOWEST:,} bytes per second" if self._answered else "no answer"
                self._ended = TransferError(f"{slow} for {stall:g} s", again=True)
            else:
                continue
            for each in self._sockets:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
            return

    def _in_words(self, error: Exception) -> TransferError:
        known, reason = requests.exceptions, innermost(error)
        if self._answered:
            if isinstance(error, (urllib3.exceptions.ProtocolError, urllib3.exceptions.SSLError, OSError)):
                return TransferError(f"the connection broke off early: {reason}", again=True)
            return TransferError(f"a body that can't be read: {reason}", bad=True)
        if isinstance(error, known.SSLError):
            return TransferError(f"no secure connection: {reason}")
        if isinstance(error, known.ConnectionError):
            return TransferError(f"no connection: {reason}", again=True, silent=True)
        if isinstance(error, (known.InvalidURL, urllib3.exceptions.LocationParseError, UnicodeError)):
            return TransferError("the address is not a valid URL")
        return TransferError(f"an answer that can't be read: {reason}")


class _Adapter(HTTPAdapter):
    """An adapter of requests whose connections a :class:`Watch` knows."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        super().__init__()

    def get_connection_with_tls_context(self, *args: Any, **options: Any) -> Any:
        """Return a pool of watched connections."""
        pool: Any = super().get_connection_with_tls_context(*args, **options)
        watch, kind = self._watch, pool.ConnectionCls

        class WatchedConnection(kind):  # type: ignore[misc, valid-type]
            def _new_conn(self) -> socket.socket:
                watch.connecting()
                connection: socket.socket = super()._new_conn()
                watch.connected(connection)
                if not self.proxy:  # else the peer is the proxy, which the user chose
                    watch.allow(str(connection.getpeername()[0]))
                return connection

        pool.ConnectionCls = WatchedConnection
        return pool


def scope_of(host: str) -> str:
    """Return from where an address can be reached: ``loopback``, ``link-local``, ``private`` or ``public``.

    ``localhost`` is a loopback address; of other names nothing is known before they are connected to: ``public``.
    """
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return "loopback" if host == "localhost" else "public"
    address = getattr(address, "ipv4_mapped", None) or address
    if address.is_loopback or address.is_unspecified:
        return "loopback"
    if address.is_link_local:
        return "link-local"
    return "public" if address.is_global else "private"
