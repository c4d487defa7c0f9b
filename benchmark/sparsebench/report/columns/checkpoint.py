"""What is known about the checkpoint."""

from .lines import of_line

CHECKPOINT = of_line("checkpoint", "its id", 21)
METHOD = of_line("method", "the pruning method", 30)
VARIANT = of_line("variant", "the method's variant", 31)
SPARSITY = of_line("sparsity", "nominal, a fraction", 32)
MEASURED = of_line("sparsity_measured", "as counted in the file", 33)
SCOPE = of_line("sparsity_scope", "what the sparsity is a fraction of", 34)
DISTRIBUTION = of_line("distribution", "how it is spread over layers", 35)
NM = of_line("nm", "the N:M pattern", 36)
REFERENCE = of_line("reference", "the dense checkpoint that it is compared with", 37)
TWIN = of_line("twin_of", "the sparse checkpoint that it is the dense twin of", 38)
UPSTREAM = of_line("upstream_top1", "its own accuracy upstream", 39)
REPLICATES = of_line("replicates", "how many upstream trainings it covers", 40)
