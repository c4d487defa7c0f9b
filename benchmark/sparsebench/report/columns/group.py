"""What an entry is compared within."""

from .lines import of_line

MODE = of_line("mode", "linear, full or upstream", 10)
PROTOCOL = of_line("protocol", "the hyperparameters' name", 11)
PROBE = of_line("probe", "linear mode's classifier", 12)
SUITE = of_line("suite", "the suite that the tasks are of", 13)
ARCH = of_line("arch", "the architecture", 14)
