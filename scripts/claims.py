"""Check that what is claimed of the committed results follows from their numbers.

``results/mini/claims.yaml`` and ``results/lite/claims.yaml`` list sentences, each with the files that say it and checks
over the summary of results.
Exit status 1, and a line per failure, where a file doesn't say a sentence, or a sentence no longer follows.

A check selects ``rows`` of a ``table`` by values of columns: ``mini`` (the default), ``lite`` and ``published`` are
summaries, the others are files beside the claims (``upstream_agreement``, ``corruptions``, ``memorisation``;
``fewshot``, in the mean over tasks; ``lite_corruptions``, ``lite_upstream``, ``lite_engines``).
Texts may be patterns as a shell spells them, a list is one of several, ``not`` has patterns of checkpoints to omit.
The columns are those of the summary (:func:`sparsebench.report.aggregate.aggregate`), ``verdict`` (``better``,
``worse`` or ``undecided`` against the reference, by the 95 % interval) and ``rank_width``. All rows selected must do
what the check says:

- ``verdict``;
- ``column`` (by default ``relative_error``) with ``at_least`` or ``at_most``, or ``text`` (a pattern);
- ``rounds_to``: by checkpoint, the number in percent as the sentence has it, for example ``+6.4``;
- ``of``: the numbers are those of ``column`` minus those of that checkpoint in the same way of running;
- ``correlation``: of two columns, Spearman's, with ``at_least`` or ``at_most``;
- ``count``: how many rows there must be; by default at least one.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from common import CURATED, PUBLISHED, ROOT, run_script
from sparsebench.report.aggregate import aggregate
from sparsebench.schema import ResultsError
from sparsebench.store import read_results
from sparsebench.store.classes import classes_reader

LITE = ROOT / "results" / "lite" / "runs.csv"
CLAIMS = [file.parent / "claims.yaml" for file in (CURATED, LITE)]
_SAYING = {"verdict", "at_least", "at_most", "text", "rounds_to", "count"}
_KEYS = _SAYING | {"table", "rows", "column", "of", "correlation"}
_WAY = ("mode", "probe", "protocol", "arch", "shots")


def tables() -> dict[str, pd.DataFrame]:
    """Return the summaries of the committed results."""
    files = {"mini": CURATED, "lite": LITE, "published": PUBLISHED}
    found = {}
    for name, file in files.items():
        summary = aggregate(read_results(file), predictions=classes_reader(file)).summary
        ends = zip(summary["relative_error_low"], summary["relative_error_high"], strict=True)
        verdicts = [_verdict(low, high) for low, high in ends]
        found[name] = summary.assign(rank_width=summary["rank_high"] - summary["rank_low"], verdict=verdicts)
    for name, file in {"corruptions": CURATED, "lite_corruptions": LITE}.items():
        corruptions = _beside("corruptions", file)
        ends = zip(corruptions["mce_low"], corruptions["mce_high"], strict=True)
        found[name] = corruptions.assign(verdict=[_verdict(low - 1, high - 1) for low, high in ends])
    found["fewshot"] = _over_tasks(_beside("fewshot"))
    found |= {f"lite_{name}": _beside(name, LITE) for name in ("upstream", "engines")}
    return found | {name: _beside(name) for name in ("upstream_agreement", "memorisation")}


def _beside(name: str, file: Path = CURATED) -> pd.DataFrame:
    """Return a file that lies beside a table of runs, by its name."""
    table = pd.read_csv(file.parent / f"{name}.csv", dtype={"severities": str, "probe": str})
    empty = pd.Series("", index=table.index)
    texts = {name: table.get(name, empty).fillna("") for name in ("mode", "probe")}
    return table.assign(**texts)


def _over_tasks(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the mean over tasks of few-shot accuracies, and half the intervals over draws of their gaps to dense's."""
    keys = ["mode", "probe", "protocol", "checkpoint", "shots"]
    found = rows.assign(square=((rows["high"] - rows["low"]) / 2) ** 2).groupby(keys, as_index=False)
    table = found.agg(accuracy=("accuracy", "mean"), square=("square", "sum"), tasks=("square", "size"))
    own = table.set_index(["checkpoint", "shots"])["square"]
    both = [row["square"] + own["mini.dense", row["shots"]] for _, row in table.iterrows()]
    return table.assign(gap_half=[square**0.5 for square in both] / table["tasks"])


def _verdict(low: float, high: float) -> str:
    return "better" if high < 0 else "worse" if low > 0 else "undecided"


