"""Training images with random labels: what a training memorises, and whether it sees through it.

The experiment is that of the AC/DC code (Peste et al. 2021): some training images get labels drawn uniformly over all
classes, so that one in as many as there are classes stays right. After each epoch the network's accuracy on these
images is logged against the labels that it is trained on (*memorised*) and against the true ones (*recovered*).
"""

from __future__ import annotations

from dataclasses import replace

import torch

from ..schema import InputError
from .upstream import Relabelled, UpstreamData

RELABEL_COLUMNS = ("memorised", "recovered")
"""Columns of the log of a training with random labels, after the others; fractions of the relabelled images."""


def relabel(data: UpstreamData, count: int, seed: int) -> UpstreamData:
    """Return data in which some training images have random labels.

    Parameters
    ----------
    data : UpstreamData
        The data with true labels.
    count : int
        How many training images get a random label; they are drawn without replacement.
    seed : int
        What the draw follows from.

    Raises
    ------
    InputError
        If there are fewer training images.
    """
    n = len(data.train_labels)
    if not 0 < count <= n:
        raise InputError(f"--relabel {count} of {n} training images", f"give a whole number from 1 to {n}")
    # epochs take the seeds from here up (see Batches), far fewer than 2**20 of them
    generator = torch.Generator().manual_seed((seed << 20) + 2**20 - 1)
    indices = torch.randperm(n, generator=generator)[:count].sort().values
    drawn = torch.randint(len(data.classes), (count,), generator=generator)
    labels = data.train_labels.clone()
    true = labels[indices]
    labels[indices] = drawn
    return replace(data, train_labels=labels, relabelled=Relabelled(indices, drawn, true))
