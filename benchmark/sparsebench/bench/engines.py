"""Engines on checkpoints: images per second, memory, the ratio to torch on the dense network, the share of the peak."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .. import extensions
from ..engines import prepare
from ..engines.choice import torch_threads
from ..models.backbone import Backbone
from ..models.flops import count
from ..models.loading import load_entry
from ..registry import Registry
from ..schema import Checkpoint, InputError, Numerics
from .machine import Product
from .memory import MemoryMeter
from .timing import Spread, Work, in_turns, ratios

if TYPE_CHECKING:
    from ..engines import Engine

_DENSE, _PEAK = "dense", "peak"


@dataclass(frozen=True)
class Setting:
    """How engines are measured."""

    engines: tuple[str, ...]
    batch: int
    threads: int
    turns: int
    device: str


def engines_here() -> tuple[str, ...]:
    """Return the engines that this installation can run."""
    return tuple(name for name, engine in extensions.known("engines").items() if engine.missing() is None)


def yardstick(entry: Checkpoint, chosen: Sequence[Checkpoint], registry: Registry) -> Checkpoint:
    """Return the dense checkpoint that an entry's speed is compared with: one of its architecture, its reference first.

    Without any, it is the entry itself: torch multiplies by zeros as by any other number.
    """
    known = {c.id: c for c in (*registry.checkpoints.values(), *chosen)}
    own = [known[entry.reference]] if entry.reference in known else []
    for one in (*own, *chosen, *registry.checkpoints.values()):
        if one.method == "dense" and one.arch == entry.arch and _here(one):
            return one
    return entry


def measure(entry: Checkpoint, dense: Checkpoint, setting: Setting, meter: MemoryMeter | None) -> list[dict[str, Any]]:
    """Return one row per engine: all of them run the same batch in turns, with torch on the dense checkpoint.

    An engine that can't run the checkpoint has a row that says why.
    """
    backbone = load_entry(entry)
    size = backbone.preprocess.input_size
    shape = (setting.batch, 3, size, size)
    batch = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(setting.device)
    batch = batch.to(memory_format=torch.channels_last)
    rows: list[dict[str, Any]] = []
    with torch_threads(setting.threads):
        runs, failed = _built(backbone, setting, shape)
        base = runs.get("torch") if dense.id == entry.id else None
        if base is None:
            base = prepare(load_entry(dense).module, _numerics("torch", setting), shape)
        works = {_DENSE: base, **{name: run for name, run in runs.items() if run is not base}}
        product = Product(setting.device)
        calls: dict[str, Work] = {_PEAK: product, **{name: partial(run, batch) for name, run in works.items()}}
        times = in_turns(calls, setting.turns, setting.device)
        peak = product.flops / min(times[_PEAK])
        expected = runs["torch"](batch[:4]) if "torch" in runs else None
        for name, run in runs.items():
            taken = times[_DENSE] if run is base else times[name]
            row = _facts(entry, dense, backbone, setting, name)
            row |= _speed(taken, times[_DENSE], setting) | {"peak_flops": peak}
            row["share_of_peak"] = _computed(row) * row["images_per_second"] / peak
            row["off"] = None if expected is None else _off(run(batch[:4]), expected)
            row["peak_memory"] = _memory(entry, name, setting, meter, run, batch)
            rows.append(row)
        rows += [_facts(entry, dense, backbone, setting, name) | {"error": reason} for name, reason in failed.items()]
    return rows


def _built(backbone: Backbone, setting: Setting, shape: tuple[int, ...]) -> tuple[dict[str, Engine], dict[str, str]]:
    runs: dict[str, Engine] = {}
    failed: dict[str, str] = {}
    device = torch.device(setting.device).type
    for name in setting.engines:
        if device not in extensions.get("engines", name).devices:
            continue
        try:
            runs[name] = prepare(backbone.module, _numerics(name, setting), shape)
        except InputError as error:
            failed[name] = error.message
    return runs, failed


def _numerics(engine: str, setting: Setting) -> Numerics:
    return Numerics(engine=engine, threads=setting.threads, device=setting.device)


def _facts(entry: Checkpoint, dense: Checkpoint, backbone: Backbone, setting: Setting, engine: str) -> dict[str, Any]:
    layers = count(backbone.module, backbone.preprocess.input_size)
    return {
        "checkpoint": entry.id,
        "method": entry.method,
        "variant": entry.variant,
        "arch": entry.arch,
        "sparsity": entry.sparsity,
        "nm": entry.nm,
        "twin_of": entry.twin_of,
        "distribution": entry.distribution,
        "engine": engine,
        "batch": setting.batch,
        "input_size": backbone.preprocess.input_size,
        "turns": setting.turns,
        "dense": dense.id,
        "file_bytes": sum(path.stat().st_size for path in backbone.info.files),
        "packed_bytes": backbone.info.packed_bytes,
        "flops": sum(layer.dense for layer in layers),
        "flops_sparse": sum(layer.sparse for layer in layers),
    }


def _speed(taken: Sequence[float], base: Sequence[float], setting: Setting) -> dict[str, Any]:
    """Return rates from seconds per batch."""
    seconds, ratio = Spread.of(taken), ratios(base, taken)
    return {
        "images_per_second": setting.batch / seconds.median,
        "images_per_second_low": setting.batch / seconds.high,
        "images_per_second_high": setting.batch / seconds.low,
        "ms": 1e3 * seconds.median,
        "ms_low": 1e3 * seconds.low,
        "ms_high": 1e3 * seconds.high,
        "ratio": ratio.median,
        "ratio_low": ratio.low,
        "ratio_high": ratio.high,
    }


def _computed(row: Mapping[str, Any]) -> float:
    """Return the floating-point operations an image that an engine computes; some leave the zeros out."""
    skips = extensions.get("engines", row["engine"]).skips_zeros
    return 2.0 * float(row["flops_sparse"] if skips else row["flops"])


def _off(found: Tensor, expected: Tensor) -> float:
    """Return the largest difference over the largest value."""
    return float((found - expected).abs().max() / expected.abs().max().clamp_min(1e-30))


def _memory(
    entry: Checkpoint, engine: str, setting: Setting, meter: MemoryMeter | None, run: Engine, batch: Tensor
) -> int | None:
    if torch.device(setting.device).type == "cuda":
        torch.cuda.reset_peak_memory_stats(setting.device)
        run(batch)
        torch.cuda.synchronize(setting.device)
        return int(torch.cuda.max_memory_allocated(setting.device))
    return None if meter is None else meter.measure(entry, _numerics(engine, setting), setting.batch)


def _here(entry: Checkpoint) -> bool:
    from ..downloads import find_state

    return all(find_state(one.file) == "here" for one in entry.files())
