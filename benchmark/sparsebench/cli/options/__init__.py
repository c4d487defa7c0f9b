"""The options of the commands: one file each, with a function ``add``, and what several commands share."""

COMMANDS = (
    "run",
    "fetch",
    "list",
    "inspect",
    "status",
    "cancel",
    "report",
    "compare",
    "export_model",
    "predict",
    "bench",
    "prune",
    "migrate",
    "doctor",
)
"""The commands, in the order of the help; each is also the name of the module here that adds its options."""
