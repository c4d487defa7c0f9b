"""What ran."""

from .lines import of_line

TASKS = of_line("n_tasks", "tasks that it ran", 60)
GROUP_TASKS = of_line("group_tasks", "tasks that any entry of its group ran", 61)
SEEDS_MIN = of_line("seeds_min", "least number of seeds on a task", 62)
SEEDS_MAX = of_line("seeds_max", "largest number of seeds on a task", 63)
FAILED = of_line("n_failed", "runs that failed", 64)
COMPLETE = of_line("complete", "whether it ran all tasks of its group", 65)
