"""Our own checkpoint file: safetensors with pruned weights stored sparse and half precision.

A masked weight ``w`` of shape ``s`` becomes two tensors: ``w|mask``, its bits in row-major order packed eight to a byte
(``numpy.packbits``), and ``w|values``, the kept values in that order. Other convolution and linear weights are stored
whole in half precision, everything else (normalisation, biases) as it is. The safetensors metadata holds one JSON
document, ``sparsebench``: ``format``, the shapes of the packed weights, and what the file says about itself. At 90 %
sparsity a weight costs 2.6 bits, against 16.

A file may also be *derived* from another one in the same folder, its *base* (named with its sha256): then whatever it
doesn't hold is the base's, and a mask without values prunes the base's weight. One-shot pruned networks and lottery
tickets so cost a bit a weight beside the dense file.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ...common.files import sha256_file, write_bytes
from ...schema import CheckpointError
from .base import RawCheckpoint
from .budget import Budget
from .guard import first_line, guarded
from .heads import is_safetensors
from .kinds import plain

FORMAT = "sparsebench-sparse-1"
_KEY = "sparsebench"
_HALF_MAX = torch.finfo(torch.float16).max
_HALF_TINY = 2.0**-24  # the smallest subnormal: a kept weight must not round to zero


def to_half(values: Tensor) -> Tensor:
    """Round to half precision so that what was not zero stays not zero; unchanged if anything would overflow."""
    if not values.is_floating_point() or not bool((values.abs() <= _HALF_MAX).all()):
        return values
    half = values.to(torch.float16)
    vanished = (half == 0) & (values != 0)
    return torch.where(vanished, torch.copysign(torch.tensor(_HALF_TINY), values).to(torch.float16), half)


def _pack(mask: Tensor) -> Tensor:
    return torch.from_numpy(np.packbits(mask.cpu().numpy().reshape(-1)))


def _unpack(bits: Tensor, count: int) -> Tensor:
    return torch.from_numpy(np.unpackbits(bits.numpy(), count=count).astype(np.bool_))


def encode(
    state: Mapping[str, Tensor], masks: Mapping[str, Tensor], meta: Mapping[str, Any], base: Path | None = None
) -> bytes:
    """Serialise a state dict, its masks, and a JSON-able description into the bytes of a file.

    Parameters
    ----------
    state, masks : mapping of str to Tensor
        Weights and bool masks (True = kept) by name.
    meta : mapping
        What the file says about itself.
    base : Path, optional
        A file of this format, of the same tensors, from which to derive this one: what both share isn't stored again.
    """
    shared = {} if base is None else read(base).state
    tensors: dict[str, Tensor] = {}
    shapes: dict[str, list[int]] = {}
    for name, value in state.items():
        value = value.detach().cpu().contiguous()
        if name in masks:
            mask = masks[name].cpu()
            tensors[f"{name}|mask"] = _pack(mask)
            shapes[name] = list(value.shape)
            stored, key = to_half(value[mask]), f"{name}|values"
            known = None if name not in shared else shared[name][mask]
        else:
            stored, key = to_half(value) if value.ndim >= 2 else value, name
            known = shared.get(name)
        if known is None or not torch.equal(known.to(stored.dtype), stored):
            tensors[key] = stored
    document: dict[str, Any] = {"format": FORMAT, "shapes": shapes, "meta": dict(meta)}
    if base is not None:
        document["base"] = {"file": base.name, "sha256": sha256_file(base)}
    return bytes(save(tensors, {_KEY: json.dumps(document, sort_keys=True)}))


def write(
    path: Path,
    state: Mapping[str, Tensor],
    masks: Mapping[str, Tensor],
    meta: Mapping[str, Any],
    base: Path | None = None,
) -> None:
    """Write a checkpoint file atomically; a ``base`` that it derives from must lie in the same folder."""
    write_bytes(path, encode(state, masks, meta, base))


def describe(path: Path) -> dict[str, Any] | None:
    """Return the file's own document without reading its tensors, or None if it is not in this format.

    Raises
    ------
    CheckpointError
        If the file is not a whole safetensors file.
    """
    with guarded(path):
        try:
            with safe_open(path, framework="pt") as handle:
                text = (handle.metadata() or {}).get(_KEY)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(
                f"{path} is not a whole safetensors file: {first_line(error)}",
                "it is truncated or corrupted: get it again",
            ) from error
    if text is None:
        return None
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: its description is not JSON: {error}", "get the file again") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} is in format {document.get('format') if isinstance(document, dict) else document!r}",
            f"this version reads {FORMAT}: upgrade sparsebench",
        )
    shapes = document.get("shapes")
    if not isinstance(shapes, dict) or not isinstance(document.get("meta"), dict):
        raise CheckpointError(f"{path}: its description is damaged", "get the file again")
    if not all(isinstance(s, list) and all(type(n) is int and n > 0 for n in s) for s in shapes.values()):
        raise CheckpointError(f"{path}: its description is damaged", "get the file again")
    return document


def read(path: Path, budget: Budget | None = None, wanted: str | None = None) -> RawCheckpoint:
    """Read a checkpoint file back into float32 weights and bool masks, within a memory budget.

    Raises
    ------
    CheckpointError
        If the file is damaged: unreadable, a mask without values, or counts that don't agree; or if the file that it
        derives from is missing or another one.
    """
    document = describe(path)
    if document is None:
        raise CheckpointError(f"{path} is a safetensors file but not one of sparsebench's")
    budget = budget or Budget.of(path)
    budget.check(sum(5 * math.prod(shape) for shape in document["shapes"].values()), "its weights and masks")
    state = _read_base(path, document["base"]) if "base" in document else {}
    with safe_open(path, framework="pt") as handle:
        tensors = {key: handle.get_tensor(key) for key in handle.keys()}  # noqa: SIM118 - not a dict
    masks: dict[str, Tensor] = {}
    for name, shape in document["shapes"].items():
        bits, values = (tensors.pop(f"{name}|{part}", None) for part in ("mask", "values"))
        count = math.prod(shape)
        if bits is None or (values is None and name not in state):
            lacking = "mask" if bits is None else "values"
            raise CheckpointError(f"{path}: weight {name} has no {lacking}", "get the file again")
        if bits.dtype != torch.uint8 or bits.numel() != (count + 7) // 8:
            raise CheckpointError(f"{path}: the mask of {name} doesn't fit its shape {shape}", "get the file again")
        mask = _unpack(bits, count)
        if values is None:
            if list(state[name].shape) != shape:
                raise CheckpointError(f"{path}: {name} has another shape in the file it derives from", _AGAIN)
            values = state[name].flatten()[mask]
        if not values.is_floating_point() or values.ndim != 1:
            raise CheckpointError(f"{path}: the values of {name} are no list of weights", "get the file again")
        if int(mask.sum()) != values.numel():
            raise CheckpointError(
                f"{path}: {name} keeps {int(mask.sum())} weights but stores {values.numel()}", "get the file again"
            )
        weight = torch.zeros(count)
        weight[mask] = values.float()
        state[name], masks[name] = weight.view(shape), mask.view(shape)
    for name, value in tensors.items():
        state[name] = plain(name, value, budget)
    return RawCheckpoint(FORMAT, state, masks, document["meta"])


def opens(path: Path, head: bytes) -> bool:
    """Return whether a file is in this format."""
    return is_safetensors(path, head) and describe(path) is not None


def base_of(path: Path) -> Path | None:
    """Return the file that a checkpoint file of this format derives from; None if it derives from none."""
    base = (describe(path) or {}).get("base")
    return path.with_name(base["file"]) if base else None


_AGAIN = "get both files again, into one folder"


def _read_base(path: Path, base: Any) -> dict[str, Tensor]:
    """Return the state of the file that another one derives from."""
    name, sha256 = (base.get("file"), base.get("sha256")) if isinstance(base, dict) else (None, None)
    if not isinstance(name, str) or Path(name).name != name or name == path.name:
        raise CheckpointError(f"{path}: its description is damaged", "get the file again")
    file = path.with_name(name)
    if not file.is_file():
        raise CheckpointError(f"{path} derives from {name}, which is not beside it", f"put {name} into the same folder")
    if sha256_file(file) != sha256:
        raise CheckpointError(f"{path} derives from another {name} than the one beside it", _AGAIN)
    document = describe(file)
    if document is None or "base" in document:
        raise CheckpointError(f"{path} derives from {name}, which is no whole checkpoint of sparsebench's", _AGAIN)
    return read(file).state