def failures(claims: Sequence[Mapping[str, Any]], summaries: Mapping[str, pd.DataFrame]) -> list[str]:
    """Return a line for each claim that isn't said where it should be, and each check that doesn't hold."""
    found = []
    for claim in claims:
        text = plain(claim["claim"])
        for name in claim["in"]:
            if text not in plain((ROOT / name).read_text(encoding="utf-8")):
                found.append(f"{name} doesn't say: {text}")
        if not claim["checks"]:
            found.append(f"nothing is checked of: {text}")
        for check in claim["checks"]:
            found += [f"{reason} – so it doesn't follow that: {text}" for reason in broken(check, summaries)]
    return found


def plain(text: str) -> str:
    """Return text without marks of emphasis, on one line."""
    return re.sub(r"\s+", " ", re.sub(r"[*`]", "", text)).strip()


def broken(check: Mapping[str, Any], summaries: Mapping[str, pd.DataFrame]) -> list[str]:
    """Return what of a check doesn't hold.

    Raises
    ------
    ResultsError
        If it has a key that isn't known, or says nothing.
    """
    if unknown := set(check) - _KEYS:
        raise ResultsError(f"a check has no {', '.join(sorted(unknown))}")
    if not set(check) & _SAYING:
        raise ResultsError(f"a check says nothing: {dict(check)}")
    table = summaries[check.get("table", "mini")]
    rows = table[_selected(table, check["rows"])]
    if len(rows) != check.get("count", len(rows)) or (rows.empty and "count" not in check):
        return [f"{len(rows)} rows are {check['rows']}, not {check.get('count', 'at least one')}"]
    if "correlation" in check:
        value = float(rows[check["correlation"]].corr(method="spearman").iloc[0, 1])
        return [] if _within(value, check) else [f"the correlation of {check['correlation']} is {value:.2f}"]
    lines = [{str(k): v for k, v in line.items()} for line in rows.to_dict("records")]
    return [reason for line in lines for reason in _broken_by(line, check, table)]


def _selected(table: pd.DataFrame, rows: Mapping[str, Any]) -> pd.Series:
    keep = pd.Series(True, index=table.index)
    for name, wanted in rows.items():
        several = wanted if isinstance(wanted, list) else [wanted]
        column = table["checkpoint" if name == "not" else name]
        match = column.map(lambda value, several=several: any(_is(value, one) for one in several))
        keep &= ~match if name == "not" else match
    return keep


def _is(value: Any, wanted: Any) -> bool:
    return fnmatchcase(str(value), wanted) if isinstance(wanted, str) else bool(value == wanted)


def _within(value: float, check: Mapping[str, Any]) -> bool:
    return bool(value >= check.get("at_least", -float("inf")) and value <= check.get("at_most", float("inf")))


def _broken_by(line: Mapping[str, Any], check: Mapping[str, Any], table: pd.DataFrame) -> list[str]:
    who = " ".join(str(line[name]) for name in ("checkpoint", "mode", "probe") if line[name])
    column = check.get("column", "relative_error")
    value = line[column]
    if "of" in check:
        way = [name for name in _WAY if name in line]
        same = (table[way] == [line[name] for name in way]).all(axis=1)
        value -= table.loc[same & (table["checkpoint"] == check["of"]), column].item()
    reasons = []
    if "verdict" in check and line["verdict"] != check["verdict"]:
        reasons.append(f"{who} is {line['verdict']}")
    if "text" in check and not fnmatchcase(str(value), check["text"]):
        reasons.append(f"{column} of {who} is {value!r}")
    if not isinstance(value, str) and not _within(value, check):
        reasons.append(f"{column} of {who} is {value:.4g}")
    if "rounds_to" in check:
        reasons += _rounded(who, value, str(check["rounds_to"].get(line["checkpoint"], "missing")))
    return reasons


def _rounded(who: str, value: float, said: str) -> list[str]:
    said = said.replace("−", "-")
    digits = len(said.partition(".")[2])
    sign = "+" if said.startswith("+") else ""
    now = f"{100 * value:{sign}.{digits}f}"
    return [] if now == said else [f"{who} has {now} %, not {said}"]


def main(argv: Sequence[str] | None = None) -> int:
    """Check all claims."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("files", nargs="*", type=Path, default=CLAIMS, help="default: those of results/mini and lite")
    claims = [c for file in parser.parse_args(argv).files for c in yaml.safe_load(file.read_text(encoding="utf-8"))]
    found = failures(claims, tables())
    for reason in found:
        print(reason, file=sys.stderr)
    if not found:
        print(f"{len(claims)} claims follow from the numbers")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(run_script(main))
