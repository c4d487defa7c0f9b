"""Merging: what is new is added, what is there stays, what contradicts it is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from sparsebench.cli import main
from sparsebench.exchange import Means, export_results, merge_bundles
from sparsebench.report.leaderboard import COLUMNS, leaderboard, to_csv
from sparsebench.schema import ResultsError
from sparsebench.store import Store, read_results, write_curated


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_records_are_added_with_what_is_known_of_them(honest, tmp_path, means):
    done = merge_bundles([honest], tmp_path / "runs", means)
    assert (len(done.added), done.same, done.conflicts) == (6, (), ())
    store = Store(tmp_path / "runs")
    records = {record.record_key: record for record in store.read()}
    assert set(done.added) == set(records)
    assert {r.origin.verdict for r in records.values() if r.status == "ok"} == {"rescored"}
    assert {r.origin.bundle for r in records.values()} == {done.verified[0].sha256}
    kept = store.predictions(next(r for r in records.values() if r.status == "ok"))
    assert kept.logits.shape == (1000, 10)


def test_again_nothing_changes(honest, tmp_path, means):
    merge_bundles([honest], tmp_path / "runs", means)
    before = files(tmp_path / "runs")
    done = merge_bundles([honest, honest], tmp_path / "runs", means)
    assert (done.added, len(done.same), done.conflicts) == ((), 12, ())
    assert files(tmp_path / "runs") == before


def test_one_s_own_runs_stay_one_s_own(results, honest, tmp_path, means):
    shutil.copytree(results, tmp_path / "runs")
    done = merge_bundles([honest], tmp_path / "runs", means)
    assert (done.added, len(done.same), done.conflicts) == ((), 6, ())
    assert all(record.origin is None for record in Store(tmp_path / "runs").read())


def test_what_came_from_a_bundle_is_not_exported(honest, tmp_path, means):
    merge_bundles([honest], tmp_path / "runs", means)
    with pytest.raises(ResultsError, match="no record of your own"):
        export_results(tmp_path / "runs", tmp_path / "out.zip")


def changed_guess(c, key: str) -> None:
    """Change one prediction of a run, and its scores with it."""
    arrays = c.arrays(key)
    arrays["predicted"][0] = (arrays["labels"][0] + 1) % 10
    arrays["predicted"][1] = arrays["labels"][1]
    arrays["predicted"][2] = (arrays["labels"][2] + 1) % 10
    c.put_arrays(key, {name: a for name, a in arrays.items() if name != "logits"})
    c.rescore(key)


def renamed_network(c, sha: str, **labels: object) -> None:
    """Make the runs of ``mini.acdc_s90`` those of one's own network ``mini.mine``."""
    document = c.json("checkpoints.json")
    for entry in document["checkpoints"]:
        if entry["id"] == "mini.acdc_s90":
            entry |= {"id": "mini.mine", **labels}
            entry.pop("sparsity_exact", None)
    c.put("checkpoints.json", document)
    for mode, seed in (("linear", 0), ("linear", 1), ("linear", 2), ("full", 0)):
        old = c.key(mode, seed=seed)
        c.rename(old, checkpoint="mini.mine", weights_sha256=sha, **labels)
        c.drop(old)


def test_three_bundles_with_conflicts(contents, contents_of, honest, tmp_path, means, capsys):
    changed_guess(contents, contents.key())
    other = contents.save(tmp_path / "other.zip")
    mine = contents_of(honest)
    renamed_network(mine, "a" * 64)
    third = mine.save(tmp_path / "mine.zip")
    rival = contents_of(honest)
    renamed_network(rival, "b" * 64)
    fourth = rival.save(tmp_path / "rival.zip")
    done = merge_bundles([honest, other, third, fourth], tmp_path / "runs", means)
    assert [one.problems for one in done.verified] == [()] * 4
    assert len(done.added) == 6 + 4
    by_bundle = {name: [c.reason for c in done.conflicts if c.bundle == name] for name in ("other.zip", "rival.zip")}
    assert len(by_bundle["other.zip"]) == 1
    assert "the same run is there with" in by_bundle["other.zip"][0]
    assert by_bundle["rival.zip"] == ["mini.mine is another network there"] * 4
    assert len(done.conflicts) == 5
    before = files(tmp_path / "runs")
    assert main(["merge", str(other), "--results", str(tmp_path / "runs")]) == 1
    captured = capsys.readouterr()
    assert f"conflict: other.zip: {contents.key()}" in captured.err
    assert "0 runs added, 5 there already, 1 in conflict" in captured.out
    assert files(tmp_path / "runs") == before
    assert main(["merge", str(other), "--results", str(tmp_path / "runs"), "--json"]) == 1
    assert len(json.loads(capsys.readouterr().out)["conflicts"]) == 1


def test_a_known_network_under_another_description(contents_of, honest, tmp_path, means):
    one, other = contents_of(honest), contents_of(honest)
    renamed_network(one, "a" * 64)
    renamed_network(other, "a" * 64, method="gmp")
    paths = [one.save(tmp_path / "one.zip"), other.save(tmp_path / "other.zip")]
    done = merge_bundles(paths, tmp_path / "runs", means)
    reasons = {"the same network is there with method 'acdc', not 'gmp'"}
    assert {conflict.reason for conflict in done.conflicts} == reasons
    assert len(done.conflicts) == 4
    assert {r.spec.method for r in Store(tmp_path / "runs").read()} == {"acdc", "dense"}


def test_nothing_is_written_where_one_of_several_is_refused(contents, honest, tmp_path, means):
    contents.change(contents.key(), lambda r: r["scores"].update(top1=0.9))
    bad = contents.save(tmp_path / "bad.zip")
    with pytest.raises(ResultsError, match=r"bad\.zip is refused.*says top1 0\.9"):
        merge_bundles([honest, bad], tmp_path / "runs", means)
    assert not (tmp_path / "runs").exists()


def test_the_leaderboard_has_a_verdict_only_where_there_is_one(results, honest, tmp_path, means):
    own = leaderboard(read_results(results))
    assert "verdict" not in own
    assert list(own.columns)[: len(COLUMNS)] == list(COLUMNS)
    merge_bundles([honest], tmp_path / "runs", means)
    board = leaderboard(read_results(tmp_path / "runs"))
    assert set(board["verdict"]) == {"rescored"}
    assert to_csv(board.drop(columns="verdict")) == to_csv(own)
    write_curated(read_results(results), tmp_path / "own.csv")
    write_curated(read_results(tmp_path / "runs"), tmp_path / "theirs.csv")
    assert "verdict" not in (tmp_path / "own.csv").read_text().splitlines()[0]
    assert set(read_results(tmp_path / "theirs.csv")["verdict"].dropna()) == {"rescored", "claimed"}


def test_an_entry_s_verdict_is_the_least_of_its_runs(results, tmp_path, means: Means):
    store = Store(tmp_path / "some")
    for record in Store(results).read():
        if record.status == "ok" and record.spec.mode == "linear" and record.spec.seed == 0:
            store.write(record.model_copy(update={"predictions": None, "predictions_sha256": None}))
        elif record.status == "ok" and record.spec.mode == "linear":
            store.write(record, Store(results).predictions(record))
    export_results(tmp_path / "some", tmp_path / "some.zip")
    done = merge_bundles([tmp_path / "some.zip"], tmp_path / "runs", means)
    assert set(done.verified[0].verdicts.values()) == {"claimed", "rescored"}
    assert set(leaderboard(read_results(tmp_path / "runs"))["verdict"]) == {"claimed"}
