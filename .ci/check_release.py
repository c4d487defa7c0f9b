"""Check that a version is said alike before it is released: in pyproject.toml, CITATION.cff, CHANGELOG.md and the tag.

Without a tag only what must hold at any time is checked. The standard library is enough.
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def problems(root: Path, tag: str | None = None) -> list[str]:
    """Return what contradicts the version, a line each."""
    version = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    citation = (root / "CITATION.cff").read_text(encoding="utf-8")
    changes = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    found = []
    cited = re.search(r"^version: (\S+)$", citation, re.MULTILINE)
    if cited is None or cited.group(1) != version:
        found.append(f"CITATION.cff has version {cited.group(1) if cited else None}, pyproject.toml {version}")
    heading = re.search(r"^## (\S+) \((\S+)\)$", changes, re.MULTILINE)
    if heading is None or heading.group(1) != version:
        found.append(f"CHANGELOG.md begins with {heading.group(1) if heading else None}, not with {version}")
    released = re.search(r"^date-released: (\S+)$", citation, re.MULTILINE)
    if heading is not None and (released.group(1) if released else "unreleased") != heading.group(2):
        found.append(
            f"CHANGELOG.md says {heading.group(2)}, CITATION.cff {released.group(1) if released else 'no date'}"
        )
    if tag is not None and tag != f"v{version}":
        found.append(f"the tag is {tag}, not v{version}")
    if tag is not None and released is None:
        found.append("CITATION.cff has no date-released, so that CHANGELOG.md has none")
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Print what is wrong; 1 if anything is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tag", nargs="?", help="the tag of the release, such as v0.1.0")
    found = problems(ROOT, parser.parse_args(argv).tag)
    for line in found:
        print(f"error: {line}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
