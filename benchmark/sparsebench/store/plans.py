"""Plans on disk, below ``plans/`` of a results folder; a command that is repeated writes the same file again."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from ..common import files
from ..schema import PlanFile, RunError, digest
from ..schema.upgrade import upgrade_plan

_LARGEST = 2**30  # bytes of a document

Document = TypeVar("Document", bound=BaseModel)


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
    found = read_documents(folder, "plan", lambda text: PlanFile.model_validate(upgrade_plan(json.loads(text))))
    return sorted(found, key=lambda plan: plan.created)


def read_documents(folder: Path, what: str, parse: Callable[[bytes], Document]) -> list[Document]:
    """Return the JSON documents of a folder, by name; a damaged one gives a warning and is passed over.

    Parameters
    ----------
    folder : Path
        It may not exist. Hidden files are temporary ones.
    what : str
        What a document is called in warnings.
    parse : callable
        From a file's bytes to the document.
    """
    found = []
    for path in sorted(folder.glob("[!.]*.json")) if folder.is_dir() else ():
        try:
            found.append(parse(files.read_regular(path, _LARGEST)))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            mistakes = f"{error.error_count()} mistakes" if isinstance(error, ValidationError) else str(error)
            reason = getattr(error, "strerror", None) or mistakes
            warnings.warn(f"the {what} {str(path)!r} is damaged and passed over: {reason}", stacklevel=3)
    return found
