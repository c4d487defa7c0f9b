"""Statistics without torch: arrays and DataFrames in, intervals, tests and ranks out."""

from .agreement import agreement, churn, error_consistency, exemplars, forgotten, gained
from .building import build_panels
from .calibration import Reliability, Scored, expected_calibration_error, reliability, score
from .cka import linear_cka
from .classes import TaskClasses, align
from .comparisons import Comparison, TaskComparison, compare_models
from .components import Components, components
from .divergence import jensen_shannon_values, kl_values
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
from .means import mean_interval
from .pairs import balances, clustered_mcnemar, discordant, holm, mcnemar, welch
from .panels import Panel, Wrong
from .per_class import ClassChange, class_changes, class_impact, confusion, impact_p_values
from .pigeonhole import bootstrap, percentile_interval
from .power import Needed, needed
from .ranks import RankIntervals, critical_difference, friedman, mean_ranks, rank_intervals, win_rates
from .sources import detectable_difference, pooled_sd, replicates_needed, standard_deviations, variance_sources
from .statistics import (
    Linearised,
    accuracies,
    accuracy_difference,
    relative_error_increase_between,
    relative_error_increases,
)
from .temperature import cross_fitted, fit_temperature, halves
from .without_predictions import SeedsOnly, image_bound, seeds_components, seeds_only

__all__ = [
    "IMAGES",
    "REPLICATES",
    "SEEDS",
    "TASKS",
    "ClassChange",
    "Comparison",
    "Components",
    "Interval",
    "Linearised",
    "Needed",
    "Panel",
    "RankIntervals",
    "Reliability",
    "Scored",
    "SeedsOnly",
    "TaskClasses",
    "TaskComparison",
    "Wrong",
    "accuracies",
    "accuracy_difference",
    "accuracy_difference_interval",
    "agreement",
    "align",
    "all_intervals",
    "balances",
    "bootstrap",
    "build_panels",
    "churn",
    "class_changes",
    "class_impact",
    "clustered_mcnemar",
    "compare_models",
    "components",
    "confusion",
    "critical_difference",
    "cross_fitted",
    "detectable_difference",
    "discordant",
    "error_consistency",
    "exemplars",
    "expected_calibration_error",
    "fit_temperature",
    "forgotten",
    "friedman",
    "gained",
    "halves",
    "holm",
    "image_bound",
    "impact_p_values",
    "interval",
    "jensen_shannon_values",
    "kl_values",
    "linear_cka",
    "mcnemar",
    "mean_interval",
    "mean_ranks",
    "needed",
    "percentile_interval",
    "pooled_sd",
    "rank_intervals",
    "relative_error_increase_between",
    "relative_error_increases",
    "relative_error_interval",
    "reliability",
    "replicates_needed",
    "score",
    "seeds_components",
    "seeds_only",
    "standard_deviations",
    "variance_sources",
    "welch",
    "win_rates",
]
