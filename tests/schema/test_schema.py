from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sparsebench.registry import load_registry
from sparsebench.schema import (
    Augment,
    Checkpoint,
    FileSource,
    Preprocess,
    Protocol,
    RunSpec,
    Scores,
    SuiteMode,
    Trial,
    canonical_json,
)

LINEAR = {"name": "p", "mode": "linear", "probe": "sgd", "lr": 0.01, "epochs": 10}


def test_the_linear_protocol_has_the_published_rates_to_the_epoch() -> None:
    protocol = load_registry().protocol("cvpr22-linear", "linear")
    rate, expected = 0.01, []
    for epoch in range(150):  # the reference's own rule: an exponential schedule, stepped at the end of some epochs
        expected.append(rate)
        if (epoch - 50) % 50 == 0 and 49 < epoch < 151:
            rate *= 0.1
    assert [protocol.lr_at(e) for e in range(150)] == pytest.approx(expected)
    assert (protocol.momentum, protocol.weight_decay, protocol.batch_size) == (0.9, 5e-4, 64)


def test_mini_full_is_the_published_protocol_scaled() -> None:
    registry = load_registry()
    scaled, published = registry.protocol("mini-full", "full"), registry.protocol("cvpr22-full", "full")
    for name in ("momentum", "weight_decay", "batch_size", "gamma", "train_on", "nesterov"):
        assert getattr(scaled, name) == getattr(published, name)
    share = [m / published.epochs for m in published.milestones]
    assert [m / scaled.epochs for m in scaled.milestones] == pytest.approx(share, abs=0.02)


@pytest.mark.parametrize(
    "change",
    [
        {"nesterov": True},
        {"eval_test": "each_epoch"},
        {"augment": "task"},
        {"probe": None},
        {"mode": "full"},
        {"milestones": [5, 3]},
        {"milestones": [0]},
        {"lr": 0},
        {"lr": "0.1"},
        {"epochs": 1.5},
        {"batch": 3},
    ],
)
def test_protocols_that_make_no_sense(change: dict[str, object]) -> None:
    assert Protocol.model_validate(LINEAR).epochs == 10
    with pytest.raises(ValidationError):
        Protocol.model_validate(LINEAR | change)


def test_a_protocol_s_hash_is_of_its_hyperparameters_alone() -> None:
    one = Protocol.model_validate(LINEAR)
    assert one.resolved() == Protocol.model_validate(LINEAR | {"name": "q", "source": "a paper"}).resolved()
    assert one.resolved() != Protocol.model_validate(LINEAR | {"lr": 0.02}).resolved()


SPEC = {
    "arch": "mini", "weights_sha256": "w", "mask_sha256": "m", "split_sha256": "s", "transform_sha256": "t",
    "mode": "linear", "probe": "sgd", "protocol": {"lr": 0.1}, "seed": 0, "checkpoint": "c", "method": "gmp",
    "sparsity": 0.9, "sparsity_measured": 0.9, "sparsity_scope": "prunable", "distribution": "global", "task": "digits",
    "protocol_name": "p", "metric": "top1",
}  # fmt: skip


@pytest.mark.parametrize("name", ["arch", "weights_sha256", "mask_sha256", "split_sha256", "transform_sha256", "seed"])
def test_a_run_id_depends_on_every_content(name: str) -> None:
    other = 1 if name == "seed" else "other"
    assert RunSpec.model_validate(SPEC).run_id != RunSpec.model_validate(SPEC | {name: other}).run_id


@pytest.mark.parametrize("name", ["checkpoint", "method", "task", "protocol_name", "suite", "reference"])
def test_a_run_id_depends_on_no_name(name: str) -> None:
    assert RunSpec.model_validate(SPEC).run_id == RunSpec.model_validate(SPEC | {name: "other"}).run_id


def test_a_run_id_is_the_same_on_every_machine() -> None:
    assert RunSpec.model_validate(SPEC).run_id == "7632bab28336bd2b"
    copy = RunSpec.model_validate_json(RunSpec.model_validate(SPEC).model_dump_json())
    assert copy.run_id == RunSpec.model_validate(SPEC).run_id


@given(st.dictionaries(st.text(), st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()))
def test_canonical_json_does_not_depend_on_order(value: dict[str, object]) -> None:
    assert canonical_json(value) == canonical_json(dict(reversed(value.items())))


@pytest.mark.parametrize(
    "fields",
    [
        {"method": "dense", "sparsity": 0.5},
        {"method": "gmp", "sparsity": 0},
        {"method": "gmp", "sparsity": 1.0},
        {"method": "gmp", "sparsity": 0.5, "distribution": "nm"},
        {"method": "gmp", "sparsity": 0.5, "nm": "2:4"},
        {"method": "gmp", "sparsity": 0.5, "distribution": "nm", "nm": "2-4"},
        {"method": "gmp", "sparsity": 0.5, "reference": "a.b"},
        {"method": "gmp", "sparsity": 0.5, "id": "../a"},
    ],
)
def test_checkpoints_that_make_no_sense(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Checkpoint.model_validate({"id": "a.b", "arch": "a", "file": FileSource(path="x")} | fields)


def test_other_models_check_themselves() -> None:
    assert Preprocess().resize_size == 256
    for model, fields in (
        (Preprocess, {"std": (0.1, 0.0, 0.1)}),
        (Augment, {"crop": "shift"}),
        (Augment, {"shift": 2}),
        (SuiteMode, {"protocol": "p", "seeds": [1, 1]}),
        (SuiteMode, {"protocol": "p", "seeds": []}),
        (FileSource, {"path": " "}),
    ):
        with pytest.raises(ValidationError):
            model.model_validate(fields)


def test_hyperparameters_of_schema_1_are_read_into_one_mapping() -> None:
    counts = {"top1": 0.5, "mean_per_class": 0.5, "n_train": 4, "n_test": 2, "n_classes": 2}
    old = {"chosen_lr": 0.02, "chosen_weight_decay": 0.0, "chosen_l2": None, "chosen_k": None}
    assert Scores.model_validate(counts | old).chosen == {"lr": 0.02, "weight_decay": 0.0}
    assert Scores.model_validate(counts | {"chosen_k": 5}).chosen == {"k": 5}
    assert Scores.model_validate(counts | dict.fromkeys(old)).chosen == {}
    trial = Trial.model_validate({"lr": None, "l2": 1e-6, "val_top1": 0.25})
    assert (trial.settings, trial.val_top1) == ({"l2": 1e-6}, 0.25)


@given(
    st.dictionaries(
        st.text(max_size=8), st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8)
    )
)
def test_any_hyperparameter_is_read_as_it_was_written(chosen: dict[str, object]) -> None:
    trial = Trial(settings=chosen, val_loss=1.0)
    assert Trial.model_validate_json(trial.model_dump_json()) == trial
