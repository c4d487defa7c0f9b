"""Statistics without torch: arrays and DataFrames in, intervals, tests and ranks out."""

from .building import build_panels
from .classes import TaskClasses, align
from .comparisons import Comparison, TaskComparison, compare_models
from .components import Components, components
from .intervals import (
    IMAGES,
    REPLICATES,
    SEEDS,
    TASKS,
    Interval,
    accuracy_difference_interval,
    all_intervals,
    interval,
    relative_error_interval,
)
from .pairs import balances, clustered_mcnemar, discordant, holm, mcnemar, welch
from .panels import Panel, Wrong
from .pigeonhole import bootstrap, percentile_interval
from .power import Needed, needed
from .ranks import RankIntervals, critical_difference, friedman, mean_ranks, rank_intervals, win_rates
from .sources import replicates_needed, variance_sources
from .statistics import (
    Linearised,
    accuracies,
    accuracy_difference,
    relative_error_increase_between,
    relative_error_increases,
)
from .without_predictions import SeedsOnly, image_bound, seeds_components, seeds_only

__all__ = [
    "IMAGES",
    "REPLICATES",
    "SEEDS",
    "TASKS",
    "Comparison",
    "Components",
    "Interval",
    "Linearised",
    "Needed",
    "Panel",
    "RankIntervals",
    "SeedsOnly",
    "TaskClasses",
    "TaskComparison",
    "Wrong",
    "accuracies",
    "accuracy_difference",
    "accuracy_difference_interval",
    "align",
    "all_intervals",
    "balances",
    "bootstrap",
    "build_panels",
    "clustered_mcnemar",
    "compare_models",
    "components",
    "critical_difference",
    "discordant",
    "friedman",
    "holm",
    "image_bound",
    "interval",
    "mcnemar",
    "mean_ranks",
    "needed",
    "percentile_interval",
    "rank_intervals",
    "relative_error_increase_between",
    "relative_error_increases",
    "relative_error_interval",
    "replicates_needed",
    "seeds_components",
    "seeds_only",
    "variance_sources",
    "welch",
    "win_rates",
]
