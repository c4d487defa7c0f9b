"""Weights are found wherever they lie in a file; of several sets none is preferred in silence."""

from __future__ import annotations

import argparse
import collections
import datetime
import functools
import pathlib
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from files import assert_is, loaded, saved, small_state

from sparsebench.cli import main
from sparsebench.models import backbones
from sparsebench.models.formats import read_checkpoint
from sparsebench.registry import load_registry
from sparsebench.schema import CheckpointError

STATE = small_state()
OTHER = {name: value + 1 if value.is_floating_point() else value for name, value in STATE.items()}


def prefixed(prefix: str, state: dict[str, torch.Tensor] = STATE) -> dict[str, torch.Tensor]:
    return {prefix + name: value for name, value in state.items()}


@pytest.mark.parametrize(
    "prefix",
    ["model.", "net.", "encoder_q.", "module.model.", "model._orig_mod.", "_fsdp_wrapped_module.", "a.b.module.c."],
)
def test_a_prefix_that_all_names_share_is_taken_off(tmp_path: Path, prefix: str) -> None:
    path = saved(tmp_path / "m.pth", {"state_dict": {**prefixed(prefix), "n_averaged": torch.tensor(3)}})
    assert_is(loaded(path, head=True), STATE)


def test_parts_that_wrappers_leave_within_names_are_taken_out(tmp_path: Path) -> None:
    first = next(name for name in STATE if "." in name).partition(".")[0]
    for part in ("module.", "_orig_mod.", "_fsdp_wrapped_module._checkpoint_wrapped_module."):
        state = {n.replace(f"{first}.", f"{first}.{part}"): value for n, value in STATE.items()}
        assert_is(loaded(saved(tmp_path / "m.pth", state), head=True), STATE)


@pytest.mark.parametrize(
    "content",
    [
        {"checkpoint": {"state_dict": STATE}},
        {"ema": STATE, "epoch": 1},
        {"anything": {"at": {"all": STATE}}},
        {**STATE, "epoch": 3, "acc": torch.tensor(0.7)},
        {"model_ema": {"n_averaged": torch.tensor(3), **prefixed("module.")}},
        (STATE, {"state": {0: {"momentum_buffer": torch.ones(900, 900)}}, "param_groups": [{"lr": 0.1}]}),
        {"state_dict": STATE, "optimizer": {"state": {0: {"exp_avg": torch.ones(9, 9)}}}, "init_state": OTHER},
        {"state_dict": STATE, "same": dict(STATE), "confusion": torch.ones(5, 5)},
    ],
)
def test_what_lies_beside_or_around_the_weights_does_not_matter(tmp_path: Path, content: Any) -> None:
    assert_is(loaded(saved(tmp_path / "m.pth", content), head=True), STATE)


class Own(dict[str, int]):
    """Somebody's class of a dictionary."""


READS_KINDS_OF_LISTS = tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 14)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    "thing",
    [
        argparse.Namespace(output_dir=pathlib.PurePosixPath("/x")),
        np.arange(3.0),
        np.random.RandomState(0).get_state(),
        collections.defaultdict(list, {1: [2]}),
        Own(a=1),
        datetime.datetime(2024, 1, 1),
        functools.partial(print, 1),
        np.bool_(True),
        range(3),
        pytest.param(
            collections.deque([1, 2]),
            marks=pytest.mark.skipif(not READS_KINDS_OF_LISTS, reason="torch before 2.14 refuses such a file"),
        ),
    ],
    ids=lambda thing: type(thing).__name__,
)
def test_objects_beside_the_weights_are_read_as_nothing(tmp_path: Path, thing: object, legacy: bool) -> None:
    content = {"state_dict": STATE, "thing": thing}
    path = saved(tmp_path / "m.pth", content, _use_new_zipfile_serialization=not legacy)
    assert read_checkpoint(path).state.keys() == STATE.keys()


class Calls:
    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


def test_a_loss_beside_the_weights_is_read_as_nothing(tmp_path: Path) -> None:
    content = {"state_dict": STATE, "loss": torch.nn.CrossEntropyLoss()}
    assert read_checkpoint(saved(tmp_path / "m.pth", content)).state.keys() == STATE.keys()
    saved(tmp_path / "m.pth", content, _use_new_zipfile_serialization=False)  # its class comes with its source code
    with pytest.raises(CheckpointError, match="was refused: Only persistent_load of storage is allowed") as caught:
        read_checkpoint(tmp_path / "m.pth")
    assert "weights_only" not in str(caught.value)


