"""Recognise a web page, or an error document, that a server gives in place of a file."""

from __future__ import annotations

import html
import re

from .words import shown

_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)
_CODE = re.compile(r"<Code>(.*?)</Code>", re.DOTALL)
_QUOTA = ("quota exceeded", "too many users have viewed or downloaded this file")
_TEXT_TYPES = ("text/html", "application/xhtml", "application/xml", "text/xml", "application/json")


def page_reason(content_type: str, start: bytes) -> str | None:
    """Return what a server gave instead of a file, in words; None where it looks like a file.

    The bytes decide: no checkpoint or archive starts like a document, and some servers call every file text.

    Parameters
    ----------
    content_type : str
        The answer's Content-Type, or an empty text.
    start : bytes
        The body's first bytes, a few thousand of them.
    """
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    kind = content_type.partition(";")[0].strip().lower()
    declared = kind.startswith(_TEXT_TYPES) and b"\0" not in start
    if not declared and not text.startswith(b"<"):
        return None
    words = text.decode("utf-8", errors="replace")
    if any(sign in words.lower() for sign in _QUOTA):
        return "the server answered that too many have fetched the file lately (quota exceeded): try again in a day"
    if kind.endswith("json") or (not text.startswith(b"<") and text.startswith((b"{", b"["))):
        return f"the server answered with a text instead of a file: {shown(words)}"
    if (code := _CODE.search(words)) and "<html" not in words.lower():
        return f"the server answered with an error document, code '{shown(code.group(1))}', instead of a file"
    title = _TITLE.search(words)
    titled = f", titled '{shown(html.unescape(title.group(1)))}'," if title else ""
    return (
        f"the server answered with a web page{titled} instead of a file: the link is dead, or asks for a log-in or a"
        " confirmation"
    )
