"""Names of things made into names of files: readable, safe on every file system, different for different names."""

from __future__ import annotations

import hashlib
import re

_UNSAFE = re.compile(r"[^A-Za-z0-9_.+-]")
_RESERVED = re.compile(r"(?i)^(con|prn|aux|nul|com\d|lpt\d)(\.|$)")
_LONGEST = 80


def safe_name(name: str) -> str:
    """Return ``name`` where it is a harmless file name, else a cleaned one that ends in a digest of the original.

    Harmless: at most 80 of ``A-Z a-z 0-9 _ . + -``, without a leading or trailing dot, and no device name of Windows.
    """
    cleaned = _UNSAFE.sub("_", name).strip(".")
    if cleaned == name and 0 < len(name) <= _LONGEST and not _RESERVED.match(name):
        return name
    return f"{cleaned[: _LONGEST - 9] or '_'}-{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"
