"""Gathering gives the same table as reading the records one by one."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from made_up import statuses
from sparsebench.schema import SCHEMA_VERSION, ResultsError
from sparsebench.store import DamagedRecordWarning, Store, frame, gather
from sparsebench.store.recordfile import to_json

Make = Callable[..., Any]


@pytest.fixture
def many(tmp_path: Path, ok: Make, failed: Make) -> Path:
    store = Store(tmp_path)
    for seed in range(4):
        for task in ("digits", "é"):
            store.write(ok(seed / 10, task=task, seed=seed, split_sha256=task))
    store.write(failed("loss is NaN, 1e999\nfull", seed=99))
    return tmp_path


def test_the_table_is_that_of_the_records(many: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = gather(many)
    expected = frame(Store(many).read())
    pd.testing.assert_frame_equal(table, expected, check_exact=True)
    assert len(table) == 9
    assert statuses(Store(many)) == dict(zip(expected["record_key"], expected["status"], strict=True))


def test_of_two_files_of_a_record_one_counts(many: Path, ok: Make, failed: Make) -> None:
    store = Store(many)
    before = gather(many)
    again = failed(seed=0, split_sha256="digits", started="2100-01-01T00:00:00Z")
    other = again.model_copy(update={"spec": again.spec.model_copy(update={"checkpoint": "zz"})})
    path = store.path_of(other)
    path.parent.mkdir(parents=True)
    path.write_bytes(to_json(other))
    pd.testing.assert_frame_equal(gather(many), before)
    better = ok(0.9, seed=0, split_sha256="digits", started="2100-01-01T00:00:00Z", checkpoint="zz")
    path.write_bytes(to_json(better))
    table = gather(many)
    assert len(table) == len(before)
    assert table.set_index("record_key")["accuracy"][better.record_key] == 0.9


def test_a_damaged_record_is_named_and_a_newer_one_refused(many: Path) -> None:
    path = min(many.glob("records/*/*/*.json"))
    document = json.loads(path.read_text())
    path.write_text(json.dumps(document | {"status": "perhaps"}))
    with pytest.warns(DamagedRecordWarning, match="status"):
        assert len(gather(many)) == 8
    path.write_text(json.dumps(document | {"schema_version": SCHEMA_VERSION + 1}))
    with pytest.raises(ResultsError, match="upgrade"):
        gather(many)


def test_large_numbers_in_texts_are_no_damage(many: Path, failed: Make) -> None:
    Store(many).write(failed("batch 12345678901234567890 1e5000, NaN", seed=7))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(gather(many)) == 10
