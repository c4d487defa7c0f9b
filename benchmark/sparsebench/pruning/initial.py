"""The trained dense weights that a method starts from, read once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import nn

from ..common.files import sha256_file
from ..models import backbones
from ..models.fitting import mismatch
from ..models.formats import RawCheckpoint, architectures_of, read_checkpoint, readings_of
from ..schema import CheckpointError, Preprocess


@dataclass(frozen=True)
class Initial:
    """A checkpoint to start from.

    Parameters
    ----------
    path : Path
        Its file.
    raw : RawCheckpoint
        What the file holds.
    reference : str, optional
        Its registered id, which the result is to be compared with.
    """

    path: Path
    raw: RawCheckpoint
    reference: str | None = None

    @classmethod
    def read(cls, path: Path, reference: str | None = None) -> Initial:
        """Read a checkpoint file.

        Raises
        ------
        CheckpointError
            If it can't be read.
        """
        return cls(path, read_checkpoint(path), reference)

    @cached_property
    def sha256(self) -> str:
        """The hash of the file."""
        return sha256_file(self.path)

    @cached_property
    def arch(self) -> str | None:
        """The architecture that the file names or is recognised as, if either."""
        return next(iter(architectures_of(self.raw)), None)

    @property
    def preprocess(self) -> Preprocess | None:
        """The preprocessing that the file names, if any."""
        own = self.raw.meta.get("preprocess")
        return Preprocess.model_validate(own) if own else None

    def head_classes(self, architecture: backbones.Architecture) -> int:
        """Return how many classes the head has.

        Raises
        ------
        CheckpointError
            If there is no head.
        """
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            head = backbones.head_name(backbones.build(architecture, 2), architecture)
        weights = (reading.state.get(f"{head}.weight") for reading in readings_of(self.raw))
        weight = next((found for found in weights if found is not None), None)
        if weight is None:
            hint = "give weights with the head that they were trained with"
            raise CheckpointError(f"--init has no head {head}", hint)
        return len(weight)

    def load_into(self, model: nn.Module) -> None:
        """Load the weights into a network of the same architecture and classes.

        Raises
        ------
        CheckpointError
            If they don't fit.
        """
        problems = []
        for reading in readings_of(self.raw):
            problem = mismatch(model, reading.state)
            if problem is None:
                model.load_state_dict(reading.state, strict=False)
                return
            problems.append((problem.count, problem.text))
        hint = "it must have the same architecture and number of classes"
        raise CheckpointError(f"--init {self.path} doesn't fit: {min(problems)[1]}", hint)
