"""``fit``: every probe, seed and hyperparameter on one set of features."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ... import extensions
from ...common.progress import Progress, part
from ...extensions import load
from ...registry import builtin_protocols
from ...schema import Convergence, FewShotScore, InputError, Metric, Protocol, RunError, Trial, UnknownNameError
from . import checks
from .base import LinearHead, evaluate
from .data import Fitted, Logits, ProbeData
from .rows import Rows

if TYPE_CHECKING:
    import pandas as pd

FitSeeds = Callable[..., list[Fitted | RunError]]


def get(name: str) -> FitSeeds:
    """Return the ``fit_seeds(data, protocol, seeds, *, device, progress)`` of a probe; what it gives is checked.

    Raises
    ------
    UnknownNameError
        If no probe has this name.
    """
    fit_seeds = load(extensions.get("probes", name).fit)

    def checked(data: ProbeData, protocol: Protocol, seeds: Sequence[int], **options: Any) -> list[Fitted | RunError]:
        fitted: list[Fitted | RunError] = list(fit_seeds(data, protocol, seeds, **options))
        wanted = (len(data.y_test), data.num_classes)
        problem = "" if len(fitted) == len(seeds) else f"{len(fitted)} results for {len(seeds)} seeds"
        for one in fitted:
            if isinstance(one, Fitted) and np.shape(one.test_logits) != wanted:
                problem = f"logits of shape {np.shape(one.test_logits)}, not {wanted}: test images, classes"
        if problem:
            raise RunError(f"probe {name!r} gave {problem}", "correct the probe")
        return fitted

    return checked


@dataclass(frozen=True)
class ProbeResult:
    """One probe with one seed: a row.

    Parameters
    ----------
    probe, protocol : str
        The probe's and the protocol's name.
    seed : int
        The seed; it changes ``sgd`` and ``fewshot`` alone.
    accuracy : float
        The metric that was asked for, on test, a fraction; so are ``top1`` and ``mean_per_class``.
    chosen : Trial or None
        The hyperparameters that did best on validation, by name in ``settings`` (``lr`` and ``weight_decay``, ``l2`` or
        ``k``), and their scores there; None where nothing was chosen.
    trials : tuple of Trial
        Everything that was tried.
    seconds : float
        Of the fit; fits that were made together share their time equally.
    test_logits : ndarray of float32, shape (m, C)
        Scores of the test images; of the first draw, for ``fewshot``.
    head : LinearHead or None
        Weight and bias on the features as given, where the probe has any: ``sgd``, ``lbfgs`` and ``ridge``.
    convergence : Convergence or None
        How far the head is from the best one at its penalty; of ``sgd`` and ``lbfgs``.
    few_shot : tuple of FewShotScore
        Mean and interval over draws for each number of images per class.
    """

    probe: str
    protocol: str
    seed: int
    accuracy: float
    top1: float
    mean_per_class: float
    chosen: Trial | None
    trials: tuple[Trial, ...]
    seconds: float
    test_logits: Logits
    head: LinearHead | None = None
    convergence: Convergence | None = None
    few_shot: tuple[FewShotScore, ...] = ()


def fit(
    x_train: Any,
    y_train: Any,
    x_test: Any,
    y_test: Any,
    *,
    protocol: str | Protocol | Sequence[str | Protocol] = "cvpr22-linear",
    seeds: int | Sequence[int] = (0,),
    x_val: Any | None = None,
    y_val: Any | None = None,
    num_classes: int | None = None,
    metric: Metric = "top1",
    device: str = "cpu",
    progress: Progress | None = None,
) -> list[ProbeResult]:
    """Fit one or several probes on features, with every seed.

    Parameters
    ----------
    x_train, x_test : array or tensor, shapes (n, d) and (m, d)
        Features, one row per image; memory-mapped float32 arrays are read in chunks and not copied.
    y_train, y_test : array or tensor of integers, shapes (n,) and (m,)
        Class indices from 0 on.
    protocol : str, Protocol, or several
        What to fit: names of linear protocols (``cvpr22-linear``, ``tuned-linear``, ``lbfgs-linear``,
        ``ridge-linear``, ``knn-linear``, ``fewshot-linear``) or protocols of your own.
    seeds : int or several
        For ``sgd`` the start and order of each fit; for ``fewshot`` what is drawn. The other probes give every seed
        the same row.
    x_val, y_val : array or tensor, optional
        Validation images, on which hyperparameters are chosen; the final fit is on train and val. Without them, a
        protocol that chooses holds out a fifth of each class of train to choose on.
    num_classes : int, optional
        Classes of the task; without it, one more than the largest label.
    metric : "top1" or "mean_per_class"
        What is chosen by, and what ``accuracy`` is.
    device : str
        Where to compute.
    progress : callable, optional
        ``progress(done, total)``.

    Returns
    -------
    list of ProbeResult
        One per protocol and seed, protocols first.

    Raises
    ------
    InputError
        If the arrays don't fit each other, a number isn't finite, or a protocol or seed can't be used.
    RunError
        If a fit diverged.
    """
    data = _check_data(x_train, y_train, x_test, y_test, x_val, y_val, num_classes, metric)
    protocols = [_protocol(p) for p in ([protocol] if isinstance(protocol, (str, Protocol)) else protocol)]
    numbers = _seeds(seeds)
    results: list[ProbeResult] = []
    for k, settings in enumerate(protocols):
        report = None if progress is None else part(progress, k / len(protocols), (k + 1) / len(protocols))
        if len(data.y) < 2 and settings.chooses:
            raise InputError("there is one training image", "give more, or a protocol that chooses nothing")
        fitted = get(settings.probe or "")(data, settings, numbers, device=device, progress=report)
        for seed, entry in zip(numbers, fitted, strict=True):
            if isinstance(entry, RunError):
                raise entry
            results.append(_result(settings, seed, entry, data))
    return results


def table(results: Sequence[ProbeResult]) -> pd.DataFrame:
    """Return results as a table, one row per result, without logits and weights."""
    import pandas as pd

    rows = []
    for result in results:
        chosen = result.chosen.settings if result.chosen else {}
        rows.append(
            {
                "probe": result.probe,
                "protocol": result.protocol,
                "seed": result.seed,
                "accuracy": result.accuracy,
                "top1": result.top1,
                "mean_per_class": result.mean_per_class,
                **{f"chosen_{name}": value for name, value in chosen.items()},
                "seconds": result.seconds,
            }
        )
    return pd.DataFrame(rows)


def _check_data(
    x_train: Any,
    y_train: Any,
    x_test: Any,
    y_test: Any,
    x_val: Any | None,
    y_val: Any | None,
    num_classes: int | None,
    metric: Metric,
) -> ProbeData:
    if metric not in ("top1", "mean_per_class"):
        raise UnknownNameError("metric", str(metric), ("top1", "mean_per_class"))
    if (x_val is None) != (y_val is None):
        raise InputError("x_val and y_val go together", "give both or neither")
    given = {"train": (x_train, y_train), "test": (x_test, y_test)}
    if x_val is not None:
        given["val"] = (x_val, y_val)
    x = {name: checks.features(pair[0], f"x_{name}") for name, pair in given.items()}
    checks.same_width({f"x_{name}": array for name, array in x.items()})
    y = {name: checks.labels(pair[1], f"y_{name}", len(x[name]), f"x_{name}") for name, pair in given.items()}
    others = {f"y_{name}": labels for name, labels in y.items() if name != "train"}
    count = checks.classes(y["train"], others, num_classes)
    blocks = [x[name] for name in ("train", "val") if name in x]
    return ProbeData(
        x=Rows(blocks),
        y=np.concatenate([y[name] for name in ("train", "val") if name in y]),
        n_train=len(y["train"]),
        x_test=x["test"],
        y_test=y["test"],
        num_classes=count,
        metric=metric,
    )


def _protocol(given: str | Protocol) -> Protocol:
    protocol = given if isinstance(given, Protocol) else builtin_protocols().protocol(given, "linear")
    if protocol.probe is None:
        raise InputError(f"protocol {protocol.name!r} has no probe", "give a linear one")
    return protocol


def _seeds(given: int | Sequence[int]) -> list[int]:
    seeds = [given] if isinstance(given, int) else list(given)
    for seed in seeds:
        if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
            raise InputError(f"{seed!r} is not a seed", "seeds are whole numbers from 0 on")
    if not seeds or len(set(seeds)) != len(seeds):
        raise InputError(f"seeds {seeds} can't be used", "give at least one, each once")
    return [int(seed) for seed in seeds]


def _result(protocol: Protocol, seed: int, fitted: Fitted, data: ProbeData) -> ProbeResult:
    top1, per_class = accuracies(fitted, data)
    return ProbeResult(
        probe=protocol.probe or "",
        protocol=protocol.name,
        seed=seed,
        accuracy=top1 if data.metric == "top1" else per_class,
        top1=top1,
        mean_per_class=per_class,
        chosen=fitted.chosen,
        trials=fitted.trials,
        seconds=fitted.seconds,
        test_logits=fitted.test_logits,
        head=fitted.head,
        convergence=fitted.convergence,
        few_shot=tuple(fitted.few_shot),
    )


def accuracies(fitted: Fitted, data: ProbeData) -> tuple[float, float]:
    """Return top-1 and mean per-class accuracy on test: of the logits, or the mean over a few-shot probe's draws."""
    if fitted.few_shot:
        return fitted.few_shot[-1].top1, fitted.few_shot[-1].mean_per_class
    score = evaluate(fitted.test_logits, data.y_test, data.num_classes)
    return score.top1, score.mean_per_class