def test_nothing_that_a_file_names_is_run(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    for function, arguments in ((np.save, (str(trap), [1])), (torch.save, ([1], str(trap)))):
        read_checkpoint(saved(tmp_path / "m.pth", {"state_dict": STATE, "thing": Calls(function, *arguments)}))
    for function, arguments in ((eval, ("1",)), (subprocess.call, ("true",))):
        saved(tmp_path / "m.pth", {"state_dict": STATE, "thing": Calls(function, *arguments)})
        with pytest.raises(CheckpointError, match="was refused: it would run"):
            read_checkpoint(tmp_path / "m.pth")
    assert list(tmp_path.iterdir()) == [tmp_path / "m.pth"]


def test_a_network_saved_as_a_whole_gives_its_state_dict(tmp_path: Path) -> None:
    network = backbones.build(backbones.find("mini")[0], 5)
    network.load_state_dict(STATE)
    for content in (network, {"model": torch.nn.DataParallel(network), "epoch": 1}):
        assert_is(loaded(saved(tmp_path / "m.pth", content), head=True), STATE)


BOTH = [
    {"state_dict": OTHER, "state_dict_ema": STATE},
    {"model": OTHER, "model_ema": {**prefixed("module."), "n_averaged": torch.tensor(5)}},
    {**prefixed("model.", OTHER), **prefixed("ema_model.module."), "ema_model.n_averaged": torch.tensor(2)},
    {"model": OTHER, "ema": {"decay": 0.999, "shadow": STATE}},
    {"state_dict": prefixed("model.", OTHER), "callbacks": {"EMA": {"ema_state_dict": prefixed("model.")}}},
]


@pytest.mark.parametrize("content", BOTH)
def test_averaged_weights_are_taken_and_said_or_chosen(tmp_path: Path, content: Any) -> None:
    path = saved(tmp_path / "m.pth", content)
    with pytest.warns(UserWarning, match="holds averaged weights beside others"):
        taken = loaded(path, head=True)
    assert_is(taken, STATE)
    assert taken.info.weights_taken is not None
    assert_is(loaded(f"{path}#ema", head=True), STATE)
    raw = loaded(f"{path}#raw", head=True)
    assert_is(raw, OTHER)
    assert raw.info.id == "m-raw"
    with pytest.raises(CheckpointError, match="holds no weights named 'other'; it holds: "):
        loaded(f"{path}#other")


def test_averages_within_averaged_weights_are_found_by_their_names(tmp_path: Path) -> None:
    average = {**prefixed("online_model.", OTHER), **prefixed("ema_model."), "step": torch.tensor(5)}
    path = saved(tmp_path / "m.pth", {"model": OTHER, "ema": average})
    with pytest.warns(UserWarning, match="holds averaged weights beside others"):
        assert_is(loaded(path, head=True), STATE)
    for choice, state in (("ema.ema_model", STATE), ("ema_model", STATE), ("ema.online_model", OTHER), ("raw", OTHER)):
        assert_is(loaded(f"{path}#{choice}", head=True), state)


@pytest.mark.parametrize(
    ("content", "choice"),
    [
        ({"model": STATE, "ema": {"decay": 0.999, "shadow_params": list(OTHER.values())}}, "raw"),
        ({"state_dict": STATE, "callbacks": {"EMA": {"ema_weights": list(OTHER.values())}}}, "raw"),
        ({**prefixed("model."), **{"model_ema." + n.replace(".", ""): v for n, v in OTHER.items()}}, "model"),
    ],
)
def test_averages_that_cannot_be_read_are_not_passed_over(tmp_path: Path, content: Any, choice: str) -> None:
    path = saved(tmp_path / "m.pth", content)
    with pytest.raises(CheckpointError, match=r"holds averaged weights under|holds several sets of weights: model_ema"):
        loaded(path)
    assert_is(loaded(f"{path}#{choice}", head=True), STATE)


def test_tensors_without_numbers_hold_nothing(tmp_path: Path) -> None:
    empty = {"queue": torch.zeros(0, 5), "neck.weight": torch.zeros(0)}
    assert_is(loaded(saved(tmp_path / "m.pth", {**STATE, **empty}), head=True), STATE)


def test_of_several_networks_one_must_be_named(tmp_path: Path) -> None:
    for content in ({"student": OTHER, "teacher": STATE}, {**prefixed("student.", OTHER), **prefixed("teacher.")}):
        path = saved(tmp_path / "m.pth", content)
        with pytest.raises(CheckpointError, match=r"several sets of weights: student, teacher .*FILE#teacher"):
            loaded(path)
        assert_is(loaded(f"{path}#teacher", head=True), STATE)
    saved(tmp_path / "m.pth", STATE)
    with pytest.raises(CheckpointError, match="holds no averaged weights"):
        loaded(f"{tmp_path / 'm.pth'}#ema")


def test_an_entry_says_which_weights_and_a_file_name_may_hold_a_hash(tmp_path: Path) -> None:
    saved(tmp_path / "a#ema.pth", BOTH[0])
    (tmp_path / "mine.yaml").write_text(
        "mini.x:\n  method: gmp\n  arch: mini\n  sparsity: 0.8\n  file: {path: 'a#ema.pth'}\n  weights: ema\n"
    )
    assert load_registry([tmp_path / "mine.yaml"]).checkpoint("mini.x").weights == "ema"
    assert_is(loaded("mini.x", arch=None, registry=tmp_path / "mine.yaml", head=True), STATE)
    assert_is(loaded(f"{tmp_path / 'a#ema.pth'}#raw", head=True), OTHER)


def test_two_spellings_of_one_tensor_must_agree(tmp_path: Path) -> None:
    name = next(iter(STATE))
    assert_is(loaded(saved(tmp_path / "m.pth", {**STATE, f"module.{name}": STATE[name]}), head=True), STATE)
    saved(tmp_path / "m.pth", {**STATE, f"module.{name}": OTHER[name]})
    with pytest.raises(CheckpointError, match="twice, with different values"):
        loaded(tmp_path / "m.pth")


def test_what_only_its_function_could_undo_is_named(tmp_path: Path) -> None:
    saved(tmp_path / "m.pth", {**STATE, "stem.parametrizations.weight.original": torch.ones(3, 3)})
    with pytest.raises(CheckpointError, match="belongs to a parametrization"):
        loaded(tmp_path / "m.pth")
    saved(tmp_path / "m.pth", {"_fsdp_wrapped_module._flat_param": torch.ones(99)})
    with pytest.raises(CheckpointError, match="FSDP has flattened"):
        loaded(tmp_path / "m.pth")
    saved(tmp_path / "m.pth", STATE, pickle_protocol=4)
    with pytest.raises(CheckpointError, match="a protocol that isn't read"):
        loaded(tmp_path / "m.pth")


def test_the_architecture_is_found_where_training_code_leaves_it(tmp_path: Path) -> None:
    state = backbones.build(backbones.find("timm/test_resnet")[0], 3).state_dict()
    for options in ({"args": argparse.Namespace(model="test_resnet")}, {"hyper_parameters": {"arch": "test_resnet"}}):
        path = saved(tmp_path / "m.pth", {"state_dict": state, "arch": "no such network", **options})
        assert loaded(path, arch=None).info.arch == "test_resnet"


def test_a_hub_folder_names_its_network_and_its_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from safetensors.torch import save_file

    save_file(backbones.build(backbones.find("timm/test_resnet")[0], 3).state_dict(), tmp_path / "model.safetensors")
    config = '{"input_size": [3, 96, 96], "mean": [0.5, 0.5, 0.5], "interpolation": "lanczos", "label": 1}'
    (tmp_path / "config.json").write_text(f'{{"architecture": "test_resnet", "pretrained_cfg": {config}}}')
    assert main(["inspect", str(tmp_path)]) == 0
    assert "test_resnet" in capsys.readouterr().out
    for path in (tmp_path, tmp_path / "model.safetensors"):
        found = loaded(path, arch=None)
        assert found.info.arch == "test_resnet"
        assert (found.preprocess.input_size, found.preprocess.interpolation) == (96, "bicubic")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match="can't be read as JSON"):
        loaded(tmp_path, arch=None)
