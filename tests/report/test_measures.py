"""``sparsebench analyze`` and the agreement of reports, on runs made up with known differences."""

from __future__ import annotations

import json

import numpy as np
import pytest
import scipy.special
from sklearn.metrics import log_loss

from made_up import SHA
from sparsebench.analysis import agreement, error_consistency, expected_calibration_error
from sparsebench.cli import main
from sparsebench.report.agreement import agreement_rows, agreement_tables
from sparsebench.report.measures import measures
from sparsebench.report.pairing import heads, paired, replicates
from sparsebench.report.sides import Wanted, read_sides
from sparsebench.schema import Numerics, ResultsError, RunRecord, RunSpec, Scores
from sparsebench.store import Predictions, Store, read_results
from sparsebench.store.classes import classes_reader

N, K = 600, 6
LABELS = np.arange(N) % K
DENSE, SPARSE, WORSE, TWIN = "mini.dense", "mini.acdc_s90", "mini.magnitude_s90", "mini.acdc_s90_dense"


def logits_of(checkpoint, seed, replicate=0):
    """Return logits that share most of their noise; ``WORSE`` loses what it knew of the classes 1 and 4."""
    shared = np.random.default_rng(0).normal(size=(N, K))
    own = np.random.default_rng([len(checkpoint), replicate]).normal(size=(N, K))
    head = np.random.default_rng([len(checkpoint), replicate, seed + 1]).normal(size=(N, K))
    signal = np.eye(K)[LABELS] * 2.5
    if checkpoint == WORSE:
        signal[np.isin(LABELS, (1, 4))] *= 0.2
    return (signal + shared + 0.4 * own + 0.1 * head) * 2.0


def write(
    results, checkpoint, *, seeds=2, replicate=0, keep="logits", probe="sgd", order=None, temperature=None, twin_of=None
):
    store = Store(results)
    for seed in range(seeds):
        kept = Predictions.of(tuple(f"i{j}" for j in range(N)), LABELS, logits_of(checkpoint, seed, replicate))
        if order is not None:
            kept = Predictions(
                tuple(kept.ids[j] for j in order), LABELS[order], kept.predicted[order], kept.logits[order]
            )
        accuracy = float(np.mean(kept.predicted == kept.labels))
        spec = RunSpec(
            arch="mini",
            weights_sha256=f"{replicate}{SHA[1:]}",
            mask_sha256=SHA,
            split_sha256=SHA,
            transform_sha256=SHA,
            mode="linear",
            probe=probe,
            protocol={"of": f"{checkpoint} {probe}"},
            seed=seed,
            checkpoint=checkpoint + (f"_r{replicate}" if replicate else ""),
            method="dense" if checkpoint == DENSE else "acdc",
            sparsity=0.0 if checkpoint == DENSE else 0.9,
            sparsity_measured=0.9,
            sparsity_scope="prunable",
            distribution="global",
            reference=None if checkpoint == DENSE else DENSE,
            twin_of=twin_of,
            replicate=replicate,
            task="photos",
            protocol_name="test-linear",
            metric="top1",
            numerics=Numerics(threads=1),
        )
        counts = {"n_train": 100, "n_test": N, "n_classes": K}
        scores = Scores(top1=accuracy, mean_per_class=accuracy, temperature=temperature, **counts)
        record = RunRecord(status="ok", spec=spec, scores=scores, seconds=1.0, started="2026-01-02T03:04:05Z")
        store.write(record, {"logits": kept, "classes": kept.without_logits(), "none": None}[keep])


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("measures") / "runs"
    write(folder, DENSE)
    write(folder, DENSE, replicate=1)
    write(folder, SPARSE, order=np.random.default_rng(3).permutation(N))
    write(folder, WORSE, seeds=1)
    return folder


def analyzed(first, second, results, capsys, *more):
    assert main(["analyze", first, second, "--results", str(results), "--json", *more]) == 0
    return json.loads(capsys.readouterr().out)


def test_measures_are_means_over_pairs_of_runs_with_intervals(results, capsys):
    got = analyzed(SPARSE, DENSE, results, capsys)
    assert (got["a"], got["b"], got["missing"]) == (SPARSE, DENSE, {})
    own = got["tasks"]["photos"]
    pairs = [[logits_of(name, seed).argmax(1) for name in (SPARSE, DENSE)] for seed in (0, 1)]
    assert own["pairs"] == 2
    assert own["n"] == N
    assert own["agreement"] == pytest.approx(np.mean([agreement(a, b) for a, b in pairs]))
    assert own["churn"] == pytest.approx(1.0 - own["agreement"])
    assert own["forgotten"] == pytest.approx(np.mean([np.sum((a != LABELS) & (b == LABELS)) for a, b in pairs]))
    kappas = [error_consistency(a == LABELS, b == LABELS) for a, b in pairs]
    assert own["error_consistency"] == pytest.approx(np.mean(kappas))
    kept = [np.asarray(logits_of(SPARSE, seed), np.float16) for seed in (0, 1)]
    errors = [expected_calibration_error(values, LABELS) for values in kept]
    assert own["ece"]["a"] == pytest.approx(np.mean(errors))
    assert own["ece"]["difference"] == pytest.approx(own["ece"]["a"] - own["ece"]["b"])
    for name in ("agreement", "forgotten", "gained", "error_consistency", "kl", "js"):
        low, high = own["intervals"][name]
        assert low < own[name] < high
    assert own["scope"] == "seeds and test images"
    assert own["nll_scaled"]["a"] < own["nll"]["a"]


