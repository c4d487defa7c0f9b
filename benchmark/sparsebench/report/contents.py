"""What runs are of, by content: each network, data set and protocol has one name, and a name stands for one of them.

Records carry the names that people gave. Here they are made to agree with the contents: what was run under two names
goes by the newest. A name that was given to two things stays with the registered one, else with the newest (a folder
that grew, a network trained again); the others get an ending, ``photos@1f3a``. Both are said.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from ..registry import Registry

_NETWORK = ("arch", "weights_sha256", "mask_sha256")
_CELL = ("checkpoint", "task", "mode", "probe", "protocol")
LABELS: tuple[str, ...] = (
    "method",
    "variant",
    "sparsity",
    "sparsity_measured",
    "sparsity_scope",
    "distribution",
    "nm",
    "reference",
    "twin_of",
    "upstream_top1",
)
"""What is known about a checkpoint and repeated on its line."""

_ENDING = 4


class NameWarning(UserWarning):
    """A name that stands for several things, or a thing that has several names."""


def by_content(runs: pd.DataFrame, registry: Registry) -> pd.DataFrame:
    """Return a tidy table whose names agree with contents, and with a column ``suite``.

    Where the hash of a content is not known (curated tables may lack it) the name stands for it. The suite is the first
    of the registry's that has the task, on the same split, and the run's protocol; else the first that has the task;
    none for a task of one's own.

    Parameters
    ----------
    runs : DataFrame
        A tidy results table.
    registry : Registry
        The registered tasks and suites.
    """
    if runs.empty:
        return runs.assign(suite="")
    runs = runs.copy()
    splits = {task.id: task.split_sha256 for task in registry.tasks.values() if task.split_sha256}
    network = _content(runs, _NETWORK, "checkpoint")
    given = _text(runs["checkpoint"])
    runs["checkpoint"] = _named(runs, "checkpoint", network, {})
    for label in (*LABELS, "replicate"):  # one network has one description: the newest
        runs[label] = _newest(runs, label, network)
    renamed = dict(zip(given, _newest(runs, "checkpoint", given), strict=True))
    for link in ("reference", "twin_of"):  # to what the newest network of that name is called
        runs[link] = runs[link].map(lambda name: renamed.get(name, name)).astype("string")
    data = _content(runs, ("split_sha256",), "task")
    runs["suite"] = _suites(runs, registry, splits)
    runs["task"] = _named(runs, "task", data, splits)
    _take_newest_metric(runs)
    cell = [*(name for name in _CELL if name != "protocol"), "protocol"]
    runs["protocol"] = _split_where_ambiguous(runs, "protocol", cell, "protocol_sha256")
    runs["checkpoint"] = _split_where_ambiguous(runs, "checkpoint", cell, "transform_sha256")
    return runs


def transfer_only(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs of a tidy table that are results of transfer: not those on checkpoints' own tasks."""
    return runs[runs["mode"] != "upstream"]


def _text(series: pd.Series) -> pd.Series:
    return series.astype("string").fillna("")


def joined(runs: pd.DataFrame, columns: Sequence[str], separator: str) -> pd.Series:
    """Return each run's values of some columns as one text; what is missing is empty."""
    first, *others = columns
    return _text(runs[first]).str.cat(runs[others].astype("string").fillna(""), sep=separator)


def _content(runs: pd.DataFrame, columns: tuple[str, ...], name: str) -> pd.Series:
    """Return each run's content as text: its hashes, or its name where none of them is known."""
    hashes = [column for column in columns if column.endswith("_sha256")]
    return joined(runs, columns, "/").where(joined(runs, hashes, "") != "", "name:" + _text(runs[name]))


def _newest(runs: pd.DataFrame, column: str, content: pd.Series) -> pd.Series:
    """Return, for each run, the value that the newest run of the same content has (of those that have any)."""
    order = runs.assign(_content=content, _started=_text(runs["started"]), _value=_text(runs[column]))
    order = order.sort_values(["_started", "_value"], kind="stable")
    return order.groupby("_content", sort=False)[column].transform("last").reindex(runs.index)


