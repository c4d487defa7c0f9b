"""What a run predicted, as arrays and as a table."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import sparsebench
from sparsebench.schema import InputError, ResultsError
from sparsebench.store import Store
from tasks_quick import quick_suite


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, pd.DataFrame]:
    tasks = quick_suite(tmp_path_factory.mktemp("quick"))
    results = tmp_path_factory.mktemp("results")
    table = sparsebench.run(
        suite="quick", tasks_dirs=tasks, checkpoint="mini.acdc_s90", mode="linear", probe=["sgd", "knn"],
        results=results,
    )  # fmt: skip
    return tasks, results, table


def test_arrays_and_table_agree_with_the_record(done: tuple[Path, Path, pd.DataFrame]) -> None:
    _, results, table = done
    row = table[(table["probe"] == "sgd") & (table["seed"] == 0)].iloc[0]
    found = sparsebench.predictions(row["run_id"], results)
    (record,) = Store(results).read([row["record_key"]])
    kept = Store(results).predictions(record)
    assert found.ids.tolist() == list(kept.ids)
    assert np.array_equal(found.labels, kept.labels)
    assert np.array_equal(found.predicted, kept.predicted)
    assert found.classes is not None
    assert found.classes.tolist() == ["class0", "class1", "class2"]
    assert found.logits is not None
    assert found.logits.shape == (len(found), 3)
    frame = found.frame()
    assert len(frame) == len(found)
    assert frame["correct"].mean() == pytest.approx(row["accuracy"])
    assert frame["predicted_name"].tolist() == found.classes[found.predicted].tolist()
    assert {"logit_0", "logit_2", "label_name"} <= set(frame.columns)


def test_names_of_classes_without_a_kept_head_are_those_of_the_data(done: tuple[Path, Path, pd.DataFrame]) -> None:
    _, results, table = done
    key = table.loc[table["probe"] == "knn", "record_key"].iloc[0]
    known = sparsebench.predictions(key, results)  # the plan has the task
    assert known.classes is not None
    assert known.classes.tolist() == ["class0", "class1", "class2"]


def test_without_data_there_are_no_names(done: tuple[Path, Path, pd.DataFrame], tmp_path: Path) -> None:
    _, results, table = done
    copy = tmp_path / "runs"
    shutil.copytree(results, copy)
    shutil.rmtree(copy / "plans")
    key = table.loc[table["probe"] == "knn", "record_key"].iloc[0]
    found = sparsebench.predictions(key, copy)
    assert found.classes is None
    assert "label_name" not in found.frame()


def test_a_run_that_is_not_there_is_refused(done: tuple[Path, Path, pd.DataFrame], tmp_path: Path) -> None:
    _, results, table = done
    key = table["record_key"].iloc[0]
    with pytest.raises(InputError, match="did you mean"):
        sparsebench.predictions(key[:-1] + "!", results)
    with pytest.raises(ResultsError, match="no results folder"):
        sparsebench.predictions(key, tmp_path / "gone")
    with pytest.raises(ResultsError, match="holds no record"):
        sparsebench.predictions(key, tmp_path)


def test_classes_alone(done: tuple[Path, Path, pd.DataFrame], tmp_path: Path) -> None:
    tasks, _, _ = done
    table = sparsebench.run(
        suite="quick", tasks_dirs=tasks, checkpoint="mini.acdc_s90", probe="sgd", seed=0, results=tmp_path,
        predictions="classes",
    )  # fmt: skip
    found = sparsebench.predictions(table["run_id"].iloc[0], tmp_path)
    assert found.logits is None
    assert "classes alone" in repr(found)
    assert [name for name in found.frame().columns if name.startswith("logit")] == []
