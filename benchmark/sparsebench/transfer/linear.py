"""Linear mode: features extracted once for all runs of a group, and the seeds of a probe fitted together."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..common.progress import Progress, notify, part
from ..common.timings import stage
from ..schema import Protocol, RunError, RunSpec
from . import probes
from .features import Features, extract
from .outcome import Inputs, Outcome
from .probes.data import Fitted, ProbeData
from .probes.rows import Rows
from .scoring import predictions_of, probe_scores


class LinearRuns:
    """The runs of a group in linear mode, and what they share.

    Parameters
    ----------
    protocol : Protocol
        The group's.
    label : str
        What the group is called in messages.
    cache_dir : Path or None
        Where features are cached.
    workers : int or None
        Threads that decode images.
    """

    def __init__(self, protocol: Protocol, label: str, cache_dir: Path | None, workers: int | None) -> None:
        self.protocol, self.label, self.cache_dir, self.workers = protocol, label, cache_dir, workers
        self._features: list[Features] | None = None
        self._fitted: dict[int, Fitted | RunError] = {}  # by seed
        self._alone = False  # fitting all seeds at once has failed

    def forget(self) -> None:
        """Extract the features anew, when they are next needed: what they were read from has failed."""
        self._features = None

    def run(self, inputs: Inputs, spec: RunSpec, seeds: Sequence[int], progress: Progress) -> Outcome:
        """Run one cell; the first one fits the probe for all ``seeds``.

        Raises
        ------
        RunError
            If the probe can't be fitted.
        """
        if self._features is None:
            self._features = self._extract(inputs, spec, part(progress, 0.0, 0.5))
            progress = part(progress, 0.5, 1.0)
        features, data = self._features, inputs.data
        train, test, *held_out = features
        probe_data = ProbeData(
            x=Rows([train.x, *(f.x for f in held_out)]),
            y=np.concatenate([train.y, *(f.y for f in held_out)]),
            n_train=len(data.train),
            x_test=test.x,
            y_test=test.y,
            num_classes=len(data.classes),
            metric=spec.metric,
        )
        started = time.perf_counter()
        with stage("probe"):
            fitted = self._fit(spec, probe_data, seeds, progress)
        passed = time.perf_counter() - started
        if isinstance(fitted, RunError):
            raise fitted
        return Outcome(
            probe_scores(fitted, probe_data, data),
            predictions_of(fitted.test_logits, data),
            trials=fitted.trials,
            feature_seconds=round(sum(f.seconds for f in features), 4),
            features_cached=all(f.cached for f in features),
            shared_seconds=fitted.seconds - passed,
            tensors=None if fitted.head is None else fitted.head.tensors(),
        )

    def _extract(self, inputs: Inputs, spec: RunSpec, progress: Progress) -> list[Features]:
        """Return the features of the training, test and validation images, each for itself: any protocol uses them."""
        data = inputs.data
        splits = [data.train, data.test] + ([data.val] if len(data.val) else [])
        return [
            extract(
                inputs.backbone,
                split,
                inputs.transform,
                spec.numerics,
                cache_dir=self.cache_dir,
                progress=part(progress, k / len(splits), (k + 1) / len(splits)),
                workers=self.workers,
                engine=inputs.engine,
            )
            for k, split in enumerate(splits)
        ]

    def _fit(self, spec: RunSpec, data: ProbeData, seeds: Sequence[int], progress: Progress) -> Fitted | RunError:
        """Return a run's fit.

        Where fitting all seeds fails as a whole, each is fitted alone, so that what is wrong with one is its own
        failure.
        """
        if spec.seed not in self._fitted:
            fit = probes.get(spec.probe or "")
            options: dict[str, Any] = {"device": spec.numerics.device, "progress": progress}
            if len(seeds) > 1 and not self._alone:
                try:
                    self._fitted = dict(zip(seeds, fit(data, self.protocol, seeds, **options), strict=True))
                except Exception as error:
                    failed = f"{type(error).__name__} with {len(seeds)} seeds at once"
                    notify(f"{self.label}: {failed}; now one by one")
                    self._alone = True
            if spec.seed not in self._fitted:
                (self._fitted[spec.seed],) = fit(data, self.protocol, [spec.seed], **options)
        return self._fitted.pop(spec.seed)
