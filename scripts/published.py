"""Write results/published/runs.csv, the paper's results as a tidy table, from the raw numbers beside it.

``raw/results.csv`` holds the numbers as published, with file and line of each; ``raw/datasets.csv`` the data sets and
their metrics; ``raw/models.csv`` what is known about the models. ``sparsebench.registry.names`` makes names ids.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common import PUBLISHED, run_script, shown
from sparsebench.common import files
from sparsebench.registry.names import method_and_variant, method_names, task_id
from sparsebench.schema import ResultsError
from sparsebench.store import COLUMNS
from sparsebench.store.csvfile import read_csv, to_csv

SUITE = "cvpr22"
PROBES = {"linear": "sgd", "full": None}
REFERENCES = {"resnet50": "resnet50.acdc_dense", "mobilenet_v1": "mobilenet_v1.dense"}
SOURCE_COLUMNS = ("source_file", "source_line")

Row = dict[str, str]


def derive(raw: Path) -> str:
    """Return the text of the tidy table that a folder of raw files gives, sorted by checkpoint, task, mode and seed.

    Columns that would be empty throughout are left out; ``source_file`` and ``source_line`` say where a number stood.

    Raises
    ------
    ResultsError
        If a file can't be read, or a name is not known.
    """
    published = _read(raw / "results.csv")
    datasets = {row["dataset"]: row for row in _read(raw / "datasets.csv")}
    models = {(row["arch"], row["method"], row["sparsity"]): row for row in _read(raw / "models.csv")}
    twice = {_configuration(row) for row in published if row["repeat"] != "1"}
    rows = []
    for row in published:
        model = models.get((row["arch"], row["method"], row["sparsity"]))
        dataset = datasets.get(row["dataset"])
        if model is None or dataset is None:
            unknown = "data set" if dataset is None else "model"
            raise ResultsError(f"{shown(raw / 'results.csv')}: no {unknown} is known for {row}", f"add it in {raw}")
        rows.append(_tidy(row, model, dataset, repeated=_configuration(row) in twice))
    rows.sort(key=lambda r: (r["checkpoint"], r["task"], r["mode"], r["seed"]))
    columns = [c for c in COLUMNS if any(r.get(c) not in (None, "") for r in rows)]
    columns += SOURCE_COLUMNS
    return to_csv(columns, ([r.get(c) for c in columns] for r in rows))


def checkpoint_id(arch: str, method: str, variant: str, sparsity: float) -> str:
    """Return the registry's id of a published model, for example ``resnet50.rigl_erk_5x_s80``."""
    if method == "dense":
        return REFERENCES[arch]
    return f"{arch}.{'_'.join(part for part in (method, variant) if part)}_s{100 * sparsity:g}"


def _tidy(row: Row, model: Row, dataset: Row, *, repeated: bool) -> dict[str, Any]:
    """Return one number's row; one of two models published under one name has its number as variant."""
    method, variant = method_and_variant(row["method"])
    if method not in method_names():
        raise ResultsError(f"the method {row['method']!r} has no id", "add the spelling to the method")
    variant = f"repeat_{row['repeat']}" if repeated else variant
    sparsity = float(row["sparsity"])
    return {
        "status": "ok",
        "checkpoint": checkpoint_id(row["arch"], method, variant, sparsity),
        "method": method,
        "variant": variant,
        "arch": row["arch"],
        "sparsity": sparsity,
        "distribution": model["distribution"],
        "reference": None if method == "dense" else REFERENCES[row["arch"]],
        "upstream_top1": float(model["upstream_top1"]) if model["upstream_top1"] else None,
        "task": task_id(row["dataset"]),
        "mode": row["mode"],
        "probe": PROBES[row["mode"]],
        "protocol": f"{SUITE}-{row['mode']}",
        "seed": int(row["seed"]),
        "metric": dataset["metric"],
        "accuracy": float(row["accuracy"]),
        "n_train": int(dataset["train_images"]),
        "n_test": int(dataset["test_images"]),
        "n_classes": int(dataset["classes"]),
        "source_file": row["source_file"],
        "source_line": int(row["source_line"]),
    }


def _configuration(row: Row) -> tuple[str, ...]:
    return row["arch"], row["mode"], row["method"], row["sparsity"]


def _read(path: Path) -> list[Row]:
    header, body = read_csv(path)
    return [dict(zip(header, fields, strict=True)) for fields in body]


def main(argv: Sequence[str] | None = None) -> int:
    """Write the table, or check that the committed one is what the raw files give."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--raw", type=Path, default=PUBLISHED.parent / "raw", metavar="DIR", help="the raw files")
    parser.add_argument("--out", type=Path, default=PUBLISHED, metavar="FILE", help="the tidy table")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if the table differs")
    arguments = parser.parse_args(argv)
    text = derive(arguments.raw)
    if not arguments.check:
        files.write_text(arguments.out, text)
        print(shown(arguments.out))
        return 0
    same = arguments.out.is_file() and arguments.out.read_text(encoding="utf-8") == text
    print(f"{shown(arguments.out)} is {'' if same else 'not '}what {shown(arguments.raw)} gives")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(run_script(main))
