"""Records made up by somebody who knows the format: each field is of the right kind, and no run leaves such values."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable

import numpy as np
import pytest
from refusals import Cases

CASES = Cases()
case = CASES.case
HARMLESS: dict[str, Callable[..., object]] = {}
SHA = "0123456789abcdef" * 4


def harmless(change: Callable[..., object]) -> Callable[..., object]:
    """Add a change that nobody can tell from the truth, or that means the same."""
    HARMLESS[change.__name__] = change
    return change


def record(c, **fields: object) -> None:
    c.change(c.key(), lambda r: r.update(fields))


def scores(c, **fields: object) -> None:
    c.change(c.key(), lambda r: r["scores"].update(fields))


def proof(c, **fields: object) -> None:
    c.change(c.key("full"), lambda r: r["mask_proof"].update(fields))


def spec_of(c) -> dict:
    return c.json(f"records/{c.key()}.json")["spec"]


def numerics(c, **fields: object) -> None:
    c.rename(c.key(), numerics=spec_of(c)["numerics"] | fields)


def entry(c, name: str, **fields: object) -> None:
    """Add an entry of one's own, and a run of it."""
    document = c.json("checkpoints.json")
    own = copy.deepcopy(next(one for one in document["checkpoints"] if one["id"] == "mini.acdc_s90"))
    document["checkpoints"].append(own | {"id": name} | fields)
    c.put("checkpoints.json", document)
    labels = {field: value for field, value in fields.items() if field in spec_of(c)}
    c.rename(c.key(), checkpoint=name, weights_sha256=SHA, seed=7, **labels)


def swapped(c) -> tuple[str, str]:
    """Exchange the predictions of two seeds, with their hashes."""
    one, other = c.key(seed=0), c.key(seed=1)
    data = [c.members[f"predictions/{key}.npz"] for key in (other, one)]
    for key, predictions in zip((one, other), data, strict=True):
        c.put_predictions(key, predictions)
    return one, other


# --- predictions


@case("score", "its predictions give")
def predictions_of_two_seeds_exchanged(c):
    swapped(c)


@case("labels", "predictions of other images")
def images_in_another_order(c):
    arrays = c.arrays(c.key())
    names = [bytes(name) for name in np.split(arrays["ids"], np.cumsum(arrays["id_lengths"])[:-1])]
    order = np.arange(len(names))[::-1]
    arrays["ids"] = np.frombuffer(b"".join(names[i] for i in order), np.uint8)
    for name in ("id_lengths", "labels", "predicted", "logits"):
        arrays[name] = np.ascontiguousarray(arrays[name][order])
    c.put_arrays(c.key(), arrays)


@case("labels", "labels that are not the split's")
def classes_renumbered_in_labels_and_predictions(c):
    arrays = c.arrays(c.key())
    del arrays["logits"]
    for name in ("labels", "predicted"):
        arrays[name] = ((arrays[name].astype(np.int64) + 1) % 10).astype(arrays[name].dtype)
    c.put_arrays(c.key(), arrays)


@case("member", "logits is an array of float64")
def logits_beyond_half_precision(c):
    arrays = c.arrays(c.key())
    arrays["logits"] = arrays["logits"].astype(np.float64) * 1e300
    c.put_arrays(c.key(), arrays)


@case("labels", "predicted classes that are none of its")
def a_predicted_class_that_wraps_around(c):
    arrays = c.arrays(c.key())
    arrays["predicted"] = arrays["predicted"].astype(np.uint64)
    arrays["predicted"][0] = 2**64 - 1
    c.put_arrays(c.key(), arrays)


@case("value", "a hash without predictions")
def a_hash_of_predictions_that_are_gone(c):
    c.members.pop(f"predictions/{c.key()}.npz")
    record(c, predictions=None)


@case("member", "names no predictions, the bundle has some")
def a_failure_that_hides_predictions(c):
    c.rename(c.key(seed=2), seed=0)


# --- names


@case("value", "is no name")
def a_task_with_a_letter_of_another_script(c):
    c.rename(c.key(), task="d\u0456gits")


@case("value", "is no name")
def a_protocol_with_a_letter_of_another_script(c):
    c.rename(c.key(), protocol_name="cvpr22-l\u0456near")


@case("value", "is no name")
def a_protocol_with_a_space_at_its_end(c):
    c.rename(c.key(), protocol_name="cvpr22-linear ")


@case("value", "is no name")
def a_method_with_a_letter_of_another_script(c):
    entry(c, "mine", method="a\u0441dc")


@case("entry", "can't be read: id")
def a_checkpoint_with_a_letter_of_another_script(c):
    entry(c, "m\u0456ni.acdc_s90")


@case("entry", "a text that can't be shown")
def an_entry_that_turns_around(c):
    entry(c, "mine", licence="\u202eMIT")


@case("entry", "its own twin")
def a_twin_of_itself(c):
    entry(c, "mine", twin_of="mine")


