"""How alike the features of two backbones are, stage by stage: linear CKA on a task's test images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ..analysis import linear_cka
from ..common.paths import datasets_dir
from ..models.entries import find_entry
from ..registry import Registry, load_registry
from ..registry.selection import select_tasks
from ..runs.prefetch import fetch_missing

if TYPE_CHECKING:
    from torch import Tensor

    from ..datasets.base import Split
    from ..models.backbone import Backbone

__all__ = ["Similarity", "similarity"]

_BATCH = 250


@dataclass(frozen=True)
class Similarity:
    """The CKA of two backbones after one stage.

    Parameters
    ----------
    task, stage : str
        Where: ``features`` is the input of the head.
    n : int
        Test images.
    cka : float
        Linear CKA of both checkpoints.
    chance : float
        The same with one side's images shuffled: what so few images give for features that have nothing in common.
    replicates_a, replicates_b : float
        CKA of a checkpoint and another upstream training of it; NaN where none is registered.
    """

    task: str
    stage: str
    n: int
    cka: float
    chance: float
    replicates_a: float
    replicates_b: float


def similarity(
    first: str | Path,
    second: str | Path,
    tasks: list[str],
    *,
    images: int = 2000,
    data_dir: str | Path | None = None,
    offline: bool = False,
) -> list[Similarity]:
    """Compare the features of two backbones by linear CKA (Kornblith et al. 2019), by task and stage.

    Both see the same test images, each with its own preprocessing. Stages are compared that both have by name, so
    checkpoints of one architecture are compared throughout, others at ``features``.

    Parameters
    ----------
    first, second : str or Path
        Ids or files.
    tasks : list of str
        Task ids.
    images : int
        At most so many test images per task, evenly spread over them.
    data_dir : path, optional
        Where data sets live.
    offline : bool
        Fetch nothing.

    Raises
    ------
    InputError
        If a name is unknown, or a checkpoint or the data can't be used.
    """
    root = Path(data_dir) if data_dir is not None else datasets_dir()
    registry = load_registry((), (), root)
    names = (str(first), str(second))
    beside = [_replicate_of(name, registry) for name in names]
    networks = {name: _load(name, registry, offline) for name in (*names, *filter(None, beside))}
    from ..datasets import open_task

    found: list[Similarity] = []
    for name in tasks:
        (task,) = select_tasks([name], registry, registry.suite("mini"), root)
        test = open_task(task, root, None).test
        few = test.take(np.unique(np.linspace(0, len(test) - 1, min(images, len(test))).round().astype(np.int64)))
        features = {key: _features(network, few) for key, network in networks.items()}
        found += _compare(task.id, len(few), [features[n] for n in names], [features.get(n or "") for n in beside])
    return found


def _compare(
    task: str,
    n: int,
    own: list[dict[str, npt.NDArray[np.float32]]],
    replicates: list[dict[str, npt.NDArray[np.float32]] | None],
) -> Iterator[Similarity]:
    order = np.random.default_rng(0).permutation(n)
    a, b = own
    for stage in (name for name in a if name in b):
        again = [
            float("nan") if other is None else linear_cka(mine[stage], other[stage])
            for mine, other in zip(own, replicates, strict=True)
        ]
        yield Similarity(
            task, stage, n, linear_cka(a[stage], b[stage]), linear_cka(a[stage], b[stage][order]), again[0], again[1]
        )


def _replicate_of(name: str, registry: Registry) -> str | None:
    """Return another registered upstream training of a registered checkpoint."""
    stem, _, number = name.rpartition("_r")
    base = stem if stem and number.isdecimal() else name
    family = [base, *(f"{base}_r{k}" for k in range(1, 10))]
    return next((other for other in family if other != name and other in registry.checkpoints), None)


def _load(name: str, registry: Registry, offline: bool) -> Backbone:
    from ..models.loading import load_entry

    entry = find_entry(name, registry, None)
    fetch_missing(entry, offline=offline)
    return load_entry(entry)


def _features(network: Backbone, split: Split) -> dict[str, npt.NDArray[np.float32]]:
    import torch

    from ..datasets.images.crops import evaluation_views
    from ..datasets.images.transforms import Transform
    from ..transfer.features.depth import features_by_depth

    transform = Transform(network.preprocess)
    views = evaluation_views(split, transform, _BATCH, decoder="pillow", decoder_version="", cache_dir=None, workers=0)

    def batches() -> Iterator[Tensor]:
        for view in views:
            yield transform.normalise(view, device=torch.device("cpu"), dtype=torch.float32, channels_last=True)

    return features_by_depth(network.module.eval(), batches())
