"""Which checkpoint to use: the cheapest of those that can't be told apart from the most accurate, within limits."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..schema import InputError
from .candidates import Candidate, Speed, front, read_candidates, speeds
from .speed import read_bench

LEVEL = 0.05


@dataclass(frozen=True)
class Limits:
    """What a candidate must keep to.

    Parameters
    ----------
    max_ms : float, optional
        Milliseconds per image, as measured (the median).
    max_mb : float, optional
        Megabytes of the packed backbone.
    min_accuracy : float, optional
        A fraction.
    """

    max_ms: float | None = None
    max_mb: float | None = None
    min_accuracy: float | None = None

    def unmet(self, one: Candidate) -> tuple[str, ...]:
        """Return the limits that a candidate misses."""
        texts = []
        if self.max_ms is not None and (one.speed is None or one.speed.ms > self.max_ms):
            texts.append("not measured" if one.speed is None else "too slow")
        if self.max_mb is not None and (one.megabytes is None or one.megabytes > self.max_mb):
            texts.append("size unknown" if one.megabytes is None else "too large")
        if self.min_accuracy is not None and one.accuracy.value < self.min_accuracy:
            texts.append("not accurate enough")
        return tuple(texts)

    def doubts(self, one: Candidate) -> list[str]:
        """Return the limits that a candidate keeps to, but not with its whole interval."""
        texts = []
        if self.min_accuracy is not None and not one.accuracy.low >= self.min_accuracy:
            texts.append(f"its interval reaches below the least accuracy of {_percent(self.min_accuracy)}")
        if self.max_ms is not None and one.speed is not None and one.speed.high > self.max_ms:
            texts.append(f"a quarter of its measurements took longer than {self.max_ms:g} ms per image")
        return texts


@dataclass(frozen=True)
class Recommendation:
    """What is recommended, among what, and how sure that is.

    Parameters
    ----------
    chosen : Candidate, optional
        None where no candidate keeps to the limits.
    candidates : tuple of Candidate
        All of them, the most accurate first.
    tasks : tuple of str
        What accuracy is the mean over.
    sentences : tuple of str
        The recommendation and why, in words.
    """

    chosen: Candidate | None
    candidates: tuple[Candidate, ...]
    tasks: tuple[str, ...]
    sentences: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON has it; null for what isn't known."""
        return {
            "recommended": None if self.chosen is None else _row(self.chosen),
            "why": list(self.sentences),
            "tasks": list(self.tasks),
            "candidates": [_row(one) for one in self.candidates],
        }

    def __str__(self) -> str:
        return "\n".join(self.sentences)


def recommend(
    results: Path | str,
    *,
    bench: Path | None = None,
    tasks: Collection[str] = (),
    modes: Collection[str] = (),
    probes: Collection[str] = (),
    limits: Limits | None = None,
    engine: str | None = None,
    device: str = "cpu",
    sizes: Mapping[str, int] | None = None,
    processor: str | None = None,
) -> Recommendation:
    r"""Recommend a checkpoint for some tasks, from records and measured speed.

    Of the candidates within the limits, those within one standard error of the most accurate one are as good as it
    (the one-standard-error rule of Breiman et al., 1984); the fastest of them is recommended, without measurements the
    smallest. Beside that it is said which can't be told apart from the most accurate one: all but those whose
    difference from it has an interval below 0, at a level of 5 % over all K - 1 comparisons (Bonferroni). That set
    holds the truly best one with a probability of at least 95 % (Gupta, 1965).

    Parameters
    ----------
    results : path or str
        A results folder or a tidy CSV file.
    bench : Path, optional
        The folder that ``sparsebench bench`` wrote.
    tasks, modes, probes : collections of str
        What to look at; all that there is where they are empty.
    limits : Limits, optional
        What a candidate must keep to.
    engine : str, optional
        The engine that will be used; by default the fastest of each.
    device : str
        Where it will be used.
    sizes : mapping of str to int, optional
        Bytes of packed backbones by checkpoint, where ``bench`` hasn't measured them.
    processor : str, optional
        This machine's, to say where speed was measured on another one.

    Raises
    ------
    InputError
        If a limit can't be used, or needs measurements that there are none of.
    ResultsError
        If there is nothing to choose from.
    """
    limits = limits or Limits()
    _check(limits, bench)
    found = read_candidates(results, tasks, {"mode": modes, "probe": probes})
    table = None if bench is None else read_bench(bench)
    fast = {} if table is None else speeds(table, device, engine)
    packed = dict(sizes or {})
    if table is not None:
        packed |= {str(n): int(b) for n, b in zip(table["checkpoint"], table["packed_bytes"], strict=True)}
    candidates = [
        Candidate(
            name,
            how,
            found.sparsities[name, how],
            accuracy,
            speed=fast.get(name),
            megabytes=packed[name] / 1e6 if name in packed else None,
        )
        for (name, how), accuracy in zip(found.names, found.intervals(), strict=True)
    ]
    candidates = [replace(one, unmet=limits.unmet(one)) for one in front(candidates)]
    within = [number for number, one in enumerate(candidates) if not one.unmet]
    chosen = None
    if within:
        best = max(within, key=lambda number: candidates[number].accuracy.value)
        confidence = 1.0 - LEVEL / max(1, len(within) - 1)
        for number, behind in enumerate(found.intervals(best, confidence)):
            inside = not candidates[number].unmet
            error = behind.variance**0.5 if behind.parts else 0.0
            candidates[number] = replace(
                candidates[number],
                behind=behind,
                tied=inside and not behind.high < 0,
                close=inside and -behind.value <= error,
            )
        chosen = min((one for one in candidates if one.close), key=lambda one: (*one.cost, -one.accuracy.value))
    ordered = tuple(sorted(candidates, key=lambda one: (-one.accuracy.value, one.name)))
    sentences = _sentences(chosen, ordered, found.tasks, limits)
    if not found.paired:
        sentences.append(
            "Not all runs kept predictions: candidates aren't compared image by image, and intervals are wider."
        )
    sentences += _notes(found.left_out, fast, bench, processor)
    return Recommendation(chosen, ordered, found.tasks, tuple(sentences))


