"""The statistics that tables show, as means over tasks, with their derivatives in each model's error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .panels import Array, Panel


@dataclass(frozen=True, eq=False)
class Linearised:
    """p statistics, each a mean over tasks, and how they change with the models' errors.

    Parameters
    ----------
    values : ndarray, shape (p,)
        The statistics.
    by_task : ndarray, shape (p, tasks)
        What they are the means of.
    panels : tuple of Panel
        The tasks that they are means over.
    gradients : tuple of dict of str to ndarray of shape (p,)
        By task, and there by model: the derivative of each statistic in the model's error on that task.
    perfect : tuple of str
        Tasks that were left out because a reference makes no error on them.
    """

    values: Array
    by_task: Array
    panels: tuple[Panel, ...]
    gradients: tuple[dict[str, Array], ...]
    perfect: tuple[str, ...] = ()


def relative_error_increases(panels: Sequence[Panel], references: Mapping[str, str]) -> Linearised:
    r"""Return the mean relative error increase of entries, each against its reference.

    With the errors :math:`e_t` of an entry and :math:`r_t` of its reference the statistic is
    :math:`\frac1T \sum_t (e_t / r_t - 1)`. Its derivatives are :math:`1/(T r_t)` in the entry's error and
    :math:`-e_t/(T r_t^2)` in the reference's: the delta method.

    Parameters
    ----------
    panels : sequence of Panel
        The tasks; each has all entries and references.
    references : mapping of str to str
        Entry to reference, in the order of the result.

    Raises
    ------
    ValueError
        If no task is left: there is none, or on each some reference makes no error.
    """
    perfect = tuple(p.task for p in panels if any(p.error(name) <= 0 for name in set(references.values())))
    used = tuple(panel for panel in panels if panel.task not in perfect)
    if not used:
        raise ValueError("no task is left to compare on")
    by_task = np.empty((len(references), len(used)))
    gradients: list[dict[str, Array]] = []
    for column, panel in enumerate(used):
        errors = {name: panel.error(name) for name in {*references, *references.values()}}
        own = {name: np.zeros(len(references)) for name in errors}
        for row, (entry, reference) in enumerate(references.items()):
            e, r = errors[entry], errors[reference]
            by_task[row, column] = e / r - 1.0
            own[entry][row] += 1.0 / (len(used) * r)
            own[reference][row] -= e / (len(used) * r**2)
        gradients.append(own)
    return Linearised(by_task.mean(axis=1), by_task, used, tuple(gradients), perfect)


def relative_error_increase_between(
    panels: Sequence[Panel], models: Sequence[str], others: Sequence[str]
) -> Linearised:
    r"""Return the mean relative error increase of some models over others, each task's errors averaged over them.

    :math:`\frac1T \sum_t (\bar e_t / \bar r_t - 1)` with the mean errors of ``models`` and of ``others``.

    Raises
    ------
    ValueError
        If no task is left: there is none, or the others make no error on any.
    """
    means = {panel.task: (_mean_error(panel, models), _mean_error(panel, others)) for panel in panels}
    perfect = tuple(panel.task for panel in panels if means[panel.task][1] <= 0)
    used = tuple(panel for panel in panels if panel.task not in perfect)
    if not used:
        raise ValueError("the second makes no error on any task, and no increase is relative to nothing")
    by_task, gradients = np.empty((1, len(used))), []
    for column, panel in enumerate(used):
        e, r = means[panel.task]
        by_task[0, column] = e / r - 1.0
        gradients.append(_two_means(models, others, 1.0 / (len(used) * r), -e / (len(used) * r**2)))
    return Linearised(by_task.mean(axis=1), by_task, used, tuple(gradients), perfect)


def accuracy_difference(panel: Panel, models: Sequence[str], others: Sequence[str]) -> Linearised:
    """Return the difference on a task of the mean accuracies of some models and others, ``models`` minus ``others``."""
    value = np.array([_mean_error(panel, others) - _mean_error(panel, models)])
    return Linearised(value, value[:, None], (panel,), (_two_means(models, others, -1.0, 1.0),))


def _mean_error(panel: Panel, models: Sequence[str]) -> float:
    return float(np.mean([panel.error(model) for model in models]))


def _two_means(models: Sequence[str], others: Sequence[str], own: float, theirs: float) -> dict[str, Array]:
    """Return the gradients in single models' errors, given those in the two means."""
    gradient = {name: np.zeros(1) for name in [*models, *others]}
    for names, slope in ((models, own), (others, theirs)):
        for name in names:
            gradient[name] += slope / len(names)
    return gradient


def accuracies(panels: Sequence[Panel], models: Sequence[str]) -> Linearised:
    """Return the mean accuracy over tasks of each model."""
    by_task = np.array([[1.0 - panel.error(model) for panel in panels] for model in models])
    unit = np.eye(len(models)) / len(panels)
    gradients = tuple({model: -unit[row] for row, model in enumerate(models)} for _ in panels)
    return Linearised(by_task.mean(axis=1), by_task, tuple(panels), gradients)
