"""How well it does, against the others and its reference."""

from .lines import of_line

RANK = of_line("rank", "1 plus how many complete entries are better for certain", 20)
ERROR = of_line("relative_error", "mean over tasks of the relative increase in error", 50)
ERROR_LOW = of_line("relative_error_low", "lower end of its interval", 51)
ERROR_HIGH = of_line("relative_error_high", "upper end of its interval", 52)
ERROR_TASKS = of_line("relative_error_tasks", "how many tasks it is a mean over", 53)
ACCURACY = of_line("mean_accuracy", "mean over tasks", 54)
AVERAGE_RANK = of_line("average_rank", "mean over tasks of its rank", 55)
