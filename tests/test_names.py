"""Published spellings become ids, and ids what stands on paper."""

from __future__ import annotations

import pytest

from sparsebench.names import method_and_variant, method_names, task_id, variant_title


@pytest.mark.parametrize(
    ("spelling", "ids"),
    [
        ("Dense", ("dense", "")),
        ("AC/DC", ("acdc", "")),
        ("RigL ERK 1x", ("rigl", "erk_1x")),
        ("rigl_erk_5x", ("rigl", "erk_5x")),
        ("LTH-T", ("lth", "")),
        ("M-FAC", ("mfac", "")),
        ("RigL ERK 7x", ("RigL ERK 7x", "")),
        ("ERK 5x", ("ERK 5x", "")),
        ("my own", ("my own", "")),
    ],
)
def test_a_method_with_its_variant(spelling: str, ids: tuple[str, str]) -> None:
    assert method_and_variant(spelling) == ids


def test_every_method_is_known_by_its_id_and_its_title() -> None:
    for name in method_names().values():
        assert method_and_variant(name.id) == method_and_variant(name.title) == (name.id, "")


@pytest.mark.parametrize(
    ("spelling", "task"),
    [
        ("SUN", "sun397"),
        ("birds", "birdsnap"),
        ("flowers", "flowers102"),
        ("CIFAR-10", "cifar10"),
        ("digits", "digits"),
    ],
)
def test_a_task(spelling: str, task: str) -> None:
    assert task_id(spelling) == task
    assert task_id(task) == task


def test_variants_on_paper() -> None:
    assert variant_title("erk_5x") == "ERK 5x"
    assert variant_title("uniform_2x") == "uniform 2x"
    assert variant_title("") == ""
