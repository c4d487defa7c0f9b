"""Full finetuning: every weight of a backbone and a new head trained on a task, the sparsity mask held fixed."""

from .training import FinetuneResult, finetune

__all__ = ["FinetuneResult", "finetune"]
