"""Runs in mode ``upstream``: the accuracy that was published for each checkpoint beside the one that was measured.

They are no transfer results, and are averaged with none: a table of their own, a row per checkpoint and task.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from ..analysis.claims import Agreement, agreement_of, binomial_interval
from ..analysis.intervals import Interval
from ..schema import ResultsError, Task
from ..store.csvfile import read_csv, to_csv
from ..store.frame import PUBLISHED
from .contents import by_content
from .style import percent, signed_percent
from .tables import NOTHING, Field, Table

if TYPE_CHECKING:
    import pandas as pd

    from ..registry import Registry

MODE = "upstream"
_HEADER = ("Checkpoint", "Sparsity %", "Claimed %", "Measured % [95 %]", "Difference", "Top-5 %", "Claim")
_ENDING = re.compile(r"(-limit\d+)?(@[0-9a-f]+)?$")
_NOTES = (
    "Claimed: top-1 as published. Measured: the checkpoint's own head; binomial interval over test images (Wilson).",
    "The claim holds where it lies in the interval.",
)


@dataclass(frozen=True)
class OwnTask:
    """A checkpoint's own head on its own task; accuracies are fractions, NaN where they aren't known.

    ``difference`` is the measured top-1 minus the claimed one; ``published`` is how many images the claim is about.
    """

    checkpoint: str
    method: str
    sparsity: float
    reference: str
    task: str
    claimed: float
    top1: float
    low: float
    high: float
    difference: float
    top5: float
    images: int
    published: int | None
    claim: Agreement

    @classmethod
    def of(
        cls, *, claimed: float, top1: float, images: int, published: int | None, same_data: bool = True, **more: Any
    ) -> OwnTask:
        """Return the row of a measured accuracy, with its interval and what that says of the claim.

        ``same_data`` is whether the claim is about the task's data set; of that it is about all published images.
        """
        low, high = binomial_interval(round(top1 * images), images)
        same = same_data and published in (None, images)
        claim = agreement_of(claimed, low, high, same_images=same)
        values: dict[str, Any] = {
            "claimed": claimed,
            "top1": top1,
            "low": low,
            "high": high,
            "difference": top1 - claimed,
        }
        return cls(**values, images=images, published=published, claim=claim, **more)


COLUMNS: tuple[str, ...] = tuple(OwnTask.__dataclass_fields__)
"""The columns of ``upstream.csv``."""


def own_task_rows(frame: pd.DataFrame, registry: Registry, keys: Collection[str] | None = None) -> list[OwnTask]:
    """Return a row per checkpoint and own task, sorted by task, sparsity and checkpoint.

    Parameters
    ----------
    frame : DataFrame
        A tidy results table. Of several runs that differ in how they were computed the newest counts.
    registry : Registry
        The tasks.
    keys : collection of str, optional
        The record keys of the runs that are wanted.
    """
    own = by_content(frame[(frame["mode"] == MODE) & (frame["status"] == "ok") & frame["top1"].notna()], registry)
    if keys is not None:
        own = own[own["record_key"].isin(keys)]
    own = own.sort_values("started", kind="stable").drop_duplicates(["checkpoint", "task"], keep="last")
    rows = [_row(run, registry) for run in own.astype(object).to_dict("records")]
    return sorted(rows, key=lambda row: (row.task, row.sparsity, row.checkpoint))


def task_named(registry: Registry, name: str) -> Task | None:
    """Return a registered task by its name in a table, which may end in a limit or a content's digits."""
    return registry.tasks.get(name) or registry.tasks.get(_ENDING.sub("", name))


def _row(run: dict[Any, Any], registry: Registry) -> OwnTask:
    task = task_named(registry, str(run["task"]))
    return OwnTask.of(
        checkpoint=str(run["checkpoint"]),
        method=str(run["method"]),
        sparsity=_number(run["sparsity"]),
        reference=run["reference"] if isinstance(run["reference"], str) else "",
        task=str(run["task"]),
        claimed=_number(run["upstream_top1"]),
        top1=float(run["top1"]),
        top5=_number(run["top5"]),
        images=int(run["n_test"]),
        published=None if task is None else task.published_images,
    )


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) else math.nan


