"""Cut a set of images into train, val and test by content: stratified, and duplicates stay together."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Literal

import numpy as np

from .keyed import shuffled

SplitName = Literal["train", "val", "test"]


def split_by_content(
    hashes: Sequence[str], labels: Sequence[int], fractions: tuple[float, float, float]
) -> list[SplitName]:
    """Assign each image to a split.

    Within a class the distinct contents are put in an order given by their hashes and cut by ``fractions``; so the
    result depends on neither names nor order. Images with equal content go to one split, even if they have different
    labels (they are then dealt out with the smallest label). Each class gives at least one content to train, and to
    test if test's fraction is not zero, as far as it has that many.

    Parameters
    ----------
    hashes : sequence of str
        Content hash of each image.
    labels : sequence of int
        Class of each image.
    fractions : tuple of float
        Shares of train, val and test.
    """
    home: dict[str, int] = {}
    for content, label in zip(hashes, labels, strict=True):
        home[content] = min(label, home.get(content, label))
    members: defaultdict[int, list[str]] = defaultdict(list)
    for content, label in home.items():
        members[label].append(content)
    chosen: dict[str, SplitName] = {}
    for contents in members.values():
        n_train, n_val, _ = counts(len(contents), fractions)
        for i, content in enumerate(shuffled(contents, "split")):
            chosen[content] = "train" if i < n_train else "val" if i < n_train + n_val else "test"
    return [chosen[content] for content in hashes]


def counts(n: int, fractions: tuple[float, float, float]) -> tuple[int, int, int]:
    """Return how many of ``n`` contents go to train, val and test."""
    test = min(max(1, round(n * fractions[2])), n - 1) if fractions[2] > 0 else 0
    val = min(round(n * fractions[1]), n - 1 - test) if n else 0
    return n - val - test, max(val, 0), max(test, 0)


def missing(assigned: Sequence[SplitName], labels: Sequence[int], split: SplitName) -> dict[int, int]:
    """Return the classes that have no image in ``split``, with their number of images."""
    there = {label for name, label in zip(assigned, labels, strict=True) if name == split}
    sizes = Counter(int(label) for label in np.asarray(labels))
    return {label: n for label, n in sorted(sizes.items()) if label not in there}
