"""Ask a server for a file: time limits, redirects, and which answers are worth another try."""

from __future__ import annotations

import ipaddress
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from urllib.parse import urljoin, urlsplit

import requests

from ..version import __version__
from .addresses import Wanted
from .errors import TransferError
from .pages import page_reason, shown

_REDIRECTS = {301, 302, 303, 307, 308}
_PASSING = {408, 425, 429, 500, 502, 503, 504}
_LOG_IN = {401, 403}
_START = 4096
_CONNECTION = re.compile(r"^<?\w[\w.]*Connection(Pool)?[( ].*?[)>]: ")


@dataclass(frozen=True)
class Limits:
    """How long to wait, and how often to try.

    Parameters
    ----------
    connect, stall : float
        Seconds to wait for a connection, and for the next bytes.
    tries : int
        Tries an address, the first one included.
    backoff : float
        Seconds before the second try; doubled before each further one.
    longest_wait : float
        Most seconds between two tries; a server that asks for more is given up.
    redirects : int
        Most redirects of one request.
    """

    connect: float = 15.0
    stall: float = 60.0
    tries: int = 5
    backoff: float = 1.0
    longest_wait: float = 120.0
    redirects: int = 10

    def pause(self, tried: int) -> float:
        """Return the seconds to wait after ``tried`` failed tries."""
        return min(self.backoff * 2 ** (tried - 1), self.longest_wait)


@contextmanager
def ask(wanted: Wanted, headers: dict[str, str], limits: Limits) -> Iterator[requests.Response]:
    """Give a server's answer of status 200, 206 or 416, its body not yet read, as a context.

    Raises
    ------
    TransferError
        If there is none, it is an error, or it leads nowhere.
    """
    with requests.Session() as session, _follow(session, wanted, headers, limits) as answer:
        yield _checked(answer)


def _follow(session: requests.Session, wanted: Wanted, headers: dict[str, str], limits: Limits) -> requests.Response:
    url, own = wanted.url, wanted.headers
    for _ in range(limits.redirects + 1):
        session.trust_env = not is_loopback(url)  # a proxy can't see this machine's own servers
        answer = _get(session, url, headers | own, limits)
        if answer.status_code not in _REDIRECTS:
            return answer
        target = next_url(url, answer.headers.get("Location"))
        answer.close()
        session.close()  # keeps the cookies; a connection kept open could end just when it is used again
        if urlsplit(target).netloc != urlsplit(url).netloc:
            own = {}
        url = target
    raise TransferError(f"more than {limits.redirects} redirects, the last one to {shown(url)}", again=False)


def next_url(url: str, location: str | None) -> str:
    """Return where a redirect leads.

    Raises
    ------
    TransferError
        If it leads from https to http, or to what is neither.
    """
    if not location:
        raise TransferError("a redirect without a target", again=False)
    target = urljoin(url, location)
    now, then = urlsplit(url).scheme, urlsplit(target).scheme
    if then not in ("http", "https"):
        raise TransferError(f"a redirect to {shown(target)}, which is no web address", again=False)
    if now == "https" and then == "http":
        raise TransferError(f"a redirect from https to {shown(target)}, which is not secure", again=False)
    return target


def is_loopback(url: str) -> bool:
    """Return whether a URL's server is this machine."""
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _get(session: requests.Session, url: str, headers: dict[str, str], limits: Limits) -> requests.Response:
    own = {"User-Agent": f"sparsebench/{__version__}", "Accept-Encoding": "identity"}
    try:
        return session.get(
            url, headers=own | headers, stream=True, allow_redirects=False, timeout=(limits.connect, limits.stall)
        )
    except requests.exceptions.SSLError as error:
        raise TransferError(f"no secure connection: {innermost(error)}", again=False) from error
    except requests.exceptions.ConnectTimeout as error:
        raise TransferError(f"no connection within {limits.connect:g} s", again=True, silent=True) from error
    except requests.exceptions.Timeout as error:
        raise TransferError(f"no answer within {limits.stall:g} s", again=True) from error
    except requests.exceptions.ConnectionError as error:
        raise TransferError(f"no connection: {innermost(error)}", again=True, silent=True) from error
    except (requests.exceptions.RequestException, ValueError) as error:
        raise TransferError(f"the address can't be used: {innermost(error)}", again=False) from error


def _checked(answer: requests.Response) -> requests.Response:
    status = answer.status_code
    if status in (200, 206, 416):
        return answer
    reason = f"the server answered {status} {shown(answer.reason or '')}".rstrip()
    wait = retry_after(answer.headers.get("Retry-After")) if status in (429, 503) else None
    with suppress(requests.exceptions.RequestException):
        start = next(answer.iter_content(_START), b"")
        if "quota exceeded" in (page_reason(answer.headers.get("Content-Type", ""), start) or ""):
            reason += ": too many have fetched the file lately, try again in a day"
    if status in _LOG_IN:
        reason += ": the file asks for a log-in or isn't public"
    raise TransferError(reason, again=status in _PASSING or status > 504, wait=wait)


def retry_after(value: str | None) -> float | None:
    """Return the seconds that a Retry-After header asks for, given as a number or a date; None where it is neither."""
    if value is None:
        return None
    with suppress(ValueError):
        return max(0.0, float(int(value)))
    with suppress(ValueError, TypeError):
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    return None


def innermost(error: BaseException) -> str:
    """Return the last cause of a library's error in words: the message of the error that it wraps."""
    while True:
        inner = getattr(error, "reason", None) or (error.args[-1] if error.args else None)
        if not isinstance(inner, BaseException):
            break
        error = inner
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return shown(_CONNECTION.sub("", text))
