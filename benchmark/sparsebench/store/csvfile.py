"""Plain CSV, exact in both directions: UTF-8, line feeds, numbers with as many digits as they need.

Texts may come from strangers' files, and a spreadsheet takes one that begins with ``=`` for a formula. Such a text is
written with an apostrophe before it, which spreadsheets read as "this is text" and :func:`read_csv` takes away again.
Control characters are spelled out, which is not undone.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..common.files import read_regular
from ..schema import ResultsError
from ..schema.text import printable

_FORMULA = re.compile(r"'*[=+\-@]")


def to_csv(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return the text of a table; None, NaN and the empty text are all an empty field."""
    lines = [",".join(map(_field, header))]
    lines += [",".join(map(_field, values)) for values in rows]
    return "\n".join(lines) + "\n"


def read_csv(path: Path) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of a CSV file, as text.

    Raises
    ------
    ResultsError
        If it can't be read, is no CSV, or has a row of another length than its header.
    """
    csv.field_size_limit(2**30)
    try:
        text = io.StringIO(read_regular(path).decode("utf-8-sig"), newline="")
        rows = [fields for fields in csv.reader(text, strict=True) if fields]
    except OSError as error:
        raise ResultsError(f"can't read {str(path)!r}: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ResultsError(
            f"{str(path)!r} is not a CSV file: {error}", "give a results folder or a tidy CSV file"
        ) from error
    if not rows:
        raise ResultsError(f"{str(path)!r} is empty", "give a results folder or a tidy CSV file")
    header, *body = ([_unquoted(text) for text in fields] for fields in rows)
    for number, fields in enumerate(body, start=2):
        if len(fields) != len(header):
            raise ResultsError(f"{str(path)!r}, row {number}: {len(fields)} fields for {len(header)} columns")
    return header, body


def _field(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    text = repr(float(value)) if isinstance(value, float) else str(value)
    if isinstance(value, str):
        text = printable(text)
        text = f"'{text}" if _FORMULA.match(text) and not _is_number(text) else text
    if any(c in text for c in ',"\r\n') or text != text.strip():
        return '"' + text.replace('"', '""') + '"'
    return text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _unquoted(text: str) -> str:
    """Return a field without the apostrophe that was put before a formula."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text[1:]) else text