def _check(limits: Limits, bench: Path | None) -> None:
    for name, value in (("--max-ms", limits.max_ms), ("--max-mb", limits.max_mb)):
        if value is not None and not 0 < value < math.inf:
            raise InputError(f"{name} {value!r} is no limit", "give a number above 0")
    least = limits.min_accuracy
    if least is not None and not 0 <= least <= 1:
        raise InputError(f"--min-accuracy {least!r} is no accuracy", "give a fraction, such as 0.8")
    if limits.max_ms is not None and bench is None:
        raise InputError("--max-ms needs measured speed", "measure first: sparsebench bench; then --bench DIR")


def _sentences(
    chosen: Candidate | None, ordered: Sequence[Candidate], tasks: Sequence[str], limits: Limits
) -> list[str]:
    over = f"{', '.join(tasks)}" if len(tasks) < 6 else f"{len(tasks)} tasks"
    if chosen is None:
        missed: dict[str, int] = {}
        for one in ordered:
            for text in one.unmet:
                missed[text] = missed.get(text, 0) + 1
        reasons = ", ".join(f"{count} {text}" for text, count in missed.items())
        return [f"None of the {len(ordered)} candidates keeps to the limits on {over}: {reasons}."]
    within = [one for one in ordered if not one.unmet]
    best, close, tied = within[0], [o for o in within if o.close], [o for o in within if o.tied]
    what = "fastest" if chosen.speed else "smallest" if chosen.megabytes is not None else "first by name"
    parts = [f"{_percent(chosen.accuracy.value)} {_range(chosen)} on {over}"]
    if chosen.speed is not None:
        parts.append(f"{chosen.speed.ms:.3g} ms per image with engine {chosen.speed.engine}")
    if chosen.megabytes is not None:
        parts.append(f"{chosen.megabytes:.2f} MB packed")
    why = f"Use {chosen.name}: {', '.join(parts)}."
    if len(within) == 1:
        because = "It is the only candidate."
    elif len(close) == 1:
        because = f"It is the most accurate of {len(within)}, by more than a standard error."
    elif chosen is best:
        because = f"It is the most accurate, and the {what} of the {len(close)} within a standard error of that."
    else:
        gap = "" if chosen.behind is None else f", {_points(-chosen.behind.value)} more accurate {_gap(chosen.behind)}"
        because = (
            f"It is the {what} of the {len(close)} within a standard error of the most accurate, {best.name}{gap}."
        )
    if len(tied) > 1:
        because += (
            f" {len(tied) - 1} of the others can't be told apart from the most accurate: that isn't proof that they are"
            " as good; more seeds or test images would say."
        )
    elif len(within) > 1:
        because += " All others are less accurate, by more than chance explains."
    doubts = limits.doubts(chosen)
    covers = chosen.accuracy.covers
    scope = (
        f"Intervals of 95 % cover {covers}; those of differences hold for all at once."
        if chosen.accuracy.scope
        else "There are too few runs for an interval."
    )
    return [why, because, *([f"Mind that {' and '.join(doubts)}."] if doubts else []), scope]


def _notes(left_out: Sequence[str], fast: Mapping[str, Speed], bench: Path | None, processor: str | None) -> list[str]:
    notes = []
    if left_out:
        shown = ", ".join(left_out[:3]) + (", ..." if len(left_out) > 3 else "")
        notes.append(f"Left out, as they lack some task: {len(left_out)} ({shown}).")
    if bench is None:
        notes.append("Speed isn't known: measure it on this machine with `sparsebench bench`, then give --bench DIR.")
    for one in list(fast.values())[:1]:
        where = f"{one.processor}, {one.threads} threads, batches of {one.batch}"
        other = "" if processor in (None, one.processor) else f"; this machine is another one, {processor}"
        notes.append(f"Speed was measured on {where}{other}.")
    return notes


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _points(value: float) -> str:
    return f"{100 * value:.1f} points"


def _range(one: Candidate) -> str:
    low, high = one.accuracy.low, one.accuracy.high
    return "[no interval]" if math.isnan(low) else f"[{100 * low:.1f}, {100 * high:.1f}]"


def _gap(behind: Any) -> str:
    return "[no interval]" if math.isnan(behind.low) else f"[{-100 * behind.high:.1f}, {-100 * behind.low:.1f}]"


def _row(one: Candidate) -> dict[str, Any]:
    values = {
        "checkpoint": one.checkpoint,
        "how": one.how,
        "sparsity": one.sparsity,
        "accuracy": one.accuracy.value,
        "accuracy_low": one.accuracy.low,
        "accuracy_high": one.accuracy.high,
        "covers": list(one.accuracy.scope),
        "behind": one.behind.value if one.behind else None,
        "behind_low": one.behind.low if one.behind else None,
        "behind_high": one.behind.high if one.behind else None,
        "engine": one.speed.engine if one.speed else None,
        "ms_per_image": one.speed.ms if one.speed else None,
        "ms_per_image_low": one.speed.low if one.speed else None,
        "ms_per_image_high": one.speed.high if one.speed else None,
        "packed_mb": one.megabytes,
        "unmet": list(one.unmet),
        "tied_with_best": one.tied,
        "within_one_standard_error": one.close,
        "pareto": one.front,
    }
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}
