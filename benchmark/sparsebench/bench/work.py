"""What else a run does, timed: probes on synthetic features, decoding of JPEG files, a step of finetuning."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from .. import extensions
from ..datasets.base import Split
from ..datasets.images.batches import evaluation_batches
from ..datasets.images.transforms import Transform
from ..engines.choice import torch_threads
from ..models import masks
from ..models.backbone import Backbone
from ..models.loading import load_entry
from ..registry import builtin_protocols
from ..schema import Checkpoint, InputError, Numerics, Preprocess
from ..transfer import probes
from ..transfer.finetune.model import Classifier, make_classifier, make_optimizer
from .timing import Spread, Work, in_turns, ratios, seconds_of

Row = dict[str, Any]

IMAGES, DIMENSION, CLASSES = 3680, 2048, 37
"""Of the synthetic features: as many as a small task's, of a ResNet-50."""


def synthetic_features(n: int, d: int, classes: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Draw features (n, d) as after a ReLU, around centres in 256 dimensions, and their classes (n,)."""
    source = torch.Generator().manual_seed(seed)
    shared = torch.Generator().manual_seed(1)
    mixing = torch.randn(256, d, generator=shared) / 16
    centres = torch.randn(classes, 256, generator=shared) * 0.6
    y = torch.arange(n) % classes
    hidden = centres[y] + torch.randn(n, 256, generator=source)
    x = torch.relu(hidden @ mixing + 0.3 * torch.randn(n, d, generator=source) - 0.3)
    return (x * (0.45 / x.mean())).contiguous(), y


def measure_probe(name: str, threads: int, turns: int, size: tuple[int, int, int] | None = None) -> list[Row]:
    """Return the row of one probe, its whole fit with choice and test: of one seed, and for ``sgd`` of five too."""
    n, d, classes = size or (IMAGES, DIMENSION, CLASSES)
    x, y = synthetic_features(n, d, classes)
    t, u = synthetic_features(max(classes, n // 4), d, classes, 1)
    works = {f"{name}, {k} seed{'s' if k > 1 else ''}": range(k) for k in ((1, 5) if name == "sgd" else (1,))}
    protocol = extensions.get("probes", name).protocol_name
    fit = partial(probes.fit, x, y, t, u, protocol=protocol)
    with torch_threads(threads):
        times = in_turns({label: partial(fit, seeds=list(s)) for label, s in works.items()}, turns, warm=0)
    detail = f"{n} x {d} features, {classes} classes, {protocol}"
    return [_row("probes", label, detail, times[label]) for label in works]


def probe_names() -> list[str]:
    """Return the probes that are measured."""
    return [name for name in extensions.names("probes") if extensions.get("probes", name).missing() is None]


def photographs(folder: Path, count: int) -> list[Path]:
    """Write JPEGs of 500 x 375 pixels, cut from photographs that scikit-image carries."""
    from skimage import data

    rng = np.random.default_rng(0)
    sources = [Image.fromarray(image) for image in (data.astronaut(), data.coffee(), data.chelsea(), data.rocket())]
    paths = []
    for k in range(count):
        source = sources[k % len(sources)]
        left, top = (int(rng.integers(0, max(1, side - 200))) for side in source.size)
        paths.append(folder / f"{k}.jpg")
        source.crop((left, top, *source.size)).resize((500, 375)).save(paths[-1], quality=90)
    return paths


def measure_decoding(threads: int, turns: int, count: int = 64) -> list[Row]:
    """Return one row per decoder: JPEG files to crops of 224 pixels, on one thread, and the fast one on several."""
    from ..datasets.images.decode import read_rgb

    with tempfile.TemporaryDirectory() as folder, torch_threads(1):
        paths = photographs(Path(folder), count)
        split = Split(
            ids=tuple(path.name for path in paths),
            labels=np.zeros(count, dtype=np.int64),
            hashes=tuple(path.name for path in paths),
            load=lambda i: read_rgb(paths[i]),
            file=paths.__getitem__,
        )
        ways = {"pillow": ("pillow", 0), "fast": ("fast", 0)}
        if threads > 1:
            ways[f"fast, --workers {threads}"] = ("fast", threads)

        def decode(decoder: str, workers: int) -> None:
            for _ in evaluation_batches(split, Transform(Preprocess()), 32, workers=workers, decoder=decoder):
                pass

        times = in_turns({name: partial(decode, *way) for name, way in ways.items()}, turns)
    detail = "JPEG files of 500 x 375 pixels, resize 256, crop 224"
    return [
        _row("decoding", name, detail, times[name]) | _rate(times[name], count, times["pillow"], "pillow")
        for name in ways
    ]


def measure_step(entry: Checkpoint, batch: int, threads: int, turns: int, device: str) -> list[Row]:
    """Return rows of a finetuning step of a checkpoint (forward, backward, optimizer), and of holding its mask.

    On the CPU an engine that trains the checkpoint has a row of its own, whose ratio is to torch's step.
    """
    backbone = load_entry(entry)
    size = backbone.preprocess.input_size
    with torch_threads(threads):
        model = Classifier(backbone, CLASSES, 0).to(device)
        found = backbone.masks
        whole, held = step_times(model, model.features, found, batch, size, turns, device)
    detail = f"batch {batch}, {size} px, {CLASSES} classes, on {device}"
    row = _row("finetuning", f"{entry.id}, a step", detail, whole) | _rate(whole, batch)
    shares = Spread.of([mask / step for mask, step in zip(held, whole, strict=True)])
    mask = _row("finetuning", f"{entry.id}, its mask", detail, held)
    rows = [row, mask | {"ratio": shares.median, "ratio_to": "a step"}]
    if device != "cpu":
        return rows
    with torch_threads(threads):
        steps = engine_steps(backbone, batch, threads)
        times = in_turns(steps, turns) if len(steps) > 1 else {}
    return rows + [
        _row("finetuning", f"{entry.id}, a step of {name}", detail, taken)
        | _rate(taken, batch, times["torch"], "a step of torch")
        for name, taken in times.items()
        if name != "torch"
    ]


def engine_steps(backbone: Backbone, batch: int, threads: int) -> dict[str, Work]:
    """Return a finetuning step of a backbone by torch, and by each engine here that trains it."""
    protocol = builtin_protocols().protocol("cvpr22-full", "full")
    steps: dict[str, Work] = {}
    for name, engine in extensions.known("engines").items():
        if name != "torch" and (engine.train is None or engine.missing() is not None):
            continue
        numerics = Numerics(engine=name, threads=threads, channels_last=True)
        size = backbone.preprocess.input_size
        try:
            if engine.check_training is not None:
                extensions.load(engine.check_training)(backbone.module, (batch, 3, size, size))
            model = make_classifier(backbone, CLASSES, 0, numerics).train()
        except InputError:
            continue
        steps[name] = step_of(model, make_optimizer(model, protocol), batch, size)
    return steps


def step_of(model: nn.Module, optimizer: torch.optim.Optimizer, batch: int, size: int, device: str = "cpu") -> Work:
    """Return a whole step over random images."""
    images = torch.randn(batch, 3, size, size, device=device).to(memory_format=torch.channels_last)
    labels = torch.arange(batch, device=device) % CLASSES

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()

    return step


def step_times(
    model: nn.Module, masked: nn.Module, kept: dict[str, Tensor], batch: int, size: int, turns: int, device: str = "cpu"
) -> tuple[list[float], list[float]]:
    """Return seconds of finetuning steps, without their masks, and of holding the masks of ``masked`` after each."""
    layout = model.to(memory_format=torch.channels_last).train()
    protocol = builtin_protocols().protocol("cvpr22-full", "full")
    optimizer = make_optimizer(layout, protocol)  # type: ignore[arg-type]
    masks.apply(masked, kept)
    holder = masks.MaskHolder(masked, kept, optimizer)
    step = step_of(layout, optimizer, batch, size, device)
    whole: list[float] = []
    held: list[float] = []
    for turn in range(-2, turns):
        taken = seconds_of(step, device), seconds_of(holder.hold, device)
        if turn >= 0:
            whole.append(taken[0])
            held.append(taken[1])
    masks.prove(masked, kept)
    return whole, held


def _row(what: str, name: str, detail: str, times: Sequence[float]) -> Row:
    seconds = Spread.of(times)
    return {
        "what": what,
        "name": name,
        "detail": detail,
        "turns": len(times),
        "seconds": seconds.median,
        "seconds_low": seconds.low,
        "seconds_high": seconds.high,
    }


def _rate(times: Sequence[float], images: int, base: Sequence[float] | None = None, to: str | None = None) -> Row:
    row: Row = {"images_per_second": images / Spread.of(times).median}
    return row if base is None else row | {"ratio": ratios(base, times).median, "ratio_to": to}


Measure = Callable[[], list[Row]]
