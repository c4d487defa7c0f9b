"""The states of runs: records, claims and a queue that is made up."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from made_up_queue import AFTER, BEFORE, claim, done, failed, queue, states, submit

from sparsebench.cli import main
from sparsebench.runs.status import look_over, traces
from sparsebench.schema import ResultsError, RunSpec
from sparsebench.store import Claims, Store

pytestmark = pytest.mark.usefixtures("fake")


def test_every_state_a_run_can_be_in(fake: Path, runs: list[RunSpec], results: Path) -> None:
    made = submit(results, runs[:5])
    queue(fake, made, "70_3")  # the others' jobs have ended
    done(results, runs[0])
    Store(results).write_failure(failed(runs[1]))
    with Claims(results) as claims:
        assert claims.take(runs[2].record_key) is not None
        overview = look_over(results)
    assert states(overview) == {"done": 1, "failed": 1, "running": 1, "queued": 1, "lost": 1, "missing": 2}
    assert [(t.kind, t.reason) for t in overview.trouble] == [
        ("failed", "RunError: diverged"),
        ("lost", "job 70_4 is no longer in the queue and left no record"),
    ]
    assert overview.trouble[1].log == results / "jobs" / made.submission / "70_4_0_log.out"


def test_a_job_that_ends_while_one_looks_is_done(
    fake: Path, runs: list[RunSpec], results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue(fake, submit(results, runs[:2], each=2), "70_0", state="RUNNING")
    claim(results, *runs[:2], job="70_0")
    ask, look = traces.queued_jobs, traces.read_claims

    def end() -> None:
        for run, path in zip(runs[:2], sorted((results / "claims").glob("*.json")), strict=True):
            done(results, run)
            path.unlink()
        (fake / "queue").write_text("")

    def then(act: object, moment: str) -> object:
        def changed(*arguments: object) -> object:
            if moment == "before":
                end()
            found = act(*arguments)  # type: ignore[operator]
            if moment == "after":
                end()
            return found

        return changed

    with monkeypatch.context() as patch:
        patch.setattr(traces, "queued_jobs", then(ask, "after"))
        assert states(look_over(results)) == {"done": 2, "missing": 4}
    Store(results).path_of(failed(runs[0])).unlink()
    Store(results).path_of(failed(runs[1])).unlink()
    queue(fake, submit(results, runs[:2], each=2), "70_0", state="RUNNING")
    claim(results, *runs[:2], job="70_0")
    monkeypatch.setattr(traces, "read_claims", then(look, "after"))
    assert states(look_over(results)) == {"running": 2, "missing": 4}, "these records are older than the claims"
    end_now = {"started": "2100-01-01T00:00:00+00:00"}
    for run in runs[:2]:
        done(results, run, **end_now)
    monkeypatch.setattr(traces, "read_claims", look)
    claim(results, *runs[:2], job="70_0")
    assert states(look_over(results)) == {"done": 2, "missing": 4}, "a claim that outlives its run's record"


def test_a_record_that_comes_after_all_were_listed_is_seen(
    fake: Path, runs: list[RunSpec], results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(results, runs[:3])
    read = traces._rows

    def late(store: Store) -> object:
        found = read(store)
        done(results, runs[0])
        store.write_failure(failed(runs[1]))
        return found

    monkeypatch.setattr(traces, "_rows", late)
    assert states(look_over(results)) == {"done": 1, "failed": 1, "lost": 1, "missing": 4}


def test_a_failure_stands_while_its_job_does_its_other_runs(fake: Path, runs: list[RunSpec], results: Path) -> None:
    made = submit(results, runs[:3], each=3)
    Store(results).write_failure(failed(runs[0], AFTER))
    Store(results).write_failure(failed(runs[1], BEFORE))
    for state in ("RUNNING", "PENDING"):  # it isn't tried again when the job queues again either
        (fake / "queue").write_text("")
        queue(fake, made, "70_0", state=state)
        assert states(look_over(results)) == {"failed": 1, "queued": 2, "missing": 3}
    assert main(["status", "--results", str(results)]) == 1


def test_a_run_whose_job_queues_again_doesn_t_run(fake: Path, runs: list[RunSpec], results: Path) -> None:
    made = submit(results, runs[:3])
    claim(results, runs[0], job="70_0")
    claim(results, runs[1], job="70_1")
    claim(results, runs[2], job="70_2")
    queue(fake, made, "70_0", state="RUNNING")
    queue(fake, made, "70_1")
    assert states(look_over(results)) == {"running": 1, "queued": 1, "lost": 1, "missing": 4}
    (fake / "deaf").touch()
    assert states(look_over(results)) == {"running": 3, "missing": 3}, "the leases are all that is known"


def test_cancelled_jobs_are_seen_until_they_have_left_the_queue(fake: Path, runs: list[RunSpec], results: Path) -> None:
    made = submit(results, runs[:3], state="cancelled")
    claim(results, runs[0], job="70_0")
    queue(fake, made, "70_0", state="COMPLETING")
    queue(fake, made, "70_1")
    assert states(look_over(results)) == {"running": 1, "queued": 1, "missing": 4}
    (fake / "queue").write_text("")
    assert states(look_over(results)) == {"missing": 6}, "not lost: this was asked for"


def test_a_run_submitted_again_is_queued_whatever_its_cancelled_job_does(
    fake: Path, runs: list[RunSpec], results: Path
) -> None:
    queue(fake, submit(results, runs[:1], state="cancelled"), "70_0", state="COMPLETING")
    again = submit(results, runs[:1], "80", "20260102T030406Z-bbbb0000")
    queue(fake, again, "80_0")
    assert states(look_over(results)) == {"queued": 1, "missing": 5}
    (fake / "queue").write_text("")
    assert states(look_over(results)) == {"lost": 1, "missing": 6}


def test_an_id_that_slurm_gave_out_again_is_not_ours(fake: Path, runs: list[RunSpec], results: Path) -> None:
    submit(results, runs[:1])
    (fake / "queue").write_text("70_0|somebody-elses|RUNNING|array 0\n")
    assert states(look_over(results)) == {"lost": 1, "missing": 6}
    assert main(["cancel", "--results", str(results)]) == 0
    assert not (fake / "cancelled").exists()


def test_a_dead_process_loses_its_run(runs: list[RunSpec], results: Path) -> None:
    claim(results, runs[0], pid=2**22 + 5)
    overview = look_over(results)
    assert states(overview) == {"lost": 1, "missing": 6}
    assert "is gone" in overview.trouble[0].reason


def test_a_queue_that_cannot_be_asked_is_said_and_nothing_is_lost(
    fake: Path,
    runs: list[RunSpec],
    results: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    submit(results, runs)
    (fake / "deaf").touch()
    assert main(["status", "--results", str(results)]) == 0
    out = capsys.readouterr().out
    assert "0 done, 0 failed, 6 missing of 6 runs" in out
    assert "note: Slurm's queue is not known now" in out
    monkeypatch.setenv("PATH", "")
    assert main(["status", "--results", str(results)]) == 0
    assert "no squeue here" in capsys.readouterr().out
    done(results, *runs)
    assert main(["status", "--results", str(results)]) == 0
    assert "note" not in capsys.readouterr().out, "Slurm needn't be asked about what is done"


def test_status_names_errors_and_logs_and_ends_with_1(
    runs: list[RunSpec], results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Store(results).write_failure(failed(runs[1]))
    log = results / "logs" / f"{runs[1].record_key}.jsonl"
    log.parent.mkdir()
    log.write_text("{}\n")
    assert main(["status", "--results", str(results)]) == 1
    out = capsys.readouterr().out
    assert "failed: mini.acdc_s90 · digits · linear · seed 1: RunError: diverged" in out
    assert f"log: {log}" in out


def test_a_look_at_a_folder_loads_no_torch(fake: Path, runs: list[RunSpec], results: Path) -> None:
    queue(fake, submit(results, runs[:2]), "70_0")
    done(results, *runs[1:])
    code = "import sys; from sparsebench.cli import main; main(sys.argv[1:]); print('torch' in sys.modules)"
    command = [sys.executable, "-c", code, "status", "--results", str(results)]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "5 done, 1 queued" in out
    assert out.endswith("False\n")


def test_tables_of_finished_runs_have_no_status(tmp_path: Path) -> None:
    (tmp_path / "runs.csv").write_text("run_id\n")
    with pytest.raises(ResultsError, match="holds tables of finished runs") as caught:
        look_over(tmp_path)
    assert "sparsebench report --results" in str(caught.value.hint)
