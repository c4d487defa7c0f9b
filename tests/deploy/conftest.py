"""Runs of a quick suite that kept their heads and weights, shared by the tests of exported networks."""

from __future__ import annotations

import pandas as pd
import pytest
from exported_runs import Done

import sparsebench
from tasks_quick import quick_suite


@pytest.fixture(scope="session")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    tasks, results = quick_suite(tmp_path_factory.mktemp("quick")), tmp_path_factory.mktemp("results")
    common = {"suite": "quick", "tasks_dirs": tasks, "checkpoint": "mini.acdc_s90", "results": results}
    linear = sparsebench.run(probe=["sgd", "lbfgs", "ridge", "knn"], **common)  # type: ignore[arg-type]
    full = sparsebench.run(mode="full", save_weights=True, **common)  # type: ignore[arg-type]
    table = pd.concat([linear, full], ignore_index=True)
    assert (table["status"] == "ok").all(), table["error"].tolist()
    return Done(tasks, results, table)
