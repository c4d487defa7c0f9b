"""An interrupted training goes on to the same files; what can't go on says why."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from trainings import (
    COMMAND,
    EPOCH,
    QUICK,
    interrupt,
    names,
    sparse,
    start_from,
    train,
    untimed,
)

from sparsebench.pruning.prune import make_recipe, prune
from sparsebench.pruning.upstream import UpstreamData, open_upstream
from sparsebench.schema import CheckpointError, InputError

RESUMED: dict[str, dict[str, Any]] = {
    "acdc": {"settings": {"last_dense": 0.25, "last_sparse": 0.375}},  # the twin is there from step 3 on
    "rigl": {"settings": {"updates": 4.0, "end": 1.0}},
    "str": {"settings": {"every": 1.0}},
    "lth": {"sparsities": (0.5, 0.8)},
    "cram": {"sparsities": (0.5, 0.8)},
    "gmp": {"settings": {"end": 0.9, "prunings": 5.0}},
    "woodfisher": {"settings": QUICK | {"end": 0.9}},
    "mfac": {"settings": QUICK | {"end": 0.9, "block": 0.0}},
}
"""Choices with which each method has something to remember after the first of two epochs."""

ALWAYS = {"acdc"}
"""Those that are not left to the slow tests: of masks, a twin and its masks; of connections, which go and come."""


@pytest.mark.parametrize(
    "method", [pytest.param(name, marks=[] if name in ALWAYS else [pytest.mark.slow]) for name in RESUMED]
)
def test_an_interrupted_training_goes_on_to_the_same_files(
    method: str, upstream: UpstreamData, dense: Path, tmp_path: Path
) -> None:
    choices = RESUMED[method] | {"init": start_from(method, dense)}
    whole = train(upstream, tmp_path / "whole" / "mini.safetensors", method, **choices)
    torch.manual_seed(1)  # which no training may depend on
    out = tmp_path / "parts" / "mini.safetensors"
    with pytest.raises(KeyboardInterrupt):
        train(upstream, out, method, report=interrupt("step", EPOCH + 2), **choices)
    assert names(out.parent) == {"mini.resume"}
    steps: list[int] = []

    def after_the_last_epoch(kind: str, values: dict[str, Any]) -> None:
        if kind == "step":
            steps.append(values["done"])
        elif values["epoch"] == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(upstream, out, method, report=after_the_last_epoch, **choices)
    assert steps == [EPOCH + k for k in range(1, EPOCH + 1)]
    assert names(out.parent) == {"mini.resume"}

    out.with_name(whole.made[-1].path.name).write_bytes(b"left by a crash while the files were written")
    parts = train(upstream, out, method, report=interrupt("step", EPOCH + 1), **choices)  # trains no more
    assert names(out.parent) == names(whole.log.parent)
    assert [(a.path.name, a.sparsity, a.top1) for a in parts.made] == [
        (b.path.name, b.sparsity, b.top1) for b in whole.made
    ]
    for a, b in zip(parts.made, whole.made, strict=True):
        assert a.path.read_bytes() == b.path.read_bytes()
    assert untimed(parts.log) == untimed(whole.log)


@pytest.mark.slow
def test_the_recipes_seed_decides_and_the_callers_generator_is_left_alone(
    upstream: UpstreamData, tmp_path: Path
) -> None:
    recipes = [make_recipe("rigl", (0.8,), upstream, epochs=1, batch_size=16, seed=seed) for seed in (0, 1)]
    before = torch.get_rng_state()
    files = [
        prune(recipe, upstream, tmp_path / f"{recipe.seed}.safetensors", command=COMMAND).made[0].path
        for recipe in recipes
    ]
    assert torch.equal(torch.get_rng_state(), before)
    first, second = (sparse(path)[1]["layer4.0.conv2.weight"] for path in files)
    assert 0.2 < float((first == second).float().mean()) < 0.9


@pytest.mark.slow
def test_images_decoded_on_demand_train_the_same_network(
    upstream: UpstreamData, upstream_file: Path, dense: Path, tmp_path: Path
) -> None:
    lazy = open_upstream(upstream_file, 32, memory_limit=0)
    assert not isinstance(lazy.train_images, Tensor)
    files = [
        train(data, tmp_path / where / "a.safetensors", "woodfisher", init=dense, epochs=1, settings=QUICK).made[0].path
        for where, data in (("memory", upstream), ("demand", lazy))
    ]
    assert files[0].read_bytes() == files[1].read_bytes()


CHANGES: dict[str, tuple[dict[str, Any], set[str]]] = {
    "rate and seed": ({"lr": 0.1, "seed": 4}, {"lr", "seed"}),
    "sparsity": ({"sparsities": (0.9,)}, {"sparsities"}),
    "distribution": ({"distribution": "uniform"}, {"distribution"}),
    "pattern": ({"sparsities": (0.5,), "distribution": "nm", "nm": (2, 4)}, {"sparsities", "distribution", "nm"}),
    "scope": ({"scope": "all_params"}, {"scope"}),
    "exempt": ({"exempt": ("conv1",)}, {"exempt"}),
    "epochs": ({"epochs": 3}, {"epochs"}),
    "batch": ({"batch_size": 32}, {"batch_size"}),
    "decay": ({"weight_decay": 0.0}, {"weight_decay"}),
    "setting": ({"settings": {"phase": 0.1}}, {"settings"}),
    "method": ({"method": "cram"}, {"method", "settings"}),
}


@pytest.fixture(scope="module")
def unfinished(upstream: UpstreamData, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The state that an acdc of two epochs leaves when it is interrupted after the first."""
    out = tmp_path_factory.mktemp("unfinished") / "a.safetensors"
    with pytest.raises(KeyboardInterrupt):
        train(upstream, out, report=interrupt("epoch", 0))
    return out.with_suffix(".resume").read_bytes()


