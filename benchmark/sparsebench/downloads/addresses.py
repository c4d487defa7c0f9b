"""From an entry's address to what is asked of which server."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from .errors import TransferError
from .offline import hub_is_offline

_DRIVE = "https://drive.usercontent.google.com/download?id={}&export=download&confirm=t"
_DRIVE_LINK = re.compile(r"https://drive\.google\.com/(?:file/d/([\w-]+)|(?:open|uc)\?(?:.*&)?id=([\w-]+))")
_DRIVE_FOLDER = re.compile(r"https://drive\.google\.com/drive/")
_HUB = re.compile(r"hf:([\w.-]+/[\w.-]+)/([^\s@]+)@([\w./-]+)")


@dataclass(frozen=True)
class Wanted:
    """What is asked of a server: a URL, headers for its host alone, and whether the host is Google Drive."""

    url: str
    headers: dict[str, str] = field(default_factory=dict)


def resolve(address: str) -> Wanted:
    """Return what to ask for: ``hf:`` and ``gdrive:`` addresses and Google Drive's page links become plain URLs.

    A large file on Google Drive comes with a question; ``confirm=t`` answers it.

    Raises
    ------
    TransferError
        If the address names a folder, or the Hub may not be used.
    """
    if hub := _HUB.fullmatch(address):
        return _on_the_hub(*hub.groups())
    if address.startswith("gdrive:"):
        return Wanted(_DRIVE.format(address.removeprefix("gdrive:")))
    if link := _DRIVE_LINK.match(address):
        return Wanted(_DRIVE.format(link.group(1) or link.group(2)))
    if _DRIVE_FOLDER.match(address):
        raise TransferError("the address is a folder, not a file")
    return Wanted(address)


def _on_the_hub(repository: str, name: str, revision: str) -> Wanted:
    from huggingface_hub import get_token, hf_hub_url

    if hub_is_offline():
        raise TransferError("HF_HUB_OFFLINE forbids it")
    url = hf_hub_url(repository, name, revision=revision)
    token = get_token() if urlsplit(url).scheme == "https" else None
    return Wanted(url, {"Authorization": f"Bearer {token}"} if token else {})
