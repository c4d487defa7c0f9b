"""Print the lowest versions of the dependencies that pyproject.toml allows, as requirements: for trying them once.

``python scripts/lowest.py > lowest.txt && pip install -r lowest.txt . && pytest``; with ``--extra NAME`` those of an
extra, too. What these packages need in turn is left to pip. The standard library is enough.
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"
_REQUIREMENT = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)(\[[^\]]*\])?\s*>=\s*([0-9][0-9.]*)")
_OWN = re.compile(r"sparsebench\[([a-z0-9]+)\]")


def lowest(requirements: Sequence[str]) -> list[str]:
    """Return ``NAME==VERSION`` for each requirement ``NAME>=VERSION``.

    Raises
    ------
    ValueError
        If one has no lowest version, or more than one bound.
    """
    found = []
    for requirement in requirements:
        match = _REQUIREMENT.fullmatch(requirement.strip())
        if match is None:
            raise ValueError(f"{requirement!r} is not NAME>=VERSION")
        found.append(f"{match.group(1)}{match.group(2) or ''}=={match.group(3)}")
    return found


def requirements_of(project: dict[str, list[str]], dependencies: Sequence[str], extras: Sequence[str]) -> list[str]:
    """Return the dependencies, and those of extras that have a lowest version; extras of our own are followed."""
    found = list(dependencies)
    for extra in extras:
        for requirement in project[extra]:
            own = _OWN.fullmatch(requirement)
            if own:
                found += requirements_of(project, (), [own.group(1)])
            elif ">=" in requirement:
                found.append(requirement)
    return list(dict.fromkeys(found))


def main(argv: Sequence[str] | None = None) -> int:
    """Print one requirement per line."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--extra", action="append", default=[], metavar="NAME", help="an extra whose packages to add")
    arguments = parser.parse_args(argv)
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    optional = project["optional-dependencies"]
    if unknown := [name for name in arguments.extra if name not in optional]:
        parser.error(f"there is no extra {unknown[0]!r}; there are: {', '.join(optional)}")
    print("\n".join(lowest(requirements_of(optional, project["dependencies"], arguments.extra))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
