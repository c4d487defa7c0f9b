"""Full finetuning: every weight of a backbone and a new head trained on a task, the sparsity mask held fixed."""

from .midrun import MidRun
from .training import EpochReport, FinetuneResult, finetune

__all__ = ["EpochReport", "FinetuneResult", "MidRun", "finetune"]
