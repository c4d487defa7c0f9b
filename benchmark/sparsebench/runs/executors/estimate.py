"""How long runs will take, learned from those that have ended."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import cache, cached_property

from ...schema import Group, RunRecord, RunSpec, UnknownNameError

Key = tuple[str, ...]

_START_SECONDS = 1.0
"""Loading a checkpoint and a task."""
_RATES = {"cpu": 2e10, "cuda": 2e12}
"""Multiply-adds per second, until something has run."""
_HEAD = 2e5
"""Multiply-adds per image and epoch of a linear classifier."""
_UNKNOWN_FLOPS = 1e9
_UNKNOWN_IMAGES = 10_000


class Estimator:
    """Estimates seconds of runs and groups.

    A run that differs from finished ones in its checkpoint or seed alone takes what they took. Any other is scaled from
    the finished runs of its mode (of its probe, if there are any) by images, epochs and multiply-adds.

    Parameters
    ----------
    records : iterable of RunRecord
        What has been run; failures say nothing.
    flops_of : callable
        From an architecture's name to its multiply-adds per image.
    """

    def __init__(self, records: Iterable[RunRecord], flops_of: Callable[[str], float] | None = None) -> None:
        self._flops_of = flops_of or flops_of_architecture
        self._images: dict[str, int] = {}
        self._same: dict[Key, list[float]] = defaultdict(list)
        ended = [r for r in records if r.status == "ok" and r.seconds is not None and r.scores is not None]
        for record in ended:
            assert record.scores is not None  # noqa: S101 - chosen above
            self._images[record.spec.task] = record.scores.n_train + record.scores.n_test
            self._same[_same(record.spec)].append(record.seconds or 0.0)
        self._ended = ended

    @cached_property
    def _rates(self) -> dict[Key, tuple[float, float]]:
        """Seconds and multiply-adds by kinds of runs; counted when they are first needed, which loads torch."""
        rates: dict[Key, tuple[float, float]] = defaultdict(lambda: (0.0, 0.0))
        for record in self._ended:
            work = self._work(record.spec, self._images[record.spec.task])
            for key in _kinds(record.spec):
                seconds, done = rates[key]
                rates[key] = seconds + (record.seconds or 0.0), done + work
        return rates

    def run(self, spec: RunSpec, images: int | None = None) -> float:
        """Return the seconds of a run; ``images`` are its task's training and test images, where no record says it."""
        if times := self._same.get(_same(spec)):
            return sum(times) / len(times)
        work = self._work(spec, self._images.get(spec.task, images or _UNKNOWN_IMAGES))
        for key in _kinds(spec):
            if key in self._rates:
                seconds, done = self._rates[key]
                return work * seconds / done
        rate = _RATES.get(spec.numerics.device.partition(":")[0], _RATES["cpu"])
        return work / (rate * (spec.numerics.threads if rate == _RATES["cpu"] else 1))

    def group(self, group: Group) -> float:
        """Return the seconds of a group."""
        sizes = group.task.sizes or {}
        trained = sizes.get("trainval") or sizes.get("train", 0) + sizes.get("val", 0)
        tested = sizes.get("test", group.task.published_images or 0)
        return _START_SECONDS + sum(self.run(spec, (trained + tested) or None) for spec in group.runs)

    def _work(self, spec: RunSpec, images: int) -> float:
        """Return about the multiply-adds of a run: training is three passes per epoch, a linear run extracts once."""
        per_image, epochs = self._flops_of(spec.arch), int(spec.protocol.get("epochs") or 1)
        if spec.mode == "linear":
            return images * (per_image + _HEAD * epochs)
        if spec.mode == "upstream":
            return images * per_image
        grid = spec.protocol.get("grid") or {}
        trainings = 1 + len(grid.get("lr", ())) * len(grid.get("weight_decay", ()))
        return images * per_image * (1 + 3 * epochs * trainings)


def _same(spec: RunSpec) -> Key:
    return (spec.arch, spec.task, spec.protocol_name, *_kinds(spec)[0])


def _kinds(spec: RunSpec) -> list[Key]:
    """Return the kinds of runs that a run is like, nearest first."""
    how = (spec.numerics.device.partition(":")[0], str(spec.numerics.threads))
    return [(spec.mode, spec.probe or "", *how), (spec.mode, *how)]


@cache
def flops_of_architecture(name: str) -> float:
    """Return the multiply-adds of one image through an architecture; a guess where it can't be built."""
    from ...models import backbones, flops  # they load torch, which nothing else here needs

    try:
        architecture = backbones.find(name)[0]
    except UnknownNameError:  # an old record's
        return _UNKNOWN_FLOPS
    with backbones.skip_init():
        model = backbones.build(architecture, 10)
    size = backbones.preprocess_of(architecture).input_size
    return float(sum(layer.dense for layer in flops.count(model, size)))