@pytest.mark.parametrize("what", CHANGES)
def test_a_resume_with_other_arguments_is_refused_naming_each(
    what: str, upstream: UpstreamData, unfinished: bytes, tmp_path: Path
) -> None:
    change, differ = CHANGES[what]
    resume = tmp_path / "a.resume"
    resume.write_bytes(unfinished)
    with pytest.raises(InputError, match="a training with other arguments") as caught:
        train(upstream, tmp_path / "a.safetensors", **change)
    named = caught.value.message.partition("other arguments: ")[2]
    fields = [field.name for field in dataclasses.fields(make_recipe("acdc", (0.8,), upstream))]
    assert {field for field in fields if f"{field} was " in named} == differ
    assert caught.value.hint == "give the same, or delete it"
    assert resume.read_bytes() == unfinished
    assert names(tmp_path) == {"a.resume"}


def test_a_refusal_to_resume_shows_both_values(upstream: UpstreamData, unfinished: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.resume").write_bytes(unfinished)
    with pytest.raises(InputError, match=r"other arguments: lr was 0\.2, is 0\.1, seed was 0, is 4"):
        train(upstream, tmp_path / "a.safetensors", lr=0.1, seed=4)
    other = dataclasses.replace(upstream, name="other")
    with pytest.raises(InputError, match=r'data was \'\["noise", 64, 32, 4\]\', is \'\["other", 64, 32, 4\]\''):
        train(other, tmp_path / "a.safetensors")
    assert len(train(upstream, tmp_path / "a.safetensors").made) == 2  # the same arguments go on


def test_a_resume_from_other_dense_weights_is_refused(upstream: UpstreamData, dense: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.safetensors"
    with pytest.raises(KeyboardInterrupt):
        train(upstream, out, "gmp", init=dense, report=interrupt("epoch", 0))
    other = train(upstream, tmp_path / "other.safetensors", "dense", epochs=1).made[0].path
    with pytest.raises(InputError, match="init_sha256 was"):
        train(upstream, out, "gmp", init=other)


@pytest.mark.parametrize("damage", ["empty", "garbage", "half", "a byte less"])
def test_a_damaged_resume_file_is_refused(
    damage: str, upstream: UpstreamData, unfinished: bytes, tmp_path: Path
) -> None:
    content = {"empty": b"", "garbage": b"garbage", "half": unfinished[: len(unfinished) // 2]}
    resume = tmp_path / "a.resume"
    resume.write_bytes(content.get(damage, unfinished[:-1]))
    with pytest.raises(CheckpointError, match=r"a\.resume can't be resumed from: ") as caught:
        train(upstream, tmp_path / "a.safetensors")
    assert caught.value.hint == "delete it to start again"
    assert names(tmp_path) == {"a.resume"}


def test_a_malicious_resume_file_is_refused_and_not_run(upstream: UpstreamData, tmp_path: Path) -> None:
    class Malice:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "trap"),)

    torch.save({"recipe": Malice()}, tmp_path / "a.resume")
    with pytest.raises(CheckpointError, match="can't be resumed from"):
        train(upstream, tmp_path / "a.safetensors")
    assert not (tmp_path / "trap").exists()
