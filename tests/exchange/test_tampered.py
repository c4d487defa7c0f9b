"""Bundles that were tampered with, each with a manifest that is right about what it lists: named, and refused."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from refusals import Cases

from sparsebench.cli import main
from sparsebench.exchange import verify_bundle
from sparsebench.schema import digest

CASES = Cases()
case = CASES.case
SHA = "0123456789abcdef" * 4


@case("score", "its predictions give")
def a_score(c):
    c.change(c.key(), lambda r: r["scores"].update(top1=0.999))


@case("score", "its predictions give")
def a_score_by_one_image(c):
    c.change(c.key(), lambda r: r["scores"].update(top1=r["scores"]["top1"] + 0.001))


@case("score", "says mean_per_class")
def a_score_per_class(c):
    c.change(c.key(), lambda r: r["scores"].update(mean_per_class=0.99))


@case("score", "says top1")
def a_predicted_class(c):
    arrays = c.arrays(c.key())
    wrong = np.flatnonzero(arrays["predicted"] != arrays["labels"])[0]
    arrays["predicted"][wrong] = arrays["labels"][wrong]
    c.put_arrays(c.key(), {name: a for name, a in arrays.items() if name != "logits"})


@case("labels", "labels that are not the split's")
def labels_that_suit_the_predictions(c):
    arrays = c.arrays(c.key())
    arrays["labels"][:50] = arrays["predicted"][:50]
    c.put_arrays(c.key(), arrays)
    c.rescore(c.key())


@case("labels", "predictions of other images")
def an_image_of_another_name(c):
    arrays = c.arrays(c.key())
    arrays["ids"][0] ^= 1
    c.put_arrays(c.key(), arrays)


@case("labels", "not what the split's fingerprint is made of")
def labels_of_the_split_itself(c):
    name = next(name for name in c.members if name.startswith("splits/"))
    document = c.json(name)
    document["test"]["labels"][0] = (document["test"]["labels"][0] + 1) % 10
    c.put(name, document)


@case("labels", "its split is not the known one of task digits")
def a_split_of_ones_own(c):
    (name,) = (name for name in c.members if name.startswith("splits/"))
    document = c.json(name)
    test = document["test"]
    test["labels"] = [(label + 1) % 10 for label in test["labels"]]
    made_of = digest([test["ids"], test["labels"], test["hashes"]])
    fingerprint = digest({key: document[key] for key in ("classes", "train", "val")} | {"test": made_of})
    c.put(f"splits/{fingerprint}.json", document)
    old = c.key()
    new = c.rename(old, split_sha256=fingerprint)
    c.drop(old)
    arrays = c.arrays(new)
    arrays["labels"] = np.array(test["labels"])
    c.put_arrays(new, arrays)
    c.rescore(new)


@case("labels", "are none of its 10 classes")
def a_label_out_of_range(c):
    arrays = c.arrays(c.key())
    arrays["labels"][0] = 10
    c.put_arrays(c.key(), arrays)


@case("id", "run_id is")
def a_run_id(c):
    c.change(c.key(), lambda r: r.update(run_id="0" * 16))


@case("id", "its contents give")
def a_seed_under_an_old_id(c):
    c.change(c.key(), lambda r: r["spec"].update(seed=7))


@case("id", "holds the record")
def a_record_under_another_name(c):
    key = c.key()
    c.members[f"records/{'0' * 16}-{'0' * 8}.json"] = c.members.pop(f"records/{key}.json")


@case("duplicate", "the predictions and the training loss or logits of")
def a_run_copied_under_another_seed(c):
    c.rename(c.key(), seed=7)


@case("duplicate", "the predictions and the training loss or logits of")
def a_run_copied_to_another_checkpoint(c):
    spec = c.json(f"records/{c.key(checkpoint='mini.dense')}.json")["spec"]
    old = c.key(checkpoint="mini.dense")
    names = ("arch", "weights_sha256", "mask_sha256", "transform_sha256", "checkpoint")
    c.rename(c.key(), **{name: value for name, value in spec.items() if name in names}, seed=9)
    assert old


@case("duplicate", "predictions of one image twice")
def an_image_twice(c):
    arrays = c.arrays(c.key())
    lengths = arrays["id_lengths"]
    assert lengths[0] == lengths[1]
    arrays["ids"][lengths[0] : 2 * lengths[0]] = arrays["ids"][: lengths[0]]
    c.put_arrays(c.key(), arrays)


@case("logits", "hasn't the largest logit")
def a_logit(c):
    arrays = c.arrays(c.key())
    arrays["logits"][0, (arrays["predicted"][0] + 1) % 10] = 100.0
    c.put_arrays(c.key(), arrays)


@case("logits", "NaN or infinite")
def a_logit_that_is_nan(c):
    arrays = c.arrays(c.key())
    arrays["logits"][3, 3] = np.nan
    c.put_arrays(c.key(), arrays)


@case("logits", "NaN or infinite")
def a_logit_that_is_infinite(c):
    arrays = c.arrays(c.key())
    arrays["logits"][3, 3] = np.inf
    c.put_arrays(c.key(), arrays)


@case("logits", "has logits of 11 classes")
def logits_of_another_class(c):
    arrays = c.arrays(c.key())
    arrays["logits"] = np.pad(arrays["logits"], ((0, 0), (0, 1)), constant_values=-9)
    c.put_arrays(c.key(), arrays)


@case("hash", "other predictions than its record names")
def predictions_of_another_run(c):
    c.members[f"predictions/{c.key()}.npz"] = c.members[f"predictions/{c.key(seed=1)}.npz"]


@case("member", "lacks predictions/")
def predictions_that_are_gone(c):
    del c.members[f"predictions/{c.key()}.npz"]


@case("member", "belongs to no record")
def predictions_of_no_record(c):
    c.members[f"predictions/{'0' * 16}-{'0' * 8}.npz"] = c.members[f"predictions/{c.key()}.npz"]


@case("member", "names no predictions")
def predictions_that_a_record_hides(c):
    c.change(c.key(), lambda r: r.update(predictions=None, predictions_sha256=None))


@case("record", "names predictions that are not")
def predictions_elsewhere(c):
    c.change(c.key(), lambda r: r.update(predictions="../../x.npz"))


@case("value", "which no number of 1000 images gives")
def an_accuracy_that_no_count_gives(c):
    del c.members[f"predictions/{c.key()}.npz"]
    c.change(c.key(), lambda r: r.update(predictions=None, predictions_sha256=None))
    c.change(c.key(), lambda r: r["scores"].update(top1=0.70155))


@case("value", "not between 0 and 1")
def an_accuracy_in_percent(c):
    c.change(c.key(), lambda r: r["scores"].update(top1=70.1))


@case("value", "it started at 2999")
def a_run_of_the_future(c):
    c.change(c.key(), lambda r: r.update(started="2999-01-01T00:00:00+00:00"))


@case("value", "which is no time")
def a_run_of_no_time(c):
    c.change(c.key(), lambda r: r.update(started="yesterday"))


@case("value", "the training loss is -1")
def a_negative_loss(c):
    c.change(c.key(), lambda r: r["scores"].update(train_loss=-1.0))


@case("value", "below top1")
def a_top5_that_is_less_than_top1(c):
    c.change(c.key(), lambda r: r["scores"].update(top5=0.001))


@case("value", "it failed, yet has scores")
def a_failure_with_scores(c):
    c.change(c.key(), lambda r: r.update(status="failed"))


@case("value", "it is finished, yet has no scores")
def a_finished_run_without_scores(c):
    c.change(c.key(), lambda r: r.update(scores=None))


@case("value", "which only a reader can")
def a_verdict_of_ones_own(c):
    c.change(c.key(), lambda r: r.update(origin={"bundle": SHA, "verdict": "rerun"}))


@case("value", "further test sets")
def further_test_sets(c):
    extra = {"name": "x", "fingerprint": SHA, "top1": 1.0, "mean_per_class": 1.0, "n_test": 9}
    c.change(c.key(), lambda r: r.update(tests={"x": extra}))


@case("value", "is no plain text")
def a_name_with_escape_codes(c):
    c.change(c.key(), lambda r: r["spec"].update(task="\x1b[31mdigits"))


@case("mask", "3 of 1100390 masked weights are not zero")
def a_mask_that_was_not_held(c):
    c.change(c.key("full"), lambda r: r["mask_proof"].update(nonzero=3))


@case("mask", "without a proof that its mask was held")
def a_proof_that_is_gone(c):
    c.change(c.key("full"), lambda r: r.update(mask_proof=None))


@case("mask", "the sparsity held is")
def a_proof_of_another_sparsity(c):
    c.change(c.key("full"), lambda r: r["mask_proof"].update(sparsity=0.5))


@case("mask", "its proof is of 0 masked weights")
def a_proof_of_nothing(c):
    c.change(c.key("full"), lambda r: r["mask_proof"].update(masked=0, weights=None, sparsity=None))


@case("id", "are not those of the registered mini.acdc_s90")
def other_weights_under_a_registered_name(c):
    for mode, seed in (("linear", 0), ("linear", 1), ("linear", 2), ("full", 0)):
        old = c.key(mode, seed=seed)
        c.rename(old, weights_sha256=SHA)
        c.drop(old)


@case("id", "stands for two networks")
def one_name_for_two_networks(c):
    c.rename(c.key(), weights_sha256=SHA, seed=5)


@case("id", "is the registered mini.acdc_s90 under another name")
def a_registered_network_under_another_name(c):
    document = c.json("checkpoints.json")
    (entry,) = (e for e in document["checkpoints"] if e["id"] == "mini.acdc_s90")
    document["checkpoints"].append(entry | {"id": "mini.mine"})
    c.put("checkpoints.json", document)
    old = c.key()
    c.rename(old, checkpoint="mini.mine", seed=4)


@case("id", "the image transform is not the one")
def another_transform(c):
    c.rename(c.key(), transform_sha256=SHA, seed=5)


@case("entry", "its sparsity is 0.5")
def a_sparsity(c):
    c.change(c.key(), lambda r: r["spec"].update(sparsity=0.5))


@case("entry", "the registered entry of this name has 0.9")
def a_registered_sparsity(c):
    document = c.json("checkpoints.json")
    for entry in document["checkpoints"]:
        if entry["id"] == "mini.acdc_s90":
            entry["sparsity"] = 0.5
            del entry["sparsity_exact"]
    c.put("checkpoints.json", document)
    for mode, seed in (("linear", 0), ("linear", 1), ("linear", 2), ("full", 0)):
        c.change(c.key(mode, seed=seed), lambda r: r["spec"].update(sparsity=0.5))


@case("entry", "has no entry for 'mini.dense'")
def an_entry_that_is_gone(c):
    document = c.json("checkpoints.json")
    document["checkpoints"] = [e for e in document["checkpoints"] if e["id"] != "mini.dense"]
    c.put("checkpoints.json", document)


@case("duplicate", "has mini.dense twice")
def an_entry_twice(c):
    document = c.json("checkpoints.json")
    document["checkpoints"] *= 2
    document["checkpoints"].sort(key=lambda e: e["method"] != "dense")
    c.put("checkpoints.json", document)


@case("entry", "can't be read")
def an_entry_with_an_unknown_field(c):
    document = c.json("checkpoints.json")
    document["checkpoints"][0]["accuracy"] = 1.0
    c.put("checkpoints.json", document)


@case("protocol", "are not those of cvpr22-linear on digits")
def other_hyperparameters_under_a_registered_name(c):
    spec = c.json(f"records/{c.key()}.json")["spec"]
    c.rename(c.key(), protocol=spec["protocol"] | {"lr": 0.5}, seed=5)


@case("protocol", "are not those of a protocol of mode linear")
def hyperparameters_of_no_protocol(c):
    c.rename(c.key(), protocol={"lr": 0.5}, seed=5)


@case("protocol", "its metric is mean_per_class")
def another_metric(c):
    c.change(c.key(), lambda r: r["spec"].update(metric="mean_per_class"))


@case("record", "has schema version 99")
def a_newer_schema(c):
    c.change(c.key(), lambda r: r.update(schema_version=99))


@case("record", "accuracy is no field")
def an_unknown_field(c):
    c.change(c.key(), lambda r: r["scores"].update(accuracy=1.0))


@case("record", "is no record")
def a_text_for_a_number(c):
    c.change(c.key(), lambda r: r["scores"].update(top1="high"))


@case("record", "its contents give")
def a_number_as_text(c):
    c.change(c.key(), lambda r: r["scores"].update(top1=str(r["scores"]["top1"])))


@pytest.mark.parametrize("name", CASES)
def test_what_was_changed_is_named_and_refused(name, contents, verified):
    change, check, message = CASES[name]
    change(contents)
    found = verified(contents)
    assert found.verdict == "refused"
    assert any(p.check == check and message in p.message for p in found.problems), [p.line for p in found.problems]
    assert all(line.line.isprintable() for line in found.problems)


def test_a_bundle_is_refused_with_status_2(contents, tmp_path, capsys):
    a_score(contents)
    path = contents.save(tmp_path / "bad.zip")
    assert main(["verify", str(path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "says top1 0.999" in captured.err
    assert main(["verify", str(path), "--json"]) == 2
    document = json.loads(capsys.readouterr().out)
    assert document["verdict"] == "refused"
    assert document["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert {problem["check"] for problem in document["problems"]} == {"score"}
    assert main(["merge", str(path), "--results", str(tmp_path / "runs")]) == 2
    assert "bad.zip is refused" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_a_change_that_the_manifest_doesn_t_know_is_seen_by_its_hash(contents, tmp_path, means):
    arrays = contents.arrays(contents.key())
    arrays["logits"][0, arrays["logits"][0].argmin()] -= 1.0  # no class changes
    contents.put_arrays(contents.key(), arrays)
    found = verify_bundle(contents.save(tmp_path / "bad.zip", rehash=False), means)
    assert {problem.check for problem in found.problems} == {"hash"}
