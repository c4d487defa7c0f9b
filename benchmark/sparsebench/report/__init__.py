"""Reports: a results table in, statistics, leaderboard, tables and figures out; nothing here needs torch."""

from .aggregate import Aggregate, aggregate
from .compare import compare
from .comparison import render_comparison
from .contents import NameWarning, by_content
from .doubts import Doubts, read_doubts
from .leaderboard import leaderboard, write_leaderboard
from .profile import profile, render_profile
from .speed import bench_beside, read_bench
from .terminal import render_terminal
from .write import Report, write_report

__all__ = [
    "Aggregate",
    "Doubts",
    "NameWarning",
    "Report",
    "aggregate",
    "bench_beside",
    "by_content",
    "compare",
    "leaderboard",
    "profile",
    "read_bench",
    "read_doubts",
    "render_comparison",
    "render_profile",
    "render_terminal",
    "write_leaderboard",
    "write_report",
]
