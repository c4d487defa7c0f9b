"""Result tables made up for these tests."""

import sys

import pandas as pd
import pytest

from sparsebench.registry import Registry
from sparsebench.report import aggregate, terminal
from sparsebench.schema import Suite
from sparsebench.store import tidy

LINEAR = {"mode": "linear", "probe": "sgd", "protocol": "cvpr22-linear"}
FULL = {"mode": "full", "probe": None, "protocol": "mini-full"}


def _rows(checkpoint, method, cells, **changes):
    base = {
        "status": "ok",
        "checkpoint": checkpoint,
        "method": method,
        "arch": "mini",
        "sparsity": 0.0 if method == "dense" else 0.9,
        "distribution": "global",
        "reference": None if checkpoint == "mini.dense" else "mini.dense",
        "metric": "top1",
        "started": "2026-01-01",
        **LINEAR,
    } | changes
    rows = []
    for task, accuracies in cells.items():
        for seed, accuracy in enumerate(accuracies):
            status = "failed" if accuracy is None else "ok"
            name = f"{checkpoint}/{task}/{base['mode']}/{base['protocol']}/{base['started']}/{seed}"
            rows.append(base | {"task": task, "seed": seed, "accuracy": accuracy, "status": status, "run_id": name})
    return rows


def _suite(name, tasks, protocol):
    mode = {"protocol": protocol, "seeds": (0,)}
    return Suite.model_validate({"id": name, "tasks": tasks, "archs": ("mini",), "modes": {"linear": mode}})


@pytest.fixture(autouse=True)
def suites(monkeypatch):
    """The registered suites of these tests: ``mini`` has the tasks a, b and c, ``more`` the same under a protocol."""
    tasks = ("a", "b", "c")
    registry = Registry(
        suites={"mini": _suite("mini", tasks, "cvpr22-linear"), "more": _suite("more", tasks, "more-linear")}
    )
    for module in (sys.modules[aggregate.__module__], terminal):
        monkeypatch.setattr(module, "load_tasks", lambda *args: registry)
    return registry


@pytest.fixture(scope="session")
def rows():
    """``rows(checkpoint, method, {task: accuracies}, **columns)``: dicts, one per run; None is a failed run."""
    return _rows


@pytest.fixture(scope="session")
def table():
    """``table(*lists of rows)``: a tidy table."""
    return lambda *parts: tidy(pd.DataFrame([row for part in parts for row in part]))


@pytest.fixture(scope="session")
def small(rows, table):
    """Two tasks, two modes, one sparse checkpoint, its twin and the reference."""
    dense = {"a": [0.80, 0.80], "b": [0.60, 0.60]}
    sparse = {"a": [0.69, 0.71], "b": [0.80, 0.80]}
    twin = {"a": [0.81, 0.80], "b": [0.61, 0.63]}
    parts = []
    for mode in (LINEAR, FULL):
        parts += [rows("mini.dense", "dense", dense, **mode), rows("mini.acdc_s90", "acdc", sparse, **mode)]
        parts.append(rows("mini.acdc_twin", "dense", twin, twin_of="mini.acdc_s90", **mode))
    return table(*parts)
