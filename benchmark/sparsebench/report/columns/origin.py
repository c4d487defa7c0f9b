"""Where its runs are from."""

from .lines import of_line

VERDICT = of_line(
    "verdict", "of runs from bundles, what is known of all of them: claimed, rescored or rerun", 66, sparse=True
)
