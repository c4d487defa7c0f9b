"""How far the plans of a results folder are: counts of plans against records, claims and Slurm's queue.

Nothing here loads torch, so that a look at finished work answers at once.
"""

from .counting import STATES, Overview, State, Trouble, look_over

__all__ = ["STATES", "Overview", "State", "Trouble", "look_over"]
