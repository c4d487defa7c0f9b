"""The keywords that library functions share: typed, so that editors complete them and type checkers check them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypedDict, TypeVar

from .. import extensions
from ..runs.executors.cluster import Cluster
from ..runs.options import Overwrite, PredictionKind
from ..schema import InputError, Numerics, UnknownNameError

__all__ = ["Computing", "RunKeywords", "numerics_of", "with_keywords"]

P = ParamSpec("P")
R = TypeVar("R")


class Computing(TypedDict, total=False):
    """How numbers are computed: the fields of :class:`sparsebench.schema.Numerics`.

    ``device`` (``cpu``, ``cuda``, ``cuda:1`` ...), ``precision`` (autocast below ``fp32``), ``engine`` (``torch``,
    ``sparse``, ``onnxruntime``, ``auto``, or a Python file), ``threads`` (of the CPU; 1 by default), ``channels_last``
    (memory layout), ``compile`` (by torch), ``decoder`` (of image files).
    """

    device: str
    precision: Literal["fp32", "bf16", "fp16"]
    engine: str | Path
    threads: int
    channels_last: bool
    compile: bool
    decoder: Literal["fast", "pillow"]


class RunKeywords(Computing, total=False):
    """Where a run reads and writes, and by whom it is computed; the other fields of :class:`.Request`.

    ``registry_files`` and ``tasks_dirs`` hold checkpoints and tasks of your own; ``data_dir`` and ``cache_dir`` are
    folders; ``processes`` share each run in full mode; ``jobs`` worker processes; ``executor`` ``inline``,
    ``local``, ``slurm`` or a Python file, with a ``cluster`` (a profile's path, or its fields) and ``wait``;
    ``overwrite`` says which records are computed again; ``save_weights`` keeps finetuned weights,
    ``save_heads`` trained classifiers, ``predictions`` logits or classes;
    ``workers`` are threads that decode; ``checkpoint_seconds``, ``retries`` and ``logger`` are those of the command;
    ``offline`` fetches nothing; ``skip_missing`` runs what is here.
    """

    numerics: Numerics
    processes: int
    registry_files: Sequence[str | Path] | str | Path
    tasks_dirs: Sequence[str | Path] | str | Path
    data_dir: str | Path | None
    cache_dir: str | Path
    jobs: int
    executor: str | Path | None
    cluster: Cluster | Mapping[str, Any] | str | Path | None
    wait: bool
    overwrite: Overwrite
    save_weights: bool
    save_heads: bool
    predictions: PredictionKind | None
    workers: int | None
    checkpoint_seconds: float
    retries: int
    logger: str | None
    offline: bool
    skip_missing: bool
    command: str


def with_keywords(keywords: type) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let ``help`` and completion in a notebook show each keyword of a TypedDict, in place of ``**options``.

    Parameters
    ----------
    keywords : type
        The TypedDict that ``**options`` unpacks.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        own = inspect.signature(function)
        named = [p for p in own.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
        more = [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                annotation=getattr(annotation, "__forward_arg__", annotation),
                default=...,  # the default is the request's own
            )
            for name, annotation in keywords.__annotations__.items()
        ]
        function.__signature__ = own.replace(parameters=[*named, *more])  # type: ignore[attr-defined]
        return function

    return decorate


def numerics_of(options: Mapping[str, Any]) -> Numerics:
    """Return numerics from keywords.

    Raises
    ------
    InputError
        If a keyword isn't one of :class:`Computing`, or its value can't be used.
    """
    from pydantic import ValidationError

    for name in options:
        if name not in Computing.__annotations__:
            raise UnknownNameError("option", name, Computing.__annotations__)
    given = dict(options)
    if "engine" in given:
        given["engine"] = extensions.resolve("engines", given["engine"])
    try:
        return Numerics.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise InputError(f"{first['loc'][0]}={first['input']!r}: {first['msg']}", "correct the argument") from error
