"""What can be added to sparsebench: probes, engines, checkpoint formats, executors, corruptions, leaderboard columns.

Each is declared by one object, in one file: ours beside their code, others in somebody else's package (through entry
points ``sparsebench.probes`` and so on) or in a file that is named on the command line.
"""

from .base import Extension, Settings, Work, load
from .discovery import ExtensionWarning
from .kinds import (
    SEVERITIES,
    CheckpointFormat,
    Corruption,
    Engine,
    Executor,
    ExecutorContext,
    LeaderboardColumn,
    Probe,
)
from .table import KINDS, Kind, find, get, given, known, load_files, loaded_files, names, resolve

__all__ = [
    "KINDS",
    "SEVERITIES",
    "CheckpointFormat",
    "Corruption",
    "Engine",
    "Executor",
    "ExecutorContext",
    "Extension",
    "ExtensionWarning",
    "Kind",
    "LeaderboardColumn",
    "Probe",
    "Settings",
    "Work",
    "find",
    "get",
    "given",
    "known",
    "load",
    "load_files",
    "loaded_files",
    "names",
    "resolve",
]
