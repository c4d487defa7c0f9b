"""What a split's fingerprint is made of, so that test labels can be checked without the images.

A fingerprint (``split_sha256``) is a hash of the classes, of the splits ``train`` and ``val`` (one hash each), and of
the ids, labels and image hashes of ``test``. A bundle carries just these. Where their hash is the fingerprint that is
registered for the task, the labels are the task's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeGuard

from ..schema import digest
from .problems import BundleError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from ..datasets import TaskData


@dataclass(frozen=True)
class TestSplit:
    """The test images of a split: ids and labels (int64, shape (n,)), and how many classes there are."""

    __test__ = False  # no class of tests

    ids: tuple[str, ...]
    labels: npt.NDArray[np.int64]
    classes: int


def of_data(data: TaskData) -> TestSplit:
    """Return the test images of a task whose data is here."""
    return TestSplit(data.test.ids, data.test.labels, len(data.classes))


def shown(data: TaskData) -> dict[str, Any]:
    """Return what the fingerprint of a task's data is made of, as a bundle carries it."""
    test = {"ids": list(data.test.ids), "labels": data.test.labels.tolist(), "hashes": list(data.test.hashes)}
    return {"classes": list(data.classes), "train": data.train.sha256, "val": data.val.sha256, "test": test}


def read_split(document: dict[str, Any], fingerprint: str, where: str) -> TestSplit:
    """Return the test images that a fingerprint is made of.

    Raises
    ------
    BundleError
        If the document's parts are of another kind, or their hash isn't the fingerprint.
    """
    import numpy as np

    test = document.get("test")
    names, train, val = (document.get(key) for key in ("classes", "train", "val"))
    if not (isinstance(test, dict) and _texts(names) and isinstance(train, str) and isinstance(val, str)):
        raise BundleError("labels", where, "doesn't say what the split is made of")
    ids, labels, hashes = (test.get(key) for key in ("ids", "labels", "hashes"))
    if not (_texts(ids) and _texts(hashes) and isinstance(labels, list) and len(ids) == len(labels) == len(hashes)):
        raise BundleError("labels", where, "has ids, labels and hashes that don't go together")
    if not all(isinstance(label, int) and 0 <= label < len(names) for label in labels):
        raise BundleError("labels", where, f"has labels that are none of its {len(names)} classes")
    try:
        found = digest({"classes": names, "train": train, "val": val, "test": digest([ids, labels, hashes])})
    except UnicodeEncodeError as error:
        raise BundleError("labels", where, "has text that is none") from error
    if found != fingerprint:
        raise BundleError("labels", where, "is not what the split's fingerprint is made of")
    return TestSplit(tuple(ids), np.array(labels, dtype=np.int64), len(names))


def _texts(value: object) -> TypeGuard[list[str]]:
    return isinstance(value, list) and bool(value) and all(isinstance(item, str) for item in value)
