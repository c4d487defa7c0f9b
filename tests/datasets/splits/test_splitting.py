"""The split by content: what holds for any set of images."""

from __future__ import annotations

from collections import Counter, defaultdict

from hypothesis import given
from hypothesis import strategies as st

from sparsebench.datasets.splits.keyed import shuffled, uniform
from sparsebench.datasets.splits.splitting import counts, missing, split_by_content

FRACTIONS = st.sampled_from([(0.6, 0.15, 0.25), (0.5, 0.0, 0.5), (0.9, 0.1, 0.0), (0.34, 0.33, 0.33)])
IMAGES = st.lists(st.tuples(st.integers(0, 40).map(lambda i: f"{i:064x}"), st.integers(0, 3)), min_size=1, max_size=120)


@given(images=IMAGES, fractions=FRACTIONS, key=st.randoms())
def test_duplicates_stay_together_and_order_is_nothing(images, fractions, key):
    splits = split_by_content([h for h, _ in images], [label for _, label in images], fractions)
    where = defaultdict(set)
    for (content, _), split in zip(images, splits, strict=True):
        where[content].add(split)
    assert all(len(found) == 1 for found in where.values())
    order = list(range(len(images)))
    key.shuffle(order)
    again = split_by_content([images[i][0] for i in order], [images[i][1] for i in order], fractions)
    assert again == [splits[i] for i in order]


@given(sizes=st.lists(st.integers(1, 60), min_size=1, max_size=4), fractions=FRACTIONS)
def test_stratified(sizes, fractions):
    hashes = [f"{label}-{i}" for label, n in enumerate(sizes) for i in range(n)]
    labels = [label for label, n in enumerate(sizes) for _ in range(n)]
    splits = split_by_content(hashes, labels, fractions)
    for label, n in enumerate(sizes):
        found = Counter(split for split, own in zip(splits, labels, strict=True) if own == label)
        assert (found["train"], found["val"], found["test"]) == counts(n, fractions)


@given(n=st.integers(1, 10_000), fractions=FRACTIONS)
def test_counts(n, fractions):
    train, val, test = counts(n, fractions)
    assert train + val + test == n
    assert train >= 1
    assert min(val, test) >= 0
    if fractions[2] > 0 and n >= 2:
        assert test >= 1
    for count, share in zip((train, val, test), fractions, strict=True):
        assert abs(count - share * n) <= 1.5


def test_missing_names_classes_with_their_size():
    splits = ["train", "train", "test", "train"]
    assert missing(splits, [0, 0, 0, 1], "test") == {1: 1}
    assert missing(splits, [0, 0, 0, 1], "train") == {}


def test_keyed_numbers_are_fixed():
    """The embedded split files stand on these values."""
    assert uniform("a") == int("ca978112ca1bbdca", 16) // 2**12 / 2**52  # the first 64 bits of sha256("a")
    assert shuffled("abcdefgh", "key") == shuffled("hgfedcba", "key") != shuffled("abcdefgh", "other")


@given(st.text(), st.floats(-5, 5), st.floats(0.001, 5))
def test_uniform_stays_in_range(key, low, width):
    assert low <= uniform(key, low, low + width) <= low + width
