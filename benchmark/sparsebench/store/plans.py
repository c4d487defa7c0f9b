"""Plans on disk, below ``plans/`` of a results folder; a command that is repeated writes the same file again."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

from pydantic import ValidationError

from ..common import files
from ..schema import PlanFile, RunError, digest
from ..schema.upgrade import upgrade_plan

_LARGEST = 2**30  # bytes of a plan


def write_plan(folder: Path, plan: PlanFile) -> Path:
    """Write a plan into ``folder`` under the digest of its record keys.

    Raises
    ------
    RunError
        If it can't be written.
    """
    path = folder / f"{digest([run.record_key for group in plan.groups for run in group.runs])[:16]}.json"
    try:
        files.write_text(path, plan.model_dump_json(indent=1) + "\n")
    except OSError as error:
        raise RunError(f"can't write the plan {str(path)!r}: {error.strerror or error}", "free space there") from error
    return path


def read_plans(folder: Path) -> list[PlanFile]:
    """Return the plans in ``folder``, oldest first; a damaged file gives a warning and is passed over."""
    plans = []
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else ():
        try:
            document = json.loads(files.read_regular(path, _LARGEST))
            plans.append(PlanFile.model_validate(upgrade_plan(document)))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            reason = f"{error.error_count()} mistakes" if isinstance(error, ValidationError) else str(error)
            warnings.warn(f"the plan {str(path)!r} is damaged and passed over: {reason}", stacklevel=2)
    return sorted(plans, key=lambda plan: plan.created)
