"""Full mode: choose the learning rate and weight decay where the protocol has a grid, finetune, and score."""

from __future__ import annotations

from collections.abc import Callable

from ..common.progress import Progress
from ..schema import Protocol, RunSpec, Trial
from .finetune import EpochReport, TrainingState, finetune
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
    fixed = (inputs.backbone, data, inputs.transform)
    trials: tuple[Trial, ...] = ()
    chosen: Trial | None = None
    if protocol.grid is not None:
        searching, progress = grid_progress(protocol, progress)
        trials = search_grid(
            *fixed,
            protocol,
            spec.seed,
            numerics=spec.numerics,
            progress=searching,
            workers=workers,
            resume=resume,
        )
        chosen = choose(trials, spec.metric)
        protocol = at_best(protocol, chosen)
    result = finetune(
        *fixed,
        protocol,
        spec.seed,
        numerics=spec.numerics,
        progress=progress,
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
        with_choice(scores, chosen, len(data.val)),
        predictions_of(result.test_logits, data),
        mask_proof=result.mask_proof,
        trials=trials,
        tensors={name: value.detach().cpu().contiguous() for name, value in result.state_dict.items()},
    )