def own_task_tables(rows: Sequence[OwnTask]) -> list[Table]:
    """Return one table per task."""
    tables = []
    for task in dict.fromkeys(row.task for row in rows):
        own = [row for row in rows if row.task == task]
        sizes = sorted({(row.images, row.published) for row in own}, key=str)
        images = " and ".join(
            f"{n:,}" if whole in (None, n) else f"{n:,} of the {whole:,} that claims are about" for n, whole in sizes
        )
        notes = (f"Images: {images}.", *_NOTES)
        tables.append(Table(f"Own heads on {task}", _HEADER, tuple(_fields(row) for row in own), notes))
    return tables


def own_task_csv(rows: Sequence[OwnTask]) -> str:
    """Return the rows as CSV."""
    return to_csv(COLUMNS, [tuple(_rounded(value) for value in asdict(row).values()) for row in rows])


def own_task_values(rows: Sequence[OwnTask]) -> list[dict[str, Any]]:
    """Return the rows as JSON has them, with their mode; null for NaN."""
    return [{"mode": MODE, **{name: _plain(value) for name, value in asdict(row).items()}} for row in rows]


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def read_own_tasks(results: Path | str) -> tuple[list[OwnTask], dict[tuple[str, str], Interval]]:
    """Return what lies beside curated results as ``upstream.csv`` and ``upstream_agreement.csv``.

    Parameters
    ----------
    results : Path or str
        As for :func:`~sparsebench.store.read_results`.

    Returns
    -------
    rows : list of OwnTask
        Nothing without the first file.
    agreement : dict of (str, str) to Interval
        By checkpoint and task, the agreement with the reference.

    Raises
    ------
    ResultsError
        If a file isn't such a table.
    """
    folder = Path(results) if Path(results).is_dir() else Path(results).parent
    file, other = folder / "upstream.csv", folder / "upstream_agreement.csv"
    if results == PUBLISHED or (folder / "records").is_dir() or not file.exists():
        return [], {}
    try:
        rows = [_read(row) for row in _dicts(file)]
        found = _dicts(other) if other.exists() else []  # rows against a dense twin come after those against references
        agreement = {(row["checkpoint"], row["task"]): _agreement(row) for row in reversed(found)}
    except (KeyError, TypeError, ValueError) as error:
        raise ResultsError(
            f"{str(folder)!r} holds an upstream.csv or upstream_agreement.csv that can't be read: {error}",
            "`sparsebench report` writes the first; move them away to leave them out",
        ) from error
    return rows, agreement


def _dicts(path: Path) -> list[dict[str, str]]:
    header, rows = read_csv(path)
    return [dict(zip(header, row, strict=True)) for row in rows]


def _agreement(row: dict[str, str]) -> Interval:
    low, high = (_float(row[f"agreement_{end}"]) for end in ("low", "high"))
    return Interval(_float(row["agreement"]), low, high, ())


def _read(row: dict[str, str]) -> OwnTask:
    if row["claim"] not in get_args(Agreement):
        raise ValueError(f"no claim is {row['claim']!r}")
    numbers = ("sparsity", "claimed", "top1", "low", "high", "difference", "top5")
    values: dict[str, Any] = row | {name: _float(row[name]) for name in numbers}
    published = int(row["published"]) if row["published"] else None
    return OwnTask(**values | {"images": int(row["images"]), "published": published})


def _float(text: str) -> float:
    return float(text) if text else math.nan


def _rounded(value: Any) -> Any:
    return _plain(round(value, 6) + 0.0 if isinstance(value, float) else value)


def _fields(row: OwnTask) -> tuple[Field, ...]:
    unknown = math.isnan(row.claimed)
    texts = (
        row.checkpoint,
        percent(row.sparsity, 1).removesuffix(".0"),
        NOTHING if unknown else percent(row.claimed),
        f"{percent(row.top1)} [{percent(row.low)}, {percent(row.high)}]",
        NOTHING if unknown else signed_percent(row.difference, 2),
        NOTHING if math.isnan(row.top5) else percent(row.top5),
        row.claim,
    )
    return tuple(map(Field, texts))
