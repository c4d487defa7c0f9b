"""Records and plans of schema 1, read as schema 2.

What changed: a microbatch belongs to the protocol, since batch normalisation sees it; a protocol that chooses on
validation names the metric that it chooses by; records have a key of their own; a suite is not a property of a run. A
run that none of this touches keeps its id.
"""

from __future__ import annotations

from typing import Any

from .base import SCHEMA_VERSION


def upgrade_record(data: dict[str, Any]) -> dict[str, Any]:
    """Return a record's fields as the current schema has them."""
    if data.get("schema_version") != 1:
        return data
    return data | {"spec": upgrade_spec(data.get("spec")), "schema_version": SCHEMA_VERSION}


def upgrade_plan(data: dict[str, Any]) -> dict[str, Any]:
    """Return a plan's fields as the current schema has them."""
    if data.get("schema_version") != 1:
        return data
    groups = [group | {"runs": [upgrade_spec(run) for run in group["runs"]]} for group in data["groups"]]
    return data | {"groups": groups, "schema_version": SCHEMA_VERSION}


def upgrade_spec(spec: Any) -> Any:
    """Return the fields of a run of schema 1 as the current schema has them; anything else is left to the schema."""
    if not isinstance(spec, dict) or not isinstance(spec.get("protocol"), dict):
        return spec
    numerics, protocol = spec.get("numerics"), dict(spec["protocol"])
    name = spec.get("protocol_name")
    microbatch = numerics.get("microbatch") if isinstance(numerics, dict) else None
    batch = protocol.get("batch_size")
    if spec.get("mode") == "full" and isinstance(microbatch, int) and isinstance(batch, int) and microbatch < batch:
        protocol["microbatch"] = microbatch
        name = f"{name}+microbatch={microbatch}"
    if _selects(protocol):
        protocol.setdefault("select_by", spec.get("metric"))
    return spec | {"protocol": protocol, "protocol_name": name}


def _selects(protocol: dict[str, Any]) -> bool:
    """Return whether something is chosen: of a grid, several penalties or numbers of neighbours, or the best epoch."""
    penalties, neighbours = protocol.get("l2"), protocol.get("neighbours")
    several = isinstance(penalties, dict) and penalties.get("count", 1) != 1
    choices = isinstance(neighbours, dict) and len(neighbours.get("k", ())) > 1
    return bool(protocol.get("grid")) or several or choices or protocol.get("eval_test") == "each_epoch"
