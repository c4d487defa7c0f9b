"""How far the plans of a results folder are: from its submissions, Slurm's queue, its claims and its records.

Nothing here loads torch, so that a look at finished work answers at once.
"""

from .looking import look_over
from .overview import STATES, Overview, State, Trouble

__all__ = ["STATES", "Overview", "State", "Trouble", "look_over"]
