"""Ask a server for a file: redirects that lead nowhere worse, and which answers are worth another try."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urljoin, urlsplit

import requests
from urllib3.exceptions import HTTPError
from urllib3.util import Retry

from ..common.version import __version__
from .addresses import Wanted
from .errors import TransferError
from .limits import Limits
from .pages import page_reason
from .watch import Watch, scope_of
from .words import shown

_REDIRECTS = {301, 302, 303, 307, 308}
_PASSING = {408, 425, 429, 500, 502, 503, 504}
_LOG_IN = {401, 403}
_NO_RANGE = {400, 412, 416, 431}
_START = 4096
_DAY = 24 * 3600


@contextmanager
def ask(wanted: Wanted, headers: dict[str, str], limits: Limits, watch: Watch) -> Iterator[requests.Response]:
    """Give a server's answer as a context, its body not yet read: the file, the rest of it, or a refusal to go on.

    Raises
    ------
    TransferError
        If there is none, it is an error, or it leads nowhere.
    """
    with watch.session() as session, _follow(session, wanted, headers, limits, watch) as answer:
        if answer.status_code not in (200, 206) and not ("Range" in headers and answer.status_code in _NO_RANGE):
            raise _refusal(answer)
        yield answer


def _follow(
    session: requests.Session, wanted: Wanted, headers: dict[str, str], limits: Limits, watch: Watch
) -> requests.Response:
    url, own = wanted.url, wanted.headers
    ours = {"User-Agent": f"sparsebench/{__version__}", "Accept-Encoding": "identity", "Connection": "close"}
    for _ in range(limits.redirects + 1):
        server = urlsplit(url).hostname or ""
        session.trust_env = scope_of(server) != "loopback"  # a proxy can't see this machine's own servers
        watch.allow(server)
        answer = session.get(
            url,
            headers=ours | headers | own,
            stream=True,
            allow_redirects=False,
            timeout=(limits.connect, None),
        )
        if answer.status_code not in _REDIRECTS:
            return answer
        watch.redirected = True
        answer.close()
        session.close()  # keeps the cookies, but no connection
        target = next_url(url, session.get_redirect_target(answer))
        if urlsplit(target)[:2] != urlsplit(url)[:2]:
            own = {}
        url = target
    raise TransferError(f"more than {limits.redirects} redirects, the last one to {shown(url)}")


def next_url(url: str, location: str | None) -> str:
    """Return where a redirect leads.

    Raises
    ------
    TransferError
        If it leads from https to http, or to what is neither.
    """
    if not location:
        raise TransferError("a redirect without a target")
    target = urljoin(url, location)
    now, then = urlsplit(url).scheme, urlsplit(target).scheme
    if then not in ("http", "https"):
        raise TransferError(f"a redirect to {shown(target)}, which is no web address")
    if now == "https" and then == "http":
        raise TransferError(f"a redirect from https to {shown(target)}, which is not secure")
    return target


def _refusal(answer: requests.Response) -> TransferError:
    status = answer.status_code
    reason = f"the server answered {status} {shown(answer.reason or '')}".rstrip()
    wait = retry_after(answer.headers.get("Retry-After")) if status in Retry.RETRY_AFTER_STATUS_CODES else None
    with suppress(HTTPError, OSError):
        start = answer.raw.read1(_START, decode_content=True)
        if "quota exceeded" in (page_reason(answer.headers.get("Content-Type", ""), start) or ""):
            reason += ": too many have fetched the file lately, try again in a day"
    if status in _LOG_IN:
        reason += ": the file asks for a log-in or isn't public"
    return TransferError(reason, again=status in _PASSING or status > 504, wait=wait)


def retry_after(value: str | None) -> float | None:
    """Return the seconds that a Retry-After header asks for, at most a day; None where it can't be read."""
    with suppress(HTTPError, ValueError, OverflowError, TypeError):
        return None if value is None else min(float(_DAY), Retry().parse_retry_after(value))
    return None
