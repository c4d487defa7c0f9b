"""The closing table is kept by content: nothing but what it shows may bring an old one back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

import tasks_quick
from sparsebench.api import Prepared, Request, execute, prepare
from sparsebench.cli import closing
from sparsebench.registry.selection import Selection
from sparsebench.schema import RunRecord
from sparsebench.store import Store


@pytest.fixture
def done(tmp_path: Path) -> tuple[Prepared, list[RunRecord]]:
    tasks = tasks_quick.quick_suite(tmp_path / "tasks")
    request = Request(
        selection=Selection(suite="quick", checkpoints=["mini.dense"], modes=["linear"]),
        tasks_dirs=[tasks],
        results=tmp_path / "runs",
        cache_dir=tmp_path / "cache",
    )
    prepared = prepare(request)
    return prepared, execute(prepared)


def test_it_is_made_once(done: tuple[Prepared, list[RunRecord]], monkeypatch: pytest.MonkeyPatch) -> None:
    prepared, records = done
    first = closing.closing_table(prepared, records)
    assert "colours" in first
    rows = json.loads(closing.closing_table(prepared, records, as_json=True))
    assert rows[0]["checkpoint"] == "mini.dense"
    monkeypatch.setattr(closing, "_made", lambda *_, **__: pytest.fail("made again"))
    assert closing.closing_table(prepared, records) == first
    assert (
        closing.closing_table(replace(prepared, request=replace(prepared.request, command="other")), records) == first
    )


def test_a_changed_record_is_another_table(done: tuple[Prepared, list[RunRecord]]) -> None:
    prepared, records = done
    before = closing.closing_table(prepared, records)
    store = Store(prepared.request.results)
    assert records[0].scores is not None
    changed = records[0].model_copy(update={"scores": records[0].scores.model_copy(update={"top1": 0.125})})
    store.write(changed)
    after = closing.closing_table(prepared, [changed, *records[1:]])
    assert after != before
    (store.path_of(changed)).unlink()
    assert closing.closing_table(prepared, records[1:]) not in (before, after)


def test_a_damaged_one_is_made_again(done: tuple[Prepared, list[RunRecord]]) -> None:
    prepared, records = done
    before = closing.closing_table(prepared, records)
    for file in (prepared.request.cache_dir / "tables").glob("*.json"):
        file.write_text("{")
    with pytest.warns(UserWarning, match="made again"):
        assert closing.closing_table(prepared, records) == before


def test_a_table_with_a_warning_warns_again(
    done: tuple[Prepared, list[RunRecord]], monkeypatch: pytest.MonkeyPatch
) -> None:
    import warnings

    def warning(*_: object, **__: object) -> str:
        warnings.warn("a name stands for two", stacklevel=2)
        return "table"

    prepared, records = done
    monkeypatch.setattr(closing, "_made", warning)
    for _ in range(2):
        with pytest.warns(UserWarning, match="stands for two"):
            assert closing.closing_table(prepared, records) == "table"
