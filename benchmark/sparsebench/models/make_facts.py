"""Write the facts of the embedded checkpoints again, by hand: ``python -m sparsebench.models.make_facts``.

Needed whenever one of the checkpoints, their entries or :data:`.facts.FACTS_VERSION` changes; a test says so.
"""

from __future__ import annotations

import json
from typing import Any

from ..common.files import write_text
from ..common.paths import package_file
from ..registry import load_registry
from ..schema import digest
from .facts import EMBEDDED, Facts, facts_key
from .loading import load_entry


def embedded() -> dict[str, Any]:
    """Return the facts of every registered checkpoint that comes with the package, by the digests of their keys."""
    found = {}
    for entry in load_registry().checkpoints.values():
        if entry.file.path.startswith("package:"):
            found[digest(facts_key(entry))] = Facts.of(load_entry(entry)).model_dump(mode="json")
    return dict(sorted(found.items()))


if __name__ == "__main__":
    write_text(package_file(EMBEDDED), json.dumps(embedded(), indent=1) + "\n")
