"""What all schema models share: strictness for people's YAML, leniency for records, canonical JSON."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pydantic import BaseModel, ConfigDict

SCHEMA_VERSION = 2
"""Version of the record and plan layouts; a reader accepts its own version and older ones."""


class Strict(BaseModel):
    """A frozen model for what people write: an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Lenient(BaseModel):
    """A frozen model for what programs wrote: fields of a later version are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


_encoder = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def canonical_json(value: Any) -> str:
    """Serialise ``value`` so that equal values give equal text: sorted keys, no spaces, no NaN."""
    return _encoder.encode(value)


def digest(value: Any) -> str:
    """Return the sha256 (64 hex digits) of the canonical JSON of ``value``."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()
