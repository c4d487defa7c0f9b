"""Run a plan in this process, one group after the other."""

from __future__ import annotations

from ..options import RunOptions
from ..plan import Plan
from ..runner import Emit, Loaded, run_group


class InlineExecutor:
    """Runs groups here; the context that executors are made for changes nothing."""

    def __init__(self, context: object = None) -> None:
        pass

    def execute(self, plan: Plan, options: RunOptions, emit: Emit) -> None:
        """Run all groups of ``plan`` in their order; what other processes hold is waited for at the very end."""
        held, loaded = [], Loaded()
        for group in plan.groups:
            left = run_group(group, options, emit, wait=False, loaded=loaded)
            if left:
                held.append(group.model_copy(update={"runs": left}))
        for group in held:
            run_group(group, options, emit, loaded=loaded)
