"""Decoded crops on disk: decoding or rendering is paid once for all checkpoints that see a data set alike.

An entry is one uint8 array ``(n, 3, S, S)``, mapped when it is read (:mod:`sparsebench.caching`). It is
made while it is used for the first time.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...caching import Stream, read
from ...schema import digest
from ..base import Split
from .batches import evaluation_batches
from .transforms import TRANSFORM_VERSION, Transform

if TYPE_CHECKING:
    import torch

CROPS_BUDGET = 4 * 2**30
"""Bytes of one split's crops that are kept at most: some 28,000 images at 224 pixels."""


def evaluation_views(
    split: Split,
    transform: Transform,
    batch_size: int,
    *,
    decoder: str,
    decoder_version: str,
    cache_dir: Path | None,
    workers: int | None = 0,
    budget: int = CROPS_BUDGET,
) -> Iterator[torch.Tensor]:
    """Yield a split's images in order, as evaluation sees them, from the cache where they are there.

    Images that are files or rendered are cached; others are in memory already.

    Parameters
    ----------
    decoder, decoder_version : str
        What decodes, and its version: part of the entry's key.
    cache_dir : Path or None
        The root of the caches; None neither reads nor writes one.
    workers : int or None
        Threads that decode (see :func:`.loading.evaluation_batches`).
    budget : int
        Bytes above which a split isn't cached.

    Yields
    ------
    Tensor
        uint8, shape (B, 3, S, S); the last batch may be smaller.
    """
    size = transform.preprocess.input_size
    shape = (len(split), 3, size, size)
    if split.source is None:
        images = evaluation_batches(split, transform, batch_size, workers=workers, decoder=decoder)
    else:
        before = evaluation_views(
            split.source,
            transform,
            batch_size,
            decoder=decoder,
            decoder_version=decoder_version,
            cache_dir=cache_dir,
            workers=workers,
            budget=budget,
        )
        images = _altered(before, split)
    slow = split.file is not None or split.rendered is not None
    if cache_dir is None or not slow or not 0 < int(np.prod(shape)) <= budget:
        yield from images
        return
    version = decoder_version if split.rendered is None else f"{split.rendered}, {decoder_version}"
    key = _key(split, transform, version)
    there = read(cache_dir, "crops", key, shape, np.uint8, mapped=True)
    if there is None:
        yield from _kept(images, Stream(cache_dir, "crops", key, shape, np.uint8))
        return
    import torch

    for start in range(0, len(split), batch_size):
        yield torch.from_numpy(np.array(there.array[start : start + batch_size]))


def _altered(before: Iterator[torch.Tensor], split: Split) -> Iterator[torch.Tensor]:
    """Yield batches of crops, each crop changed as the split says."""
    import torch

    alter, done = split.alter, 0
    assert alter is not None  # noqa: S101 - a split with a source has it
    for batch in before:
        crops = np.ascontiguousarray(batch.numpy().transpose(0, 2, 3, 1))
        changed = np.stack([alter(done + i, crop) for i, crop in enumerate(crops)])
        yield torch.from_numpy(np.ascontiguousarray(changed.transpose(0, 3, 1, 2)))
        done += len(batch)


def _key(split: Split, transform: Transform, decoder_version: str) -> dict[str, Any]:
    geometry = transform.preprocess.model_dump(mode="json", exclude={"mean", "std"})
    made_by = {"transform": TRANSFORM_VERSION, "decoder": decoder_version, "geometry": geometry}
    return made_by | {"samples": digest(list(split.hashes))}


def _kept(images: Iterator[torch.Tensor], stream: Stream) -> Iterator[torch.Tensor]:
    """Yield images, and leave them as an entry if all of them are used."""
    started = time.perf_counter()
    with stream:
        for batch in images:
            stream.append(batch.numpy())
            yield batch
        stream.finish(time.perf_counter() - started)