def test_a_temperature_fitted_on_held_out_images_is_used_and_named(tmp_path, capsys):
    write(tmp_path, SPARSE, temperature=2.0, order=np.arange(N)[::-1])
    write(tmp_path, DENSE)
    own = analyzed(SPARSE, DENSE, tmp_path, capsys)["tasks"]["photos"]
    assert own["temperature_fitted_on"] == ["halves of test", "val"]
    assert own["temperature"]["a"] == pytest.approx(2.0)
    kept = [np.asarray(logits_of(SPARSE, seed), np.float16).astype(float) / 2.0 for seed in (0, 1)]
    expected = [log_loss(LABELS, scipy.special.softmax(values, axis=1)) for values in kept]
    assert own["nll_scaled"]["a"] == pytest.approx(np.mean(expected))
    assert main(["analyze", SPARSE, DENSE, "--results", str(tmp_path)]) == 0
    assert "fitted on halves of test and val" in capsys.readouterr().out


def test_noise_is_that_of_heads_and_of_upstream_trainings(results, capsys):
    own = analyzed(SPARSE, DENSE, results, capsys)["tasks"]["photos"]
    assert set(own["noise"]) == {"heads_a", "heads_b", "replicates_b"}
    zero, one = (logits_of(DENSE, seed).argmax(1) for seed in (0, 1))
    assert own["noise"]["heads_b"]["agreement"] == pytest.approx(
        np.mean([agreement(zero, one), agreement(*(logits_of(DENSE, seed, 1).argmax(1) for seed in (0, 1)))])
    )
    assert own["noise"]["replicates_b"]["agreement"] == pytest.approx(agreement(zero, logits_of(DENSE, 0, 1).argmax(1)))
    # two heads agree more than two trainings do, or than two networks
    assert own["noise"]["heads_b"]["agreement"] > own["noise"]["replicates_b"]["agreement"]
    assert own["noise"]["heads_b"]["agreement"] > own["agreement"]
    assert 0 <= own["noise"]["heads_a"]["ece"] < 0.05
    assert own["exemplars"]["over"] == "heads"


def test_planted_changes_of_two_classes_are_found(results, capsys):
    def changed(name):
        rows = analyzed(name, DENSE, results, capsys, "--replicate", "0")["tasks"]["photos"]["classes"]
        return [row["class"] for row in rows if row["changed"]]

    assert changed(WORSE) == [1, 4]
    assert changed(SPARSE) == []


def test_a_network_agrees_with_itself(tmp_path, capsys):
    for name in ("one", "other"):
        write(tmp_path / name, DENSE, seeds=1)
    got = analyzed(str(tmp_path / "one"), str(tmp_path / "other"), "runs", capsys)["tasks"]["photos"]
    assert got["agreement"] == 1.0
    assert got["intervals"]["agreement"][1] == 1.0
    assert got["forgotten"] == got["gained"] == got["kl"] == got["js"] == 0.0
    assert got["error_consistency"] == pytest.approx(1.0)
    assert got["ece"]["difference"] == 0.0
    assert got["noise"] == {}
    assert got["exemplars"] is None


def test_classes_alone_give_agreement_and_say_what_is_missing(results, tmp_path, capsys):
    write(tmp_path, DENSE, keep="classes")
    write(tmp_path, SPARSE)
    got = analyzed(SPARSE, DENSE, tmp_path, capsys)
    full = analyzed(SPARSE, DENSE, results, capsys, "--replicate", "0")
    own = got["tasks"]["photos"]
    assert own["agreement"] == pytest.approx(full["tasks"]["photos"]["agreement"])
    assert own["kl"] is own["ece"] is own["nll"] is own["brier"] is None
    assert "logits are missing" in got["missing"]["photos"]
    assert main(["analyze", SPARSE, DENSE, "--results", str(tmp_path)]) == 0
    assert "logits are missing" in capsys.readouterr().out


