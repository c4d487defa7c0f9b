"""Protocols of one's own: settings, names by content, and which protocol a task outside of the suite takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sparsebench.cli import main
from sparsebench.registry import load_registry
from sparsebench.registry.protocols import given_settings, parse_settings, settings_texts
from sparsebench.registry.selection import Selection, folder_task, task_protocols
from sparsebench.schema import InputError, RegistryError, UnknownNameError

REGISTRY = load_registry()


def changed(name: str, mode: str = "full", overrides: dict | None = None, **settings: object):
    return REGISTRY.protocol(name, mode, overrides, settings={k.replace("__", "."): v for k, v in settings.items()})


def test_settings_are_read_as_yaml() -> None:
    assert parse_settings(["lr=1e-2", "epochs=20", "nesterov=true", "milestones=[7,13]", "grid=null"]) == {
        "lr": 0.01,
        "epochs": 20,
        "nesterov": True,
        "milestones": [7, 13],
        "grid": None,
    }
    assert parse_settings(["lr=0.01,milestones=[7, 13],grid.lr=[0.1,0.2]"]) == {
        "lr": 0.01,
        "milestones": [7, 13],
        "grid.lr": [0.1, 0.2],
    }


def test_settings_of_the_library() -> None:
    assert given_settings(None) == {}
    assert given_settings({"lr": 0.1}) == given_settings("lr=0.1") == given_settings(["lr=0.1"]) == {"lr": 0.1}
    for wrong in (3, [1], {"lr"}):
        with pytest.raises(InputError, match="holds no settings"):
            given_settings(wrong)


@pytest.mark.parametrize("texts", [["lr"], ["=3"], ["lr="], ["lr=.nan"], ["lr=[1"], ["lr=1", "lr=2"], ["lr=1,lr=2"]])
def test_texts_that_are_no_settings(texts) -> None:
    with pytest.raises(InputError, match="--set"):
        parse_settings(texts)


def test_the_name_is_what_was_changed() -> None:
    own = changed("cvpr22-full", epochs=120, lr=0.01)
    assert (own.name, own.lr, own.epochs, own.milestones) == ("cvpr22-full+lr=0.01,epochs=120", 0.01, 120, (51, 101))
    assert changed("cvpr22-full", lr=0.001) == REGISTRY.protocols["cvpr22-full"]
    assert changed("cvpr22-full+normalisation=checkpoint", lr=0.1).name == "cvpr22-full+lr=0.1,normalisation=checkpoint"
    assert changed("tuned-full", grid=None).name == "tuned-full+grid=null"
    assert changed("ridge-linear", "linear", l2__count=7).name == "ridge-linear+l2.count=7"
    assert changed("cvpr22-full", milestones=(5, 9)).name == "cvpr22-full+milestones=[5,9]"
    assert changed("mini-full", grid={"lr": [0.1], "weight_decay": [0.1]}).grid.lr == (0.1,)


def test_a_setting_replaces_a_tasks_override() -> None:
    overrides = {"lr": 0.01}
    assert changed("cvpr22-full", overrides=overrides).lr == 0.01
    assert changed("cvpr22-full", overrides=overrides).name == "cvpr22-full"
    own = changed("cvpr22-full", overrides=overrides, lr=0.001)
    assert (own.name, own.lr) == ("cvpr22-full+lr=0.001", 0.001)


def test_milestones_out_of_reach_are_warned_of() -> None:
    with pytest.warns(UserWarning, match=r"after 20 epochs, before milestones 51, 101; .*milestones=\[7,13\]"):
        changed("cvpr22-full", epochs=20)


@pytest.mark.parametrize(
    ("name", "mode", "settings", "message"),
    [
        ("cvpr22-full", "full", {"lrr": 1}, "unknown setting of protocol cvpr22-full 'lrr' .*did you mean lr"),
        ("cvpr22-full", "full", {"epoch": 1}, "did you mean epochs"),
        ("cvpr22-full", "full", {"mode": "linear"}, "unknown setting"),
        ("cvpr22-full", "full", {"name": "x"}, "unknown setting"),
        ("cvpr22-full", "full", {"l2.count": 3}, "unknown setting"),
        ("knn-linear", "linear", {"momentum": 0.9}, "unknown setting of protocol knn-linear 'momentum'"),
        ("cvpr22-linear", "linear", {"nesterov": True}, "unknown setting"),
        ("cvpr22-full", "full", {"lr": -1}, r"field lr: .*\(is -1\)"),
        ("cvpr22-full", "full", {"epochs": 2.5}, "field epochs"),
        ("cvpr22-full", "full", {"lr": float("inf")}, "field lr"),
        ("cvpr22-full", "full", {"milestones": [9, 5]}, "ascending"),
        ("cvpr22-full", "full", {"grid.lr": [0.1]}, "field grid.weight_decay"),
        ("cvpr22-ful", "full", {}, "did you mean cvpr22-full"),
        ("cvpr22-full", "linear", {}, "for mode full"),
    ],
)
def test_settings_that_cannot_be_used(name, mode, settings, message) -> None:
    with pytest.raises(InputError, match=message):
        REGISTRY.protocol(name, mode, settings=settings)


@given(
    lr=st.floats(1e-9, 1e3),
    epochs=st.integers(200, 10**6),
    milestones=st.lists(st.integers(1, 199), unique=True).map(sorted),
    momentum=st.sampled_from([0, 0.5, 0.9]),
)
def test_a_name_stands_for_its_protocol(lr, epochs, milestones, momentum) -> None:
    own = changed("cvpr22-full", lr=lr, epochs=epochs, milestones=milestones, momentum=momentum)
    again = REGISTRY.protocol(own.name, "full")
    assert again == own
    assert again.resolved() == own.resolved()
    given_again = parse_settings(settings_texts({"lr": lr, "epochs": epochs, "milestones": milestones}))
    assert given_again == {"lr": lr, "epochs": epochs, "milestones": milestones}


def protocols(suite: str, mode: str, task: str, *probes: str) -> list[str]:
    known = REGISTRY.tasks.get(task) or folder_task(Path(task))
    selection = Selection(suite=suite, probes=probes)
    return [p.name for p in task_protocols(mode, known, selection, REGISTRY, REGISTRY.suites[suite])]


def test_a_task_outside_of_the_suite_takes_the_published_protocol() -> None:
    assert protocols("mini", "full", "digits") == ["mini-full"]
    assert protocols("mini", "full", "photos") == ["cvpr22-full+normalisation=checkpoint"]
    assert protocols("mini", "full", "./digits") == ["cvpr22-full+normalisation=checkpoint"]  # another of that name
    assert protocols("mini", "full", "cifar10") == ["cvpr22-full+normalisation=checkpoint"]
    assert protocols("cvpr22", "full", "cifar10") == ["cvpr22-full"]
    assert protocols("cvpr22", "full", "photos") == ["cvpr22-full+normalisation=checkpoint"]
    assert protocols("mini-tuned", "full", "photos") == ["tuned-full"]
    assert protocols("mini", "linear", "photos") == ["cvpr22-linear"]
    assert protocols("mini", "linear", "photos", "ridge", "sgd") == ["ridge-linear", "cvpr22-linear"]
    held_out = REGISTRY.protocol(*protocols("mini-holdout", "full", "photos"), "full")
    assert (held_out.train_on, held_out.eval_test, held_out.epochs) == ("train", "last", 150)


def test_a_registered_name_has_no_settings(tmp_path: Path) -> None:
    (tmp_path / "protocols.yaml").write_text("a+b: {mode: linear, probe: sgd, lr: 0.1, epochs: 2}\n")
    with pytest.raises(RegistryError, match=r"line 1: protocol 'a\+b' has a '\+'"):
        load_registry([], [tmp_path])
    (tmp_path / "protocols.yaml").unlink()
    text = "mine:\n  tasks: [digits]\n  archs: [mini]\n  modes:\n    full: {protocol: PROTOCOL, seeds: [0]}\n"
    (tmp_path / "suites.yaml").write_text(text.replace("PROTOCOL", "mini-full+lr=0.1"))
    assert load_registry([], [tmp_path]).suites["mine"].modes["full"].protocol == "mini-full+lr=0.1"
    for wrong in ("mini-full+lrr=0.1", "mini-full+lr=x", "mini-full+lr"):
        (tmp_path / "suites.yaml").write_text(text.replace("PROTOCOL", wrong))
        with pytest.raises(RegistryError, match=r"suites\.yaml, line 5: suite 'mine'"):
            load_registry([], [tmp_path])


def plan(tmp_path: Path, *options: str) -> list[str]:
    where = ["--results", str(tmp_path / "runs"), "--checkpoint", "mini.dense", "--seed", "0", "--dry-run"]
    return ["run", *options, *where]


def test_set_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in ("cat", "dog"):
        for i in range(6):
            pixels = np.random.default_rng([i, len(folder), ord(folder[0])]).integers(0, 256, (8, 8, 3), dtype=np.uint8)
            (tmp_path / "photos" / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / "photos" / folder / f"{i}.png")
    own = ["--task", str(tmp_path / "photos"), "--mode", "full"]
    assert main(plan(tmp_path, *own)) == 0
    assert " cvpr22-full+normalisation=checkpoint " in capsys.readouterr().out
    assert main(plan(tmp_path, *own, "--set", "lr=1e-2", "epochs=160")) == 0
    assert " cvpr22-full+lr=0.01,epochs=160,normalisation=checkpoint " in capsys.readouterr().out
    assert main(plan(tmp_path, *own, "--set", "lrr=1")) == 2
    assert "did you mean lr?" in capsys.readouterr().err
    assert main(plan(tmp_path, "--task", "digits", "--set", "lr=1")) == 2
    assert "add --mode linear or --mode full" in capsys.readouterr().err


def test_an_unknown_probe_is_named_before_anything_is_loaded() -> None:
    with pytest.raises(UnknownNameError, match="unknown probe 'rigde'"):
        protocols("mini", "linear", "digits", "rigde")