def _named(runs: pd.DataFrame, column: str, content: pd.Series, registered: Mapping[str, str]) -> pd.Series:
    """Return names that agree with contents; ``registered`` contents, else the newest, keep their plain names."""
    names = _text(_newest(runs, column, content))
    for old, new in sorted({(o, n) for o, n in zip(_text(runs[column]), names, strict=True) if o != n}):
        _warn(f"{column} {old!r} is the same as {new!r}: shown as {new!r}")
    contents = content.groupby(names).nunique()
    for name in sorted(contents[contents > 1].index):
        own = names == name
        names[own] = name + _endings(content[own], registered.get(name) or _latest(runs[own], content[own]))
        _warn(f"{column} {name!r} stands for {contents[name]} different ones: {', '.join(sorted(set(names[own])))}")
    return names


def _latest(runs: pd.DataFrame, contents: pd.Series) -> str:
    """Return the content that was run last."""
    return max(zip(_text(runs["started"]), contents, strict=True))[1]


def _endings(contents: pd.Series, plain: str) -> pd.Series:
    """Return a short ending for each content, as long as it must be for them to differ; none for ``plain``."""
    digests = {text: hashlib.sha256(text.encode()).hexdigest() for text in set(contents) - {plain}}
    length = _ENDING
    while len({digest[:length] for digest in digests.values()}) < len(digests):
        length += 1
    return contents.map({text: f"@{digest[:length]}" for text, digest in digests.items()} | {plain: ""})


def _split_where_ambiguous(runs: pd.DataFrame, column: str, cell: list[str], content: str) -> pd.Series:
    """Return names with an ending where the runs of some cell differ in a content; else as they are."""
    names, contents = _text(runs[column]), _text(runs[content])
    keys = joined(runs, cell, "\n")
    several = contents.groupby(keys).transform("nunique") > 1
    for name in sorted(set(names[several])):
        own = names == name
        names[own] = name + _endings(contents[own], _latest(runs[own], contents[own]))
        what = content.removesuffix("_sha256")
        _warn(f"{column} {name!r} ran with different settings ({what}): {', '.join(sorted(set(names[own])))}")
    return names


def _take_newest_metric(runs: pd.DataFrame) -> None:
    """Let the accuracy of each task be in the metric that its newest run names, where the other was recorded too."""
    newest = _text(_newest(runs, "metric", _text(runs["task"])))
    other = newest != _text(runs["metric"])
    for metric in set(newest[other]) & {"top1", "mean_per_class"}:
        rows = other & (newest == metric) & runs[metric].notna()
        runs.loc[rows, "accuracy"] = runs.loc[rows, metric]
        runs.loc[rows, "metric"] = metric


def _suites(runs: pd.DataFrame, registry: Registry, splits: Mapping[str, str]) -> pd.Series:
    """Return the suite that each run belongs to, by its task, split, mode and protocol."""
    import pandas as pd

    found: dict[tuple[str, ...], str] = {}
    keys = list(zip(*(_text(runs[c]) for c in ("task", "split_sha256", "mode", "protocol")), strict=True))
    for task, split, mode, protocol in set(keys):
        suites = [suite for suite in registry.suites.values() if task in suite.tasks]
        if split and splits.get(task, split) != split:
            suites = []
        own = [s for s in suites if any(m == mode and how.protocol == protocol for m, how in s.modes.items())]
        found[task, split, mode, protocol] = next((suite.id for suite in [*own, *suites]), "")
    return pd.Series([found[key] for key in keys], index=runs.index, dtype="string")


@contextmanager
def without_warnings() -> Iterator[None]:
    """Give no :class:`NameWarning` in the block, where the same names were made to agree before."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NameWarning)
        yield


def _warn(text: str) -> None:
    warnings.warn(text, NameWarning, stacklevel=5)
