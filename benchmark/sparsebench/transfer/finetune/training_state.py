"""How far a finetuning is, on disk, so that it can go on from there to the same numbers.

The state is written whole or not at all, and read back only if it is of the same run, computed the same way; anything
else is passed over with a warning, and the training starts anew.
"""

from __future__ import annotations

import contextlib
import io
import json
import pickle
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...common.files import read_regular, write_bytes
from ...common.retry import CHECKPOINT_SECONDS
from ...schema import canonical_json

_VERSION = 1
_DAMAGED = (OSError, RuntimeError, EOFError, pickle.UnpicklingError, KeyError, TypeError, ValueError, AttributeError)


class UnusableStateWarning(UserWarning):
    """A mid-run state that can't be used; its training starts anew."""


class UnsavedStateWarning(UserWarning):
    """A mid-run state that can't be written; its training goes on, and may have to be done again."""


@dataclass(frozen=True)
class Position:
    """Where a training is.

    Parameters
    ----------
    epoch : int
        The epoch in progress, from 0; the protocol's number of epochs once all are done.
    step : int
        Steps of that epoch that are done.
    losses : list of float
        The loss of each of them.
    best : float or None
        The best test score of the epochs before, where the protocol evaluates each.
    loss : float
        Mean loss of the epoch before; NaN in the first one.
    """

    epoch: int = 0
    step: int = 0
    losses: tuple[float, ...] = ()
    best: float | None = None
    loss: float = float("nan")


@dataclass
class Training:
    """What changes while a network is trained; ``shared`` is what is kept of each of several processes."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    device: torch.device
    shared: dict[str, Any] | None = None

    def state(self) -> dict[str, Any]:
        """Return weights, optimizer, loss scale, and torch's generators."""
        cuda = torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "generator": torch.get_rng_state(),
            "cuda_generator": cuda,
            "shared": self.shared,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go back to a state."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.shared = state.get("shared")
        torch.set_rng_state(state["generator"])
        if state["cuda_generator"] is not None:
            torch.cuda.set_rng_state(state["cuda_generator"], self.device)


@dataclass
class TrainingState:
    """Where a run keeps how far it is.

    Parameters
    ----------
    folder : Path
        Of this run alone; created by the first write, removed by :meth:`remove`.
    identity : mapping
        What the numbers depend on (run, numerics, versions); a state with another one is not used.
    every : float
        Seconds between two states.
    name : str
        Of the training within the run: a search has several.
    writes : bool
        Whether this process changes anything on disk: of several that train together the first alone does.
    """

    folder: Path
    identity: Mapping[str, Any]
    every: float = CHECKPOINT_SECONDS
    name: str = "training"
    writes: bool = True
    _written: float = field(default_factory=time.monotonic, init=False, repr=False)

    @property
    def path(self) -> Path:
        """The file of this training's state."""
        return self.folder / f"{self.name}.pt"

    def of(self, name: str) -> TrainingState:
        """Return where another training of the same run keeps its state."""
        return TrainingState(self.folder, self.identity, self.every, name, self.writes)

    def due(self) -> bool:
        """Return whether the last state is old enough for a new one."""
        return self.writes and time.monotonic() - self._written >= self.every

    def save(self, training: Training, position: Position) -> None:
        """Write the state down; where that fails, it is a :class:`UnsavedStateWarning`, and the state before stays."""
        if not self.writes:
            return
        self._written = time.monotonic()  # also of a try: a full disk is not asked again at each step
        state = {
            "version": _VERSION,
            "identity": canonical_json(dict(self.identity)),
            "position": vars(position) | {"losses": list(position.losses)},
        }
        try:
            buffer = io.BytesIO()
            torch.save(state | training.state(), buffer)
            write_bytes(self.path, buffer.getvalue())
        except (OSError, MemoryError) as error:
            self._unsaved(self.path, error)

    def restore(self, training: Training) -> Position | None:
        """Bring a training to the state on disk and return where it is; None, and no change, if there is no such state.

        Memory is taken for a second copy of weights and momentum while it is read.
        """
        try:
            data = read_regular(self.path)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._unusable(error.strerror or str(error))
            return None
        before = {k: _copy(v) for k, v in training.state().items()}
        try:
            state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
            if state["version"] != _VERSION or state["identity"] != canonical_json(dict(self.identity)):
                self._unusable("it is of another run, or was computed otherwise")
                return None
            position = Position(**state["position"] | {"losses": tuple(state["position"]["losses"])})
            training.restore(state)
        except _DAMAGED as error:
            training.restore(before)
            self._unusable(str(error).partition("\n")[0] or type(error).__name__)
            return None
        return position

    def read_json(self, name: str) -> Any | None:
        """Return what :meth:`write_json` wrote for the same run; None if there is nothing of it."""
        path = self.folder / f"{name}.json"
        try:
            found = json.loads(read_regular(path))
            if found["identity"] != canonical_json(dict(self.identity)):
                return None
            return found["value"]
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            self._unusable(str(error), path)
            return None

    def write_json(self, name: str, value: Any) -> None:
        """Keep a small value of the run; where that fails, it is a :class:`UnsavedStateWarning`."""
        if not self.writes:
            return
        document = {"identity": canonical_json(dict(self.identity)), "value": value}
        path = self.folder / f"{name}.json"
        try:
            write_bytes(path, json.dumps(document).encode())
        except (OSError, MemoryError) as error:
            self._unsaved(path, error)

    def drop(self) -> None:
        """Remove this training's state; others of the run stay."""
        if self.writes:
            with contextlib.suppress(OSError):
                self.path.unlink()

    def remove(self) -> None:
        """Remove all that the run has kept."""
        with contextlib.suppress(OSError):
            for path in self.folder.iterdir():
                path.unlink()
            self.folder.rmdir()

    def _unsaved(self, path: Path, error: OSError | MemoryError) -> None:
        reason = getattr(error, "strerror", None) or str(error) or "not enough memory"
        warnings.warn(
            f"the state {str(path)!r} can't be written ({reason}): the training goes on without it",
            UnsavedStateWarning,
            stacklevel=3,
        )

    def _unusable(self, reason: str, path: Path | None = None) -> None:
        warnings.warn(
            f"the state {str(path or self.path)!r} is not used ({reason}): this training starts anew",
            UnusableStateWarning,
            stacklevel=3,
        )


def _copy(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.clone()
    if isinstance(value, Mapping):
        return {key: _copy(entry) for key, entry in value.items()}
    return [_copy(entry) for entry in value] if isinstance(value, list) else value
