"""Score further test sets by what a run trained: its head on the backbone's features, or its finetuned network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ..analysis.calibration import reliability, score
from ..common.progress import Progress, part
from ..datasets.base import Split
from ..schema import FurtherTest, PlannedSet, RunError, RunSpec
from ..store import Predictions
from .features import extract
from .finetune.scoring import finetuned_logits
from .outcome import Further, Inputs
from .probes.base import LinearHead, evaluate

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Scorer:
    """What further test sets of a group are scored with.

    Parameters
    ----------
    inputs : Inputs
        Checkpoint, task and transform.
    sets : sequence of (PlannedSet, Split)
        The test sets, with their images.
    cache_dir : Path or None
        Where crops and features are cached.
    workers : int or None
        Threads that decode images.
    """

    inputs: Inputs
    sets: Sequence[tuple[PlannedSet, Split]]
    cache_dir: Path | None
    workers: int | None

    @property
    def images(self) -> int:
        """How many images all test sets have."""
        return sum(len(split) for _, split in self.sets)

    def run(self, spec: RunSpec, tensors: Mapping[str, Tensor] | None, progress: Progress) -> tuple[Further, ...]:
        """Score every test set by the tensors of a run, as it keeps them.

        Raises
        ------
        RunError
            If there is no head, or a logit isn't finite.
        """
        if tensors is None:
            raise RunError(
                f"the probe {spec.probe} keeps no linear head, so no further test set can be scored",
                "leave --shift out, or use another probe",
            )
        found, before = [], 0
        for planned, split in self.sets:
            own = part(progress, before / self.images, (before + len(split)) / self.images)
            before += len(split)
            logits = self._logits(spec, tensors, split, own)
            if not np.isfinite(logits).all():
                raise RunError(
                    f"the logits of the test set {planned.name!r} aren't finite", "try a lower learning rate"
                )
            found.append(self._scored(planned, split, logits))
        return tuple(found)

    def _logits(
        self, spec: RunSpec, tensors: Mapping[str, Tensor], split: Split, progress: Progress
    ) -> npt.NDArray[np.float32]:
        inputs = self.inputs
        if spec.mode == "full":
            classes = len(inputs.data.classes)
            return finetuned_logits(
                inputs.backbone,
                tensors,
                classes,
                split,
                inputs.transform,
                numerics=spec.numerics,
                cache_dir=self.cache_dir,
                workers=self.workers,
                progress=progress,
            )
        features = extract(
            inputs.backbone,
            split,
            inputs.transform,
            spec.numerics,
            cache_dir=self.cache_dir,
            progress=progress,
            workers=self.workers,
        )
        head = LinearHead(tensors["weight"].numpy(), tensors["bias"].numpy())
        return head.logits(features.x)

    def _scored(self, planned: PlannedSet, split: Split, logits: npt.NDArray[np.float32]) -> Further:
        accuracy = evaluate(logits, split.labels, len(self.inputs.data.classes))
        scored = score(logits, split.labels)
        test = FurtherTest(
            name=planned.name,
            fingerprint=planned.fingerprint,
            corruption=planned.source.corruption,
            severity=planned.source.severity,
            top1=accuracy.top1,
            mean_per_class=accuracy.mean_per_class,
            ece=reliability(scored).error,
            nll=float(scored.nll.mean()),
            n_test=len(split),
        )
        return Further(test, Predictions.of(split.ids, split.labels, logits))
