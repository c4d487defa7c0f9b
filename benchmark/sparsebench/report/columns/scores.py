"""How well it does, against the others and its reference."""

from .lines import of_line

RANK_LOW = of_line("rank_low", "the best rank that it may have, with 95 % confidence for all ranks at once", 15)
RANK_HIGH = of_line("rank_high", "the worst rank that it may have", 16)
RANKED = of_line("ranked", "how many entries it is ranked among", 17)
ERROR = of_line("relative_error", "mean over tasks of the relative increase in error", 42)
ERROR_LOW = of_line("relative_error_low", "lower end of its interval", 43)
ERROR_HIGH = of_line("relative_error_high", "upper end of its interval", 44)
WHAT_VARIES = of_line("scope", "what that interval covers, such as seeds and test images", 45)
IMAGE_BOUND = of_line("image_bound", "what the test images may add, where predictions are missing", 46)
SEEDS_LOW = of_line("seeds_low", "lower end of the interval over seeds alone", 47)
SEEDS_HIGH = of_line("seeds_high", "upper end of that", 48)
IMAGES_LOW = of_line("images_low", "lower end of the interval over test images alone", 49)
IMAGES_HIGH = of_line("images_high", "upper end of that", 50)
TASKS_LOW = of_line("tasks_low", "lower end of the interval over tasks: another task of this kind", 51)
TASKS_HIGH = of_line("tasks_high", "upper end of that", 52)
ERROR_TASKS = of_line("relative_error_tasks", "how many tasks it is a mean over", 53)
ACCURACY = of_line("mean_accuracy", "mean over tasks", 54)
AVERAGE_RANK = of_line("average_rank", "mean over tasks of its rank", 55)
