"""The options of the commands: one file each, with a function ``add``, and what several commands share."""

from __future__ import annotations

from collections.abc import Mapping

GROUPS: Mapping[str, tuple[str, ...]] = {
    "run the benchmark": ("run", "status", "cancel"),
    "read the results": ("report", "compare", "analyze", "recommend"),
    "exchange results": ("export-results", "verify", "merge"),
    "use what was trained": ("export-model", "predict"),
    "see what there is": ("list", "inspect", "fetch", "doctor", "schema"),
    "make and measure checkpoints": ("prune", "bench"),
    "results of older versions": ("migrate",),
}
"""The commands, in the groups and order of the help; a module here, ``-`` being ``_``, adds its options."""

COMMANDS = tuple(name for names in GROUPS.values() for name in names)
