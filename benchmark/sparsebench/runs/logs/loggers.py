"""Loggers of other makers, each behind an extra: loaded when asked for, called at each epoch and at the end."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from ...schema import InputError, RunSpec, UnknownNameError

Values = Mapping[str, float]


class Logger(Protocol):
    """What a logger is given of one run."""

    def scalars(self, step: int, values: Values) -> None:
        """Take numbers by name at a step (an epoch, from 1; 0 for what is known at the end alone)."""
        ...

    def end(self, *, failed: bool) -> None:
        """Close the run."""
        ...


class TensorBoard:
    """Event files below ``<results>/tensorboard/<run id>``, one folder per run."""

    def __init__(self, results: Path, spec: RunSpec) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(str(results / "tensorboard" / spec.record_key))
        self._writer.add_text("run", f"```\n{json.dumps(described(spec), indent=1)}\n```")

    def scalars(self, step: int, values: Values) -> None:
        """Add scalars."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def end(self, *, failed: bool) -> None:
        """Flush and close."""
        self._writer.close()


class WandB:
    """One wandb run per run, under its id; wandb's own settings are honoured (``WANDB_MODE=offline``, project, ...)."""

    def __init__(self, results: Path, spec: RunSpec) -> None:
        import os

        import wandb

        folder = results / "wandb"
        folder.mkdir(parents=True, exist_ok=True)
        self._run: Any = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "sparsebench"),
            id=spec.record_key,
            name=f"{spec.checkpoint} {spec.task} {spec.mode} seed {spec.seed}",
            group=f"{spec.checkpoint} {spec.task} {spec.mode}",
            config=described(spec),
            dir=str(folder),
            resume="allow",
            reinit="finish_previous",
        )

    def scalars(self, step: int, values: Values) -> None:
        """Log numbers."""
        self._run.log({"step": step, **values})

    def end(self, *, failed: bool) -> None:
        """Finish the run."""
        self._run.finish(exit_code=int(failed))


LOGGERS: dict[str, Callable[[Path, RunSpec], Logger]] = {"tensorboard": TensorBoard, "wandb": WandB}
"""Name of a logger, which is that of its package and of the extra that installs it, to what makes it."""


def check_logger(name: str | None) -> None:
    """Check that a logger can be used, before anything runs.

    Raises
    ------
    UnknownNameError
        If there is none of this name.
    InputError
        If its package isn't installed.
    """
    if name is None:
        return
    if name not in LOGGERS:
        raise UnknownNameError("logger", name, LOGGERS)
    if importlib.util.find_spec(name) is None:
        raise InputError(f"--logger {name} needs a package that isn't installed", f"pip install 'sparsebench[{name}]'")


def described(spec: RunSpec) -> dict[str, Any]:
    """Return what a run is, for people: its labels, seed, protocol and numerics."""
    return spec.model_dump(mode="json", exclude={"weights_sha256", "mask_sha256", "split_sha256", "transform_sha256"})
