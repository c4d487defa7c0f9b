"""Run a plan in this process, one group after the other."""

from __future__ import annotations

from ..plan import Plan
from ..runner import Emit, RunOptions, run_group


class InlineExecutor:
    """Runs groups here."""

    def execute(self, plan: Plan, options: RunOptions, emit: Emit) -> None:
        """Run all groups of ``plan`` in their order."""
        for group in plan.groups:
            run_group(group, options, emit)
