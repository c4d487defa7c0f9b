"""Published spellings become ids, and ids what is printed."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsebench.registry.names import method_and_variant, method_names, plain_id, task_id, variant_title
from sparsebench.registry.selection import folder_task
from sparsebench.schema import Task


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


@pytest.mark.parametrize(
    ("name", "identifier"),
    [
        ("photos", "photos"),
        ("my photos", "my-photos"),
        (".hidden", "hidden"),
        ("model.v2_s90+ft", "model.v2_s90+ft"),
        ("---", "folder"),
        ("fotos-ä", "fotos-a-a5e14f"),
        ("fotos-a\u0308", "fotos-a-a5e14f"),  # the same name, as another system writes it
        ("fotos-ö", "fotos-o-a3d1fa"),
        ("写真", "folder-9c3250"),
    ],
)
def test_plain_ids(name: str, identifier: str) -> None:
    assert plain_id(name, "folder") == identifier
    assert Task(id=identifier, loader="imagefolder").id == identifier


@given(st.lists(st.text("aä写é-é", min_size=1, max_size=4), min_size=2, max_size=2, unique=True))
def test_names_that_differ_outside_ascii_have_different_ids(names: list[str]) -> None:
    one, other = (unicodedata.normalize("NFC", name) for name in names)
    if one != other and not (one.isascii() and other.isascii()):
        assert plain_id(one, "x") != plain_id(other, "x")


def test_folders_and_checkpoint_files_keep_their_names_apart(tmp_path: Path) -> None:
    tasks = {folder_task(tmp_path / name).id for name in ("fotos-ä", "fotos-ö", "fotos-a", "fotos")}
    assert len(tasks) == 4