@case("entry", "is not a dense network")
def a_pruned_network_as_the_reference(c):
    entry(c, "mine", reference="mini.acdc_s90")


@case("value", "the device is")
def a_device_with_markup_as_its_number(c):
    numerics(c, device="cuda:<b>0")


# --- numbers


@case("member", "NaN is no number")
def a_score_that_is_nan(c):
    scores(c, top1=float("nan"))


@case("value", "seconds is 1.7e+308")
def times_whose_sum_is_infinite(c):
    record(c, seconds=1.7e308)


@case("value", "stage features took")
def a_stage_of_ages(c):
    record(c, stages={"features": 1.7e308})


@case("value", "the training loss is")
def losses_whose_sum_is_infinite(c):
    scores(c, train_loss=1.7e308)


@case("value", "the temperature is")
def a_temperature_beyond_the_fit(c):
    scores(c, temperature=1e300, n_val=50)


@case("value", "temperature, and no val images")
def a_temperature_fitted_to_nothing(c):
    scores(c, temperature=1.5)


@case("value", "val_top1, and no val images")
def a_score_on_no_images(c):
    scores(c, val_top1=0.99)


@case("value", "val images, task digits has 50")
def more_val_images_than_there_are(c):
    scores(c, n_val=2**62)


@case("value", "it has top5")
def a_score_of_another_mode(c):
    scores(c, top5=1.0)


@case("value", "the best epoch's accuracy, and its protocol")
def a_best_epoch_of_one(c):
    scores(c, best_test=1.0)


@case("value", "none of its trials")
def a_choice_without_trials(c):
    scores(c, chosen={"lr": 123.0})


@case("value", "impossible scores on val")
def a_trial_above_one(c):
    record(c, trials=[{"settings": {"lr": 1.0}, "val_top1": 7.0}])


@case("value", "counts of processes")
def processes_below_none(c):
    record(c, processes={"start": 1, "end": 1, "restarts": -1})


@case("value", "threads")
def threads_beyond_any_machine(c):
    numerics(c, threads=10**15)


# --- mask proofs


@case("mask", "the registered mini.acdc_s90 has 1100390")
def a_proof_of_another_network(c):
    proof(c, masked=900_000, weights=1_000_000, sparsity=0.9)


@case("mask", "the registered mini.acdc_s90 has 1100390")
def a_proof_of_a_few_weights(c):
    proof(c, masked=1, weights=None, sparsity=None)


@case("mask", "zeros that no mask held")
def a_proof_with_a_negative_count(c):
    proof(c, unheld_zeros=-7)


@case("mask", "trains no network")
def a_proof_of_a_run_that_trains_no_network(c):
    record(c, mask_proof={"masked": 5, "nonzero": 0})


# --- JSON


@case("record", "has schema version 1, not 2")
def a_record_of_the_schema_before(c):
    record(c, schema_version=1)


@case("record", "has schema version None")
def a_record_of_no_schema(c):
    c.change(c.key(), lambda r: r.pop("schema_version"))


@case("member", "is not UTF-8")
def a_record_in_utf_16(c):
    name = f"records/{c.key()}.json"
    c.members[name] = c.members[name].decode().encode("utf-16")


@case("member", "is not JSON")
def a_record_with_a_byte_order_mark(c):
    name = f"records/{c.key()}.json"
    c.members[name] = b"\xef\xbb\xbf" + c.members[name]


@case("member", "too large")
def an_exponent_beyond_any_number(c):
    name = f"records/{c.key()}.json"
    record(c, seconds=123456.5)
    c.members[name] = c.members[name].replace(b"123456.5", b"1e999")


@pytest.mark.parametrize("name", CASES)
def test_what_no_run_leaves_is_named_and_refused(name, contents, verified):
    change, check, message = CASES[name]
    change(contents)
    found = verified(contents)
    assert found.verdict == "refused"
    assert any(p.check == check and message in p.message for p in found.problems), [p.line for p in found.problems]
    json.dumps(found.document()).encode()


# --- what is let through, as docs/how-to/exchange.md says


@harmless
def two_seeds_exchanged_with_all_their_scores(c):
    for key in swapped(c):
        c.rescore(key)


@harmless
def another_processor(c):
    record(c, environment={"processor": "another"})


@harmless
def a_whole_number_with_a_point(c):
    record(c, schema_version=2.0)


@harmless
def numbers_in_another_byte_order(c):
    arrays = c.arrays(c.key())
    arrays["labels"] = arrays["labels"].astype(">i8")
    c.put_arrays(c.key(), arrays)


@harmless
def more_in_the_manifest(c):
    c.put("manifest.json", c.json("manifest.json") | {"from": "nobody"})


@pytest.mark.parametrize("name", HARMLESS)
def test_what_nobody_can_tell_from_the_truth(name, contents, verified):
    HARMLESS[name](contents)
    found = verified(contents)
    assert [problem.line for problem in found.problems] == []
    assert found.verdict == "rescored"
