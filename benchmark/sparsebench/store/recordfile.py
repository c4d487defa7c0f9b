"""One record's file: JSON that is the same for the same record, read with a warning where it is damaged."""

from __future__ import annotations

import contextlib
import errno
import json
import math
import re
import warnings
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..common.files import read_regular
from ..schema import SCHEMA_VERSION, ResultsError, RunRecord
from ..schema.upgrade import upgrade_record

_SHAPES = bytes.maketrans(b"123456789E:,[{}]\t\r\n", b"000000000e         ")
"""What a byte becomes before a record is searched for large numbers: digits are alike, and so is what parts them."""
_LARGE_EXPONENT = re.compile(rb"e000+ ")
_LARGE_INTEGER = b" " + 19 * b"0"

_LARGEST = 64 * 2**20  # bytes of a record


class DamagedRecordWarning(UserWarning):
    """A record file that can't be read; its run counts as missing and is run again."""


def to_json(record: RunRecord) -> bytes:
    """Return a record as it is stored."""
    data = _finite(record.model_dump(mode="json"))
    return (json.dumps(data, indent=1, sort_keys=True, ensure_ascii=True, allow_nan=False) + "\n").encode()


def _finite(value: Any) -> Any:
    """Return ``value`` with null in place of what JSON has no number for (the infinite loss of a diverged run)."""
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def load(path: Path | str) -> RunRecord | None:
    """Read one record, of this schema or an older one; a damaged one gives a warning and None, a missing one None."""
    try:
        record = _parse(_read(path), path)
        if record.status == "ok" and record.scores is None:
            raise ValueError("it is finished but has no scores")
    except (OSError, ValueError, RecursionError, TypeError, KeyError, AttributeError) as error:
        if isinstance(error, FileNotFoundError) and not Path(path).is_symlink():
            return None
        warnings.warn(
            f"the record {str(path)!r} is damaged and counts as missing: {_reason(error)}",
            DamagedRecordWarning,
            stacklevel=4,
        )
        return None
    return record


def _parse(text: bytes, path: Path | str) -> RunRecord:
    """Return the record in a file: in one step where it is of this schema and all its numbers are numbers."""
    if not _perhaps_no_numbers(text):
        with contextlib.suppress(ValidationError):  # the slower way says what is wrong
            record = RunRecord.model_validate_json(text)
            if record.schema_version == SCHEMA_VERSION:
                return record
    data = json.loads(text, parse_constant=_number, parse_float=_number, parse_int=_integer)
    if not isinstance(data, dict):
        raise ValueError("it holds no JSON object")
    _refuse_newer(data, path)
    return RunRecord.model_validate(upgrade_record(data))


def _perhaps_no_numbers(text: bytes) -> bool:
    """Return whether JSON may hold numbers that a double or 64 bits can't; also where they are only part of a text.

    This is asked of every record, so it is made of searches for fixed bytes, which take a tenth of a pattern's time.
    """
    if b"NaN" in text or b"Infinity" in text:
        return True
    shapes = text.translate(_SHAPES, b"+-")
    return _LARGE_INTEGER in shapes or _LARGE_EXPONENT.search(shapes) is not None


def preference(record: RunRecord, path: Path | str) -> tuple[bool, str, str]:
    """Return what the greatest of counts where a run has several files: a finished one, then the one started last."""
    return record.status == "ok", record.started, str(path)


def _read(path: Path | str) -> bytes:
    """Read a file; once more where a network file system has lost it because it was replaced meanwhile."""
    try:
        return read_regular(path, _LARGEST)
    except OSError as error:
        if error.errno != errno.ESTALE:
            raise
    return read_regular(path, _LARGEST)


def _number(text: str) -> float:
    """Return a number of JSON's; NaN and infinities are none, also where they are written with digits."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is no number")
    return number


def _integer(text: str) -> int:
    number = int(text)
    if not -(2**63) <= number < 2**63:
        raise ValueError(f"{text[:20]}... is too large")
    return number


def _refuse_newer(data: dict[str, Any], path: Path | str) -> None:
    version = data.get("schema_version")
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise ResultsError(
            f"the record {str(path)!r} has schema version {version}, this sparsebench reads up to {SCHEMA_VERSION}",
            "upgrade sparsebench, or use another results folder",
        )


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return str(error)


def predictions_named_by(path: Path) -> list[str]:
    """Return the names (without folder) of the predictions that a record file names; none where it isn't readable."""
    try:
        data = json.loads(_read(path))
        tests = data.get("tests") or {}
        kept = [data, *(tests.values() if isinstance(tests, dict) else tests)]
        names = [one["predictions"] for one in kept]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []
    return [Path(name).name for name in names if isinstance(name, str) and name]
