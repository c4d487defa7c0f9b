"""Reports: a results table in, statistics, leaderboard, tables and figures out; nothing here needs torch."""

from .aggregate import Aggregate, SupersededWarning, aggregate
from .leaderboard import leaderboard, write_leaderboard
from .terminal import render_terminal
from .write import write_report

__all__ = [
    "Aggregate",
    "SupersededWarning",
    "aggregate",
    "leaderboard",
    "render_terminal",
    "write_leaderboard",
    "write_report",
]
