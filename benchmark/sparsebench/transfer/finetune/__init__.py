"""Full finetuning: every weight of a backbone and a new head trained on a task, the sparsity mask held fixed."""

from .cell import EpochReport, FinetuneResult
from .training import finetune, train_together
from .training_state import TrainingState

__all__ = ["EpochReport", "FinetuneResult", "TrainingState", "finetune", "train_together"]
