"""How extensions are found: ours, those of other packages, and what is missing to use one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import EntryPoint

import pytest

from sparsebench import extensions
from sparsebench.extensions import KINDS, Engine, ExtensionWarning, LeaderboardColumn, Probe, table
from sparsebench.registry import builtin_protocols, load_registry
from sparsebench.schema import Group, InputError, Numerics, Protocol, RegistryError, UnknownNameError

THEIRS = Probe(name="theirs", summary="another package's", fit="nothing.to.import:yet")
TAKEN = replace(THEIRS, name="ridge")
COLUMN = LeaderboardColumn(name="double", summary="twice the accuracy", value=lambda line, part: 2.0)


@pytest.fixture
def points(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[EntryPoint]]:
    found: list[EntryPoint] = []
    monkeypatch.setattr(
        "sparsebench.extensions.discovery.entry_points", lambda group: [p for p in found if p.group == group]
    )
    table.known.cache_clear()
    yield found
    table.known.cache_clear()


@pytest.mark.parametrize("plural", KINDS)
def test_every_declaration_says_what_it_is_and_what_it_names_can_be_imported(plural: str) -> None:
    for name, one in extensions.known(plural).items():
        assert one.name == name
        assert one.summary
        assert name == one.name.lower()
        assert not one.summary.endswith(".")
        for field in ("fit", "build", "check", "make", "hints", "value", "opens", "read", "fits", "convert", "here"):
            if isinstance(work := getattr(one, field, None), str):
                assert callable(extensions.load(work)), (name, field)


def test_lists_are_in_order_of_place_then_name() -> None:
    assert list(extensions.known("probes")) == ["sgd", "lbfgs", "ridge", "knn", "fewshot"]
    assert list(extensions.known("engines")) == ["torch", "sparse", "onnxruntime"]
    assert list(extensions.known("executors")) == ["inline", "local", "slurm"]


def test_another_package_adds_a_probe_that_has_a_protocol_of_its_own(points: list[EntryPoint]) -> None:
    points.append(EntryPoint("x", f"{__name__}:THEIRS", "sparsebench.probes"))
    assert list(extensions.known("probes"))[-1] == "theirs"
    protocol = builtin_protocols().protocol("theirs-linear", "linear")
    assert (protocol.probe, protocol.settings.model_dump()) == ("theirs", {})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("nothing_of_that_name:x", "can't be loaded"),
        (f"{__name__}:TAKEN", "has the name 'ridge', which is taken"),
        (f"{__name__}:COLUMN", "is no probe"),
    ],
)
def test_a_broken_entry_point_is_left_out_with_a_warning(points: list[EntryPoint], value: str, message: str) -> None:
    points.append(EntryPoint("x", value, "sparsebench.probes"))
    with pytest.warns(ExtensionWarning, match=message):
        assert len(extensions.known("probes")) == 5


def test_what_is_missing_names_the_command_that_installs_it() -> None:
    engine = Engine(name="x", summary="x", build=len, modules=("no_such_module",))
    assert engine.missing() == "needs: pip install no_such_module"
    assert replace(engine, extra="onnxruntime").missing() == 'needs: pip install "sparsebench[onnxruntime]"'
    assert replace(engine, modules=("json",)).missing() is None
    assert replace(engine, modules=(), here=lambda: "needs: luck").missing() == "needs: luck"


def test_a_name_that_is_none_is_refused_where_it_is_declared() -> None:
    with pytest.raises(ValueError, match="is no name of a probe"):
        replace(THEIRS, name="two words")


def test_an_unknown_name_is_refused_with_those_that_are_near() -> None:
    with pytest.raises(UnknownNameError, match="did you mean ridge"):
        extensions.get("probes", "rigde")
    with pytest.raises(InputError, match="has changed or isn't here"):
        extensions.get("probes", "mine@1a2b3c4d")


@pytest.mark.parametrize(
    "numerics", [Numerics(device="cuda"), Numerics(precision="bf16"), Numerics(compile=True)], ids=repr
)
def test_an_engine_refuses_what_it_does_not_declare(numerics: Numerics) -> None:
    with pytest.raises(InputError, match="engine 'onnxruntime'"):
        extensions.get("engines", "onnxruntime").check_numerics(numerics)
    extensions.get("engines", "torch").check_numerics(numerics)


def test_a_protocol_holds_the_settings_that_its_probe_declares() -> None:
    protocol = builtin_protocols().protocol("ridge-linear+l2.count=3", "linear")
    assert protocol.settings.l2.count == 3
    assert Protocol.model_validate_json(protocol.model_dump_json()) == protocol
    assert "settings" not in protocol.model_dump()
    fields = {"name": "x", "mode": "linear"}
    for own, message in (
        ({"probe": "sgd", "lr": 0.1, "epochs": 1, "l2": {}}, "sgd has no 'l2'"),
        ({"probe": "ridge", "lr": 0.1}, "'lr' is SGD's; ridge has l2"),
        ({"probe": "rigde"}, "did you mean ridge"),
    ):
        with pytest.raises(ValueError, match=message):
            Protocol.model_validate(fields | own)
    with pytest.raises(RegistryError, match=r"field l2\.low"):
        builtin_protocols().protocol("ridge-linear", "linear", settings={"l2.low": -1.0})


def test_a_group_of_a_probe_whose_package_is_not_here_is_read(points: list[EntryPoint]) -> None:
    fields = {"name": "x", "mode": "linear", "probe": "theirs", "lr": 0.5, "milestones": [3], "shrink": 0.5}
    with pytest.raises(ValueError, match="there is no such probe"):
        Protocol.model_validate(fields)
    checkpoint = load_registry().checkpoint("mini.dense")
    task = load_registry().task("digits")
    group = Group(checkpoint=checkpoint, task=task, mode="linear", protocol=fields, runs=())  # type: ignore[arg-type]
    again = Group.model_validate_json(group.model_dump_json())
    assert again == group
    assert again.protocol.model_dump()["lr"] == 0.5
    with pytest.raises(UnknownNameError, match="unknown probe 'theirs'"):
        extensions.get("probes", again.protocol.probe or "")


def test_a_protocol_of_a_probe_whose_file_is_not_here_is_read_as_it_was_written() -> None:
    fields = {"name": "x", "mode": "linear", "probe": "mine@1a2b3c4d", "shrink": 0.5}
    protocol = Protocol.model_validate(fields)
    assert protocol.model_dump()["shrink"] == 0.5
    assert Protocol.model_validate_json(protocol.model_dump_json()) == protocol
