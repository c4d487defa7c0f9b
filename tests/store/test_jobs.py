from __future__ import annotations

import json
from pathlib import Path

import pytest

from sparsebench.schema import RunError
from sparsebench.store.jobs import Element, JobArray, Submission, read_submissions, write_submission


def submission(name: str = "20260102T030405Z-abcdef01", **changes: object) -> Submission:
    element = Element(job_id="7_0", runs=("a" * 16, "b" * 16), log=f"jobs/{name}/7_0_0_log.out")
    fields = {
        "submission": name,
        "plan": "abcdef0123456789",
        "created": "2026-01-02T03:04:05+00:00",
        "state": "submitted",
        "arrays": (JobArray(job_id="7", elements=(element,)),),
    }
    return Submission.model_validate(fields | changes)


def test_a_submission_is_read_as_it_was_written_and_replaced_whole(tmp_path: Path) -> None:
    before = submission(state="submitting", arrays=())
    write_submission(tmp_path, before)
    assert read_submissions(tmp_path) == [before]
    path = write_submission(tmp_path, submission())
    assert read_submissions(tmp_path) == [submission()]
    assert [p.name for p in (tmp_path / "jobs").iterdir()] == [path.name]
    assert submission().job_name == "sparsebench-20260102T030405Z-abcdef01"
    assert [e.job_id for e in submission().elements] == ["7_0"]


def test_submissions_come_oldest_first_and_fields_of_a_later_version_are_ignored(tmp_path: Path) -> None:
    write_submission(tmp_path, submission("20260202T000000Z-b", created="2026-02-02T00:00:00+00:00"))
    path = write_submission(tmp_path, submission("20260101T000000Z-a", created="2026-01-01T00:00:00+00:00"))
    path.write_text(json.dumps(json.loads(path.read_text()) | {"colour": "blue"}))
    assert [s.submission for s in read_submissions(tmp_path)] == ["20260101T000000Z-a", "20260202T000000Z-b"]


def test_a_damaged_submission_is_passed_over_with_a_warning(tmp_path: Path) -> None:
    write_submission(tmp_path, submission()).with_name("other.json").write_text('{"submission": ')
    with pytest.warns(UserWarning, match=r"other\.json' is damaged"):
        assert read_submissions(tmp_path) == [submission()]


def test_a_results_folder_without_submissions_has_none(tmp_path: Path) -> None:
    assert read_submissions(tmp_path) == []


def test_what_can_t_be_written_is_a_run_error(tmp_path: Path) -> None:
    (tmp_path / "jobs").write_text("in the way")
    with pytest.raises(RunError, match="can't write the submission"):
        write_submission(tmp_path, submission())
