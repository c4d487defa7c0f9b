"""Run a frozen backbone over a split, in its order, and return one float32 array; a cached one if its key is known."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ... import extensions
from ...caching import Stream, read
from ...caching.entries import MAPPED_ABOVE
from ...common import interruption
from ...common.progress import Progress, Throttle
from ...common.timings import stage, waiting
from ...datasets.base import Split
from ...datasets.images.crops import evaluation_views
from ...datasets.images.resize import resize_version
from ...engines import check_name, signature
from ...engines.kept import KeptEngine
from ...schema import SCHEMA_VERSION, Numerics, RunError, digest

if TYPE_CHECKING:
    from ...datasets.images.transforms import Transform
    from ...models.backbone import Backbone, BackboneInfo

EXTRACTOR_VERSION = 1
"""Raised when a change of this module or of an engine can change the numbers; old cache entries are then not used."""

_PACKAGES = ("torch", "torchvision", "timm")

FEATURE_POINT = "head_input"
"""Where features are read: the input of the classifier that was taken off."""


@dataclass(frozen=True)
class Features:
    """Features of a split, in its order.

    Parameters
    ----------
    x : ndarray of float32, shape (n, d), C-contiguous
        One row per image; mapped from the cache, and read-only, where it is large.
    y : ndarray of int64, shape (n,)
        Class indices.
    ids : tuple of str
        The images' names.
    seconds : float
        Time of the extraction itself, also where the array came out of the cache.
    cached : bool
        Whether it did.
    """

    x: npt.NDArray[np.float32]
    y: npt.NDArray[np.int64]
    ids: tuple[str, ...]
    seconds: float
    cached: bool


def extract(
    backbone: Backbone,
    split: Split,
    transform: Transform,
    numerics: Numerics,
    *,
    cache_dir: Path | None,
    batch_size: int = 256,
    progress: Progress | None = None,
    workers: int | None = 0,
    engine: KeptEngine | None = None,
) -> Features:
    """Return the features of every image of ``split``.

    Parameters
    ----------
    backbone : Backbone
        The frozen network, its architecture, dimension and hashes.
    split : Split
        The images, in the order of the result.
    transform : Transform
        Decoded image to the network's input; it holds the preprocessing of the checkpoint.
    numerics : Numerics
        Engine, device, precision, threads (which the caller has set).
    cache_dir : Path or None
        The root of the caches; None neither reads nor writes one.
    batch_size : int
        Images a batch; memory grows with it.
    progress : callable, optional
        ``progress(images done, images)``.
    workers : int or None
        Threads that decode the next batch while the backbone runs on this one; with 0, images are decoded in between.
        None: one where images are files. They change the speed, never the numbers.
    engine : KeptEngine, optional
        The engine of an extraction before; one that fits is used again.

    Raises
    ------
    UnknownNameError
        If there is no engine of this name.
    RunError
        If a feature isn't finite, or the backbone doesn't give ``feature_dim`` numbers per image.
    """
    check_name(numerics.engine)
    shape = (len(split), backbone.info.feature_dim)
    key = cache_key(backbone.info, split, transform, numerics, batch_size)
    if cache_dir is not None:
        with stage("cache"):
            entry = read(cache_dir, "features", key, shape, np.float32)
        if entry is not None:
            return Features(entry.array, split.labels, split.ids, entry.seconds, cached=True)
    started = time.perf_counter()
    rows = outputs(
        backbone,
        split,
        transform,
        numerics,
        gives=("features", shape[1]),
        cache_dir=cache_dir,
        batch_size=batch_size,
        progress=progress,
        workers=workers,
        engine=engine,
    )
    if cache_dir is None:
        x = _in_memory(rows, shape)
        return Features(x, split.labels, split.ids, time.perf_counter() - started, cached=False)
    with Stream(cache_dir, "features", key, shape, np.float32) as stream:
        held = _collected(rows, shape, stream)
        seconds = time.perf_counter() - started
        with stage("cache"):
            mapped = stream.finish(seconds)
        if held is None:
            held = np.array(stream.written()) if mapped is None else mapped
    return Features(held, split.labels, split.ids, seconds, cached=False)


def outputs(
    backbone: Backbone,
    split: Split,
    transform: Transform,
    numerics: Numerics,
    *,
    gives: tuple[str, int],
    cache_dir: Path | None,
    batch_size: int = 256,
    progress: Progress | None = None,
    workers: int | None = 0,
    engine: KeptEngine | None = None,
) -> Iterator[npt.NDArray[np.float32]]:
    """Yield what a network gives for a split's images, batch by batch: features, or logits where it has its head.

    The parameters are those of :func:`extract`; ``gives`` is what the network gives, and how many numbers per image.
    Decoded crops are cached, its output isn't.

    Raises
    ------
    RunError
        If a number isn't finite, or there are more or fewer per image.
    """
    import torch

    from ...engines.context import device_of

    what, columns = gives
    decoder, device = decoder_of(split, numerics), device_of(numerics)
    size = transform.preprocess.input_size
    with stage("load"):
        shape = (min(batch_size, len(split)), 3, size, size)
        run = (engine or KeptEngine()).prepare(backbone.module, numerics, shape)
    views = evaluation_views(
        split,
        transform,
        batch_size,
        decoder=numerics.decoder,
        decoder_version=decoder,
        cache_dir=cache_dir,
        workers=workers,
    )
    for images in Throttle(progress, len(split)).over(waiting("decode", views)):
        with stage("backbone"):
            batch = transform.normalise(
                images, device=device, dtype=torch.float32, channels_last=numerics.channels_last
            )
        with stage("backbone"):
            output = run(batch).cpu()
        if output.shape != (len(images), columns):
            raise RunError(
                f"{backbone.info.arch} gave {what} of shape {tuple(output.shape)} for {len(images)} images, "
                f"not ({len(images)}, {columns})",
                "the backbone must pool its output to one vector per image",
            )
        found: npt.NDArray[np.float32] = output.numpy()
        if bad := int(np.count_nonzero(~np.isfinite(found))):
            raise RunError(
                f"{bad} of {found.size} {what} of {backbone.info.arch} are not finite",
                "check the checkpoint for NaN or huge weights (`sparsebench inspect`), or use --precision fp32",
            )
        yield found
        interruption.check()


def _collected(
    rows: Iterable[npt.NDArray[np.float32]], shape: tuple[int, int], stream: Stream
) -> npt.NDArray[np.float32] | None:
    """Write rows to the cache; return them where they are few, or where the disk doesn't take them all."""
    x = np.empty(shape, np.float32) if 4 * shape[0] * shape[1] <= MAPPED_ABOVE else None
    row = 0
    for part in rows:
        stream.append(part)
        if x is None and not stream.open:
            x = np.empty(shape, np.float32)
            x[:row] = stream.written()
        if x is not None:
            x[row : row + len(part)] = part
        row += len(part)
    return x


