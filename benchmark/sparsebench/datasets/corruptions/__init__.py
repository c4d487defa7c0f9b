"""Corrupted test sets: the corruptions of ImageNet-C and CIFAR-C, made here, the same for every checkpoint.

Written from the published definitions (Hendrycks and Dietterich, *Benchmarking Neural Network Robustness to Common
Corruptions and Perturbations*, 2019) and their constants. The libraries that make them have the constants of 224 pixels
alone, draw from one global generator, and differ from the published sets in one or more corruptions.
"""
