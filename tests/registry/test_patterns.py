"""Names with ``*`` and ``!``: what they match, and what is said where they match nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsebench.models.entries import select_checkpoints
from sparsebench.registry import load_registry
from sparsebench.registry.patterns import expand
from sparsebench.registry.selection import Selection, select_tasks
from sparsebench.schema import InputError

REGISTRY = load_registry()
NAMES = st.lists(st.text("ab.", min_size=1, max_size=4), min_size=1, unique=True)


def ids(*names: str, suite: str = "mini", **fields: object) -> list[str]:
    selection = Selection(suite=suite, checkpoints=names, **fields)  # type: ignore[arg-type]
    return [c.id for c in select_checkpoints(selection, REGISTRY, REGISTRY.suite(suite))]


@given(NAMES)
def test_a_star_is_everything_and_an_exclusion_is_the_rest(names: list[str]) -> None:
    assert expand("name", ["*"], names) == names
    if len(names) > 1:
        assert expand("name", [f"!{names[0]}"], names) == names[1:]
        assert expand("name", ["*", f"!{names[0]}"], names) == names[1:]


def test_checkpoints_by_pattern() -> None:
    at_90 = ids("mini.*_s90")
    assert "mini.acdc_s90" in at_90
    assert "mini.lth_s90" in at_90
    assert all(name.startswith("mini.") and name.endswith("_s90") for name in at_90)
    assert ids("mini.*_s90", "!mini.lth*") == [name for name in at_90 if not name.startswith("mini.lth")]
    assert ids("mini.dense", "mini.acdc_s9?") == ["mini.dense", "mini.acdc_s90", "mini.acdc_s95"]


def test_exclusions_alone_take_from_what_the_suite_selects() -> None:
    assert ids("!mini.lth*") == [name for name in ids() if not name.startswith("mini.lth")]
    assert ids("!*_s95", methods=["acdc"]) == [name for name in ids(methods=["acdc"]) if not name.endswith("_s95")]


def test_a_pattern_means_the_suites_architectures_first() -> None:
    assert all(name.startswith("mini.") for name in ids("*_s90"))
    assert all(name.startswith("resnet50.") for name in ids("resnet50.acdc*"))
    assert all(name.startswith("resnet50.") for name in ids("*acdc_s90", archs=["resnet50"]))


def test_methods_and_tasks_by_pattern() -> None:
    assert {REGISTRY.checkpoint(c).method for c in ids(methods=["a*", "AC/DC"])} == {"acdc"}
    assert not any("lth" in name for name in ids(methods=["!lth"]))
    suite = REGISTRY.suite("mini")
    assert [t.id for t in select_tasks(["!digits"], REGISTRY, suite, None)] == ["glyphs", "textures"]
    assert [t.id for t in select_tasks(["g*", "digits"], REGISTRY, suite, None)] == ["glyphs", "digits"]
    assert [t.id for t in select_tasks(["cifar*"], REGISTRY, suite, None)] == ["cifar10", "cifar100"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["mini.*_s91"], "no checkpoint matches 'mini.*_s91'"),
        (["!mini.lht_s90"], "unknown checkpoint 'mini.lht_s90'"),
        (["mini.acdc*", "!mini*"], "no checkpoint is left of"),
    ],
)
def test_what_matches_nothing_is_an_error(names: list[str], message: str) -> None:
    with pytest.raises(InputError) as raised:
        ids(*names)
    assert message in str(raised.value)