def _in_memory(rows: Iterable[npt.NDArray[np.float32]], shape: tuple[int, int]) -> npt.NDArray[np.float32]:
    x = np.empty(shape, dtype=np.float32)
    row = 0
    for part in rows:
        x[row : row + len(part)] = part
        row += len(part)
    return x


def cache_key(
    info: BackboneInfo, split: Split, transform: Transform, numerics: Numerics, batch_size: int
) -> Mapping[str, Any]:
    """Return all that the numbers depend on, by content and never by a name that could mean something else tomorrow."""
    from ...engines.context import device_class, device_of

    engine: extensions.Engine = extensions.get("engines", numerics.engine)
    return {
        "schema_version": SCHEMA_VERSION,
        "extractor": EXTRACTOR_VERSION,
        "arch": info.arch,
        "weights": info.weights_sha256,
        "mask": info.mask_sha256,
        "feature_point": FEATURE_POINT,
        "split": split.sha256,
        "samples": digest(list(split.hashes)),
        "transform": transform.sha256,
        "decoder": decoder_of(split, numerics),
        "device_class": device_class(device_of(numerics)),
        "numerics": numerics.model_dump(mode="json", exclude={"device", "decoder", "processes"}),
        "engine": signature(numerics.engine),
        "batch_norm": "folded",
        "batch_size": batch_size,
        "packages": {name: version(name) for name in (*_PACKAGES, *engine.packages)},
    }


def decoder_of(split: Split, numerics: Numerics) -> str:
    """Return what images are decoded and resized with; images that aren't files are as they are."""
    pillow = f"pillow {version('pillow')}"
    fast = numerics.decoder == "fast" and split.file is not None
    return f"torchvision {version('torchvision')}, {resize_version()}, {pillow}" if fast else pillow
