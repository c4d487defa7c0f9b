"""Speed on this machine: engines and checkpoints, probes, decoding, finetuning; interleaved, medians with quartiles."""

from .run import PARTS, BenchOptions, BenchResult, run_bench

__all__ = ["PARTS", "BenchOptions", "BenchResult", "run_bench"]
