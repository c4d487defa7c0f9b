"""Small results of slow work, kept on disk by content: a JSON file per key, written whole, checked when it is read."""

from __future__ import annotations

import contextlib
import json
import os
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..common.files import read_regular, write_text
from ..schema import canonical_json, digest
from .limit import CacheWarning

_LARGEST = 2**24


def document_path(cache_dir: Path, kind: str, key: Mapping[str, Any]) -> Path:
    """Return the file of a key's document among those of a kind."""
    return cache_dir / kind / f"{digest(dict(key))}.json"


def read_document(cache_dir: Path | None, kind: str, key: Mapping[str, Any]) -> Any | None:
    """Return the document of a key; None where there is none that can be used.

    Parameters
    ----------
    cache_dir : Path or None
        The root of the caches; None has none.
    kind : str
        The folder below it.
    key : mapping
        All that the document depends on, the version of what makes it included.
    """
    if cache_dir is None:
        return None
    path = document_path(cache_dir, kind, key)
    try:
        content = json.loads(read_regular(path, _LARGEST))
        if canonical_json(content["key"]) != canonical_json(dict(key)) or content["digest"] != digest(content["value"]):
            raise ValueError("it is of another key, or has changed")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        warnings.warn(f"the cached {kind} {path} can't be used ({error}): made again", CacheWarning, stacklevel=2)
        with contextlib.suppress(OSError):
            path.unlink()
        return None
    with contextlib.suppress(OSError):  # a cache that may only be read
        os.utime(path)
    return content["value"]


def read_documents(cache_dir: Path | None, kind: str) -> Iterator[Any]:
    """Yield all documents of a kind, in the order of their files; what can't be used is passed over."""
    if cache_dir is None:
        return
    for path in sorted((cache_dir / kind).glob("*.json")):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
            content = json.loads(read_regular(path, _LARGEST))
            if content["digest"] == digest(content["value"]):
                yield content["value"]


def write_document(cache_dir: Path | None, kind: str, key: Mapping[str, Any], value: Any) -> None:
    """Keep a document; what the disk doesn't take is a :class:`CacheWarning`."""
    if cache_dir is None:
        return
    path = document_path(cache_dir, kind, key)
    try:
        write_text(path, json.dumps({"key": dict(key), "digest": digest(value), "value": value}, indent=1))
    except OSError as error:
        reason = error.strerror or str(error)
        warnings.warn(f"{kind} can't be cached in {path.parent}: {reason}", CacheWarning, stacklevel=2)
