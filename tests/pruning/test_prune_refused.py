"""What can't be pruned is refused before the first step, and what diverges says so."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from trainings import (
    ENDS,
    EPOCH,
    interrupt,
    names,
    start_from,
    train,
)

from sparsebench.models import backbones
from sparsebench.pruning.methods.acdc import ACDC
from sparsebench.pruning.state import TrainState
from sparsebench.pruning.upstream import UpstreamData
from sparsebench.schema import CheckpointError, InputError, RunError, UnknownNameError


def test_dense_weights_of_another_network_are_refused(
    upstream: UpstreamData, pruned_resnet18: Path, tmp_path: Path
) -> None:
    three = tmp_path / "three.pth"
    torch.save(backbones.build(backbones.find("mini")[0], 3).state_dict(), three)
    there = names(tmp_path)
    for init, reason in ((three, r"fc\.weight: \(3, 256\), not \(4, 256\)"), (pruned_resnet18, r"\d+ keys unexpected")):
        with pytest.raises(CheckpointError, match=rf"--init .*{init.name} doesn't fit: .*{reason}") as caught:
            train(upstream, tmp_path / "a.safetensors", "gmp", init=init)
        assert "same architecture and number of classes" in str(caught.value)
    assert names(tmp_path) == there


@pytest.mark.parametrize("broken", [pytest.param("loss", marks=pytest.mark.slow), "weights"])
def test_a_training_that_diverges_late_keeps_its_last_whole_epoch(
    broken: str, upstream: UpstreamData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choices: dict[str, Any] = {"epochs": 3, "settings": {"last_dense": 0.4, "last_sparse": 0.5}}
    whole = train(upstream, tmp_path / "whole" / "a.safetensors", **choices)
    gradients, update = ACDC.gradients, ACDC.update

    def nan_loss(self: ACDC, state: TrainState, images: Tensor, labels: Tensor) -> Tensor:
        return gradients(self, state, images, labels) * (math.nan if state.step == 2 * EPOCH + 1 else 1)

    def infinite_weights(self: ACDC, state: TrainState) -> None:
        update(self, state)
        if state.step == 3 * EPOCH - 1:  # the epoch's last, so that no loss shows it
            state.weights["layer2.0.conv1.weight"].data[0] = math.inf

    out = tmp_path / "parts" / "a.safetensors"
    resume = out.with_suffix(".resume")
    kept: list[bytes] = []

    def report(kind: str, values: dict[str, Any]) -> None:
        if kind == "epoch":
            kept.append(resume.read_bytes())

    found = {"loss": "the loss is nan at step 9", "weights": "the weights are no longer finite at step 12"}[broken]
    with monkeypatch.context() as patch:
        patch.setattr(ACDC, *{"loss": ("gradients", nan_loss), "weights": ("update", infinite_weights)}[broken])
        with pytest.raises(RunError, match=rf"^{found} \(epoch 3 of 3\)") as caught:
            train(upstream, out, report=report, **choices)
    assert caught.value.hint is not None
    assert re.search(r"lower --lr than 0\.2; .*a\.resume keeps the last good state: delete it", caught.value.hint)
    assert len(kept) == 2
    assert resume.read_bytes() == kept[-1]
    assert names(out.parent) == {"a.resume"}
    parts = train(upstream, out, **choices)
    for a, b in zip(parts.made, whole.made, strict=True):
        assert a.path.read_bytes() == b.path.read_bytes()


def test_a_training_that_diverges_at_once_leaves_nothing(upstream: UpstreamData, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"the loss is (nan|inf) at step \d+ \(epoch 1 of 9\) .*lower --lr than 1e\+12"):
        train(upstream, tmp_path / "a.safetensors", "dense", lr=1e12, warmup=0.0, epochs=9)
    assert names(tmp_path) == set()


def test_a_sparsity_that_the_scope_makes_impossible_is_refused(
    upstream: UpstreamData, dense: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"sparsity 0\.6 of all parameters is impossible: 632,832 weights can be"):
        train(
            upstream,
            tmp_path / "a.safetensors",
            "magnitude",
            (0.2, 0.6),
            init=dense,
            scope="all_params",
            exempt=(*ENDS, "layer4.0.conv2"),
        )
    assert names(tmp_path) == set()


@pytest.mark.parametrize("steps", [1, 3])
def test_a_training_too_short_to_prune_writes_no_file(steps: int, upstream: UpstreamData, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=rf"^{steps} steps are too few for acdc .* reached sparsity 0\.0.*more --epochs"):
        train(upstream, tmp_path / "a.safetensors", epochs=1, batch_size=64 // steps)
    assert names(tmp_path) <= {"a.resume"}


@pytest.mark.parametrize("method", ["acdc", "magnitude", "cram"])
def test_a_pattern_that_a_layer_cannot_have_is_refused_naming_it(
    method: str, upstream: UpstreamData, dense: Path, tmp_path: Path
) -> None:
    choices: dict[str, Any] = {"distribution": "nm", "nm": (2, 4), "exempt": ("fc",)}
    with pytest.raises(InputError, match=r"2:4 is impossible for layer conv1: it has 3 inputs.*--exempt conv1"):
        train(upstream, tmp_path / "a.safetensors", method, (0.5,), init=start_from(method, dense), **choices)
    assert names(tmp_path) <= {"a.resume"}


@pytest.mark.parametrize("method", ["rigl", "acdc", "magnitude"])
@pytest.mark.parametrize(("distribution", "sparsity"), [("uniform", 0.9999), ("erk", 0.999995)])
def test_a_layer_left_without_weights_is_refused_naming_it(
    method: str, distribution: str, sparsity: float, upstream: UpstreamData, dense: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"no weight would be left in layer layer\d\.0\.\S+ \(\d+ weights\)"):
        train(
            upstream,
            tmp_path / "a.safetensors",
            method,
            (sparsity,),
            init=start_from(method, dense),
            distribution=distribution,
        )
    assert names(tmp_path) <= {"a.resume"}


@pytest.mark.parametrize("there", ["a_s50", "a_s80", "a_dense"])
def test_a_file_in_the_way_is_refused_before_any_training(there: str, upstream: UpstreamData, tmp_path: Path) -> None:
    (tmp_path / f"{there}.safetensors").write_bytes(b"mine")
    with pytest.raises(InputError, match=rf"{there}\.safetensors is already there"):
        train(upstream, tmp_path / "a.safetensors", "cram", (0.5, 0.8), report=interrupt("step", 1))
    assert names(tmp_path) == {f"{there}.safetensors"}
    assert (tmp_path / f"{there}.safetensors").read_bytes() == b"mine"


def test_choices_that_fit_no_training_are_refused(upstream: UpstreamData, dense: Path, tmp_path: Path) -> None:
    def refused(message: str, method: str = "acdc", sparsities: tuple[float, ...] = (0.8,), **choices: Any) -> None:
        kind = choices.pop("kind", InputError)
        with pytest.raises(kind, match=message):
            train(upstream, tmp_path / "a.safetensors", method, sparsities, init=start_from(method, dense), **choices)

    refused("--epochs 0 is not a training", epochs=0)
    refused("magnitude doesn't train .*leave --epochs out", "magnitude", epochs=3)
    refused("64 training images don't fill one batch of 65", batch_size=65)
    for rate in (0.0, -0.1, math.nan, math.inf):
        refused("is not a learning rate", lr=rate)
    refused("acdc makes one sparsity per training", sparsities=(0.8, 0.9))
    refused("impossible sparsity", "cram", (0.8, 1.0))
    refused("can't make distribution 'global'", "str", distribution="global")
    refused("go together", distribution="nm")
    refused("did you mean mini", arch="minni", kind=UnknownNameError)
    assert names(tmp_path) == set()


def test_a_schedule_that_ends_below_the_sparsity_writes_no_file(
    upstream: UpstreamData, dense: Path, tmp_path: Path
) -> None:
    with pytest.raises(RunError, match=r"too few for gmp with these settings: it reached sparsity 0\.05.*, not 0\.8"):
        train(upstream, tmp_path / "a.safetensors", "gmp", init=dense, epochs=1, settings={"end": 1.0, "prunings": 1})
    assert names(tmp_path) <= {"a.resume"}


def test_fewer_steps_than_rounds_are_refused(upstream: UpstreamData, dense: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"4 steps are too few for the \d+ rounds of lth"):
        train(upstream, tmp_path / "a.safetensors", "lth", (0.5, 0.8, 0.9), init=dense, epochs=1)


def test_what_the_layers_cannot_have_is_found_before_the_first_step(upstream: UpstreamData, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown layer 'fcc' .did you mean fc"):
        train(upstream, tmp_path / "a.safetensors", exempt=("conv1", "fcc"))
    steps: list[str] = []
    with pytest.raises(InputError, match=r"2:4 is impossible for layer conv1: it has 3 inputs"):
        train(
            upstream,
            tmp_path / "a.safetensors",
            "acdc",
            (0.5,),
            distribution="nm",
            nm=(2, 4),
            exempt=("fc",),
            report=lambda kind, values: steps.append(kind),
        )
    assert steps == []
    assert names(tmp_path) == set()