def test_what_cannot_be_analyzed_is_an_error_of_the_user(tmp_path, capsys):
    write(tmp_path, DENSE, keep="none")
    write(tmp_path, SPARSE)
    write(tmp_path, WORSE)
    assert main(["analyze", SPARSE, DENSE, "--results", str(tmp_path)]) == 2
    assert "kept no predictions" in capsys.readouterr().err
    assert main(["analyze", "mini.*_s90", DENSE, "--results", str(tmp_path)]) == 2
    assert "name one of them" in capsys.readouterr().err
    assert main(["analyze", SPARSE, "mini.nothing", "--results", str(tmp_path)]) == 2
    assert "mini.nothing" in capsys.readouterr().err
    assert main(["analyze", SPARSE, WORSE, "--results", "published"]) == 2


def test_runs_on_other_images_are_refused(results, tmp_path):
    write(tmp_path, SPARSE)
    sides = list(read_sides(SPARSE, DENSE, results, Wanted()))
    other = measures  # the same function, on sides whose files name other images
    store = Store(tmp_path)
    (record, *_) = list(store.read())
    kept = store.predictions(record)
    store.write(record, Predictions(tuple(f"x{name}" for name in kept.ids), kept.labels, kept.predicted))
    sides[0] = read_sides(SPARSE, DENSE, results, Wanted())[0].__class__(SPARSE, tmp_path, False, sides[0].runs)
    with pytest.raises(ResultsError, match="other images or labels"):
        other(*sides)


def test_text_and_figures(results, tmp_path, capsys):
    out = tmp_path / "figures"
    assert main(["analyze", SPARSE, DENSE, "--results", str(results), "--figures", str(out)]) == 0
    text = capsys.readouterr().out
    for words in ("same prediction", "noise heads A", "replicates B", "ECE", "Brier", "exemplars", "over heads"):
        assert words in text
    names = sorted(path.name for path in out.iterdir())
    assert names == [
        f"{name}.{suffix}"
        for name in ("classes", "confusion", "reliability")
        for suffix in ("pdf", "png", "tex", "txt")
    ]
    assert all(str(out / name) in text for name in names)


def test_reports_say_how_sparse_checkpoints_agree_with_their_reference(results, tmp_path, capsys):
    assert main(["report", "--results", str(results), "--out", str(tmp_path / "report")]) == 0
    header, *rows = (tmp_path / "report" / "agreement.csv").read_text().splitlines()
    got = [dict(zip(header.split(","), row.split(","), strict=True)) for row in rows]
    assert [(row["checkpoint"], row["reference"]) for row in got] == [(SPARSE, DENSE), (WORSE, DENSE)]
    capsys.readouterr()
    alone = analyzed(SPARSE, DENSE, results, capsys)["tasks"]["photos"]
    assert float(got[0]["agreement"]) == pytest.approx(alone["agreement"])
    assert float(got[0]["noise_replicates"]) == pytest.approx(alone["noise"]["replicates_b"]["agreement"])
    text = (tmp_path / "report" / "agreement.md").read_text()
    assert "Agreement with mini.dense" in text
    assert SPARSE.replace("_", r"\_") in text


def test_networks_are_compared_with_the_dense_twin_that_they_were_trained_with(tmp_path):
    write(tmp_path, DENSE)
    write(tmp_path, SPARSE)
    write(tmp_path, TWIN, seeds=1, twin_of=SPARSE)
    rows = agreement_rows(read_results(tmp_path), classes_reader(tmp_path))
    assert [(row.checkpoint, row.reference, row.twin) for row in rows] == [
        (SPARSE, DENSE, False), (TWIN, DENSE, False), (SPARSE, TWIN, True)
    ]  # fmt: skip
    assert rows[2].found.between["agreement"].value == np.mean(
        logits_of(SPARSE, 0).argmax(1) == logits_of(TWIN, 0).argmax(1)
    )
    with_reference, together = agreement_tables(rows)
    assert "mini.dense" in with_reference.title
    assert (together.header[1], together.rows[0][1].text) == ("Dense twin", TWIN)


def test_reports_without_predictions_have_no_agreement(tmp_path):
    for name in (DENSE, SPARSE):
        write(tmp_path / "runs", name, keep="none")
    assert main(["report", "--results", str(tmp_path / "runs"), "--out", str(tmp_path / "report")]) == 0
    assert not list((tmp_path / "report").glob("agreement*"))


def test_runs_are_paired_by_replicate_and_seed_else_in_order():
    first = {(0, 0): "a", (0, 1): "b", (1, 0): "c"}
    assert paired(first, {(0, 1): "x", (0, 2): "y"}) == [((0, 1), "b", "x")]
    assert paired(first, {(2, 5): "x", (2, 6): "y"}) == [((0, 0), "a", "x"), ((0, 1), "b", "y")]
    assert heads(first) == [("a", "b")]
    assert replicates(first) == [("a", "c")]
    assert replicates({(0, 0): "a", (0, 1): "b"}) == []
