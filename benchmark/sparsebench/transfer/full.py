"""Full mode: choose the learning rate and weight decay where the protocol has a grid, finetune, and score."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..common.progress import Progress
from ..schema import Protocol, RunSpec, Trial
from .finetune import EpochReport, TrainingState, finetune, train_together
from .grid_search import grid_progress, search_grid, with_choice
from .outcome import Inputs, Outcome
from .probes.choice import at_best, choose
from .scoring import finetuned_scores, predictions_of


def run_full(
    inputs: Inputs,
    protocol: Protocol,
    spec: RunSpec,
    *,
    progress: Progress,
    workers: int | None,
    resume: TrainingState,
    observe: Callable[[EpochReport], None],
) -> Outcome:
    """Run one cell in full mode.

    Parameters
    ----------
    inputs : Inputs
        What is finetuned, on what.
    protocol : Protocol
        How.
    spec : RunSpec
        The run: its seed, metric and numerics.
    progress : callable
        Called with the work done and the total.
    workers : int or None
        Threads that decode images; see :func:`~sparsebench.datasets.images.batches.evaluation_batches`.
    resume : TrainingState
        Where the run keeps how far it is.
    observe : callable
        Called after each epoch.

    Raises
    ------
    RunError
        If training diverges, or the mask doesn't hold.
    """
    data = inputs.data
    chosen = _choose(inputs, protocol, spec, progress, workers, resume)
    result = finetune(
        inputs.backbone,
        data,
        inputs.transform,
        chosen.protocol,
        spec.seed,
        numerics=spec.numerics,
        progress=chosen.progress,
        workers=workers,
        resume=resume,
        observe=observe,
    )
    scores = finetuned_scores(
        result.test_logits,
        data,
        n_train=result.n_train,
        val_logits=result.val_logits,
        train_loss=result.train_loss,
        best_test=result.best_test,
    )
    return Outcome(
        with_choice(scores, chosen.trial, len(data.val)),
        predictions_of(result.test_logits, data),
        mask_proof=result.mask_proof,
        trials=chosen.trials,
        tensors={name: value.detach().cpu().contiguous() for name, value in result.state_dict.items()},
    )


def train_full(
    inputs: Inputs,
    protocol: Protocol,
    spec: RunSpec,
    *,
    progress: Progress,
    workers: int | None,
    resume: TrainingState,
    observe: Callable[[EpochReport], None],
) -> dict[str, int]:
    """Train one cell as one of several processes; :func:`run_full` scores what is then in ``resume``.

    Parameters are those of :func:`run_full`.

    Returns
    -------
    dict of str to int
        Bytes that all processes have sent in the training, by kind.
    """
    chosen = _choose(inputs, protocol, spec, progress, workers, resume)
    return train_together(
        inputs.backbone,
        inputs.data,
        inputs.transform,
        chosen.protocol,
        spec.seed,
        numerics=spec.numerics,
        progress=chosen.progress,
        workers=workers,
        resume=resume,
        observe=observe,
    )


@dataclass(frozen=True)
class _Chosen:
    """The protocol of the training itself, how it was chosen, and how the training's progress is reported."""

    protocol: Protocol
    progress: Progress
    trials: tuple[Trial, ...] = ()
    trial: Trial | None = None


def _choose(
    inputs: Inputs,
    protocol: Protocol,
    spec: RunSpec,
    progress: Progress,
    workers: int | None,
    resume: TrainingState,
) -> _Chosen:
    """Search the protocol's grid, if it has one."""
    if protocol.grid is None:
        return _Chosen(protocol, progress)
    searching, training = grid_progress(protocol, progress)
    trials = search_grid(
        inputs.backbone,
        inputs.data,
        inputs.transform,
        protocol,
        spec.seed,
        numerics=spec.numerics,
        progress=searching,
        workers=workers,
        resume=resume,
    )
    best = choose(trials, spec.metric)
    return _Chosen(at_best(protocol, best), training, trials, best)
