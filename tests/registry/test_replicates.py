"""Which upstream trainings of a recipe are selected."""

import pytest
from pydantic import ValidationError

from sparsebench.registry import CheckpointFilter, load_registry
from sparsebench.registry.filter import references_of
from sparsebench.schema import Checkpoint, InputError


@pytest.fixture(scope="module")
def registry():
    return load_registry()


def ids(registry, *names, replicates=(), **others):
    chosen = CheckpointFilter(names, replicates=replicates, **others).select(registry, registry.suite("mini"))
    return [c.id for c in chosen]


def test_by_default_the_first_alone(registry):
    assert not [name for name in ids(registry) if name.endswith("_r1")]
    assert not [name for name in ids(registry, "mini.*") if name.endswith("_r1")]
    assert "mini.gmp_s90" in ids(registry, "mini.*_s90")
    assert "mini.gmp_s90_r1" not in ids(registry, "mini.*_s90")
    assert ids(registry, methods=["gmp"], sparsities=[0.9]) == ["mini.gmp_s90"]
    assert "mini.gmp_s90_r1" not in ids(registry, "*gmp_s90*", archs=["mini"])


def test_by_id_by_a_pattern_of_its_own_and_by_number(registry):
    assert ids(registry, "mini.gmp_s90_r1") == ["mini.gmp_s90_r1"]
    assert "mini.gmp_s90_r1" in ids(registry, "mini.*_r1")
    assert ids(registry, "mini.gmp_s90", replicates=["1"]) == ["mini.gmp_s90_r1"]
    assert ids(registry, "mini.gmp_*90", replicates=["1", "0"]) == ["mini.gmp_s90", "mini.gmp_s90_r1"]
    assert set(ids(registry, "mini.gmp_s90", replicates=["all"])) >= {"mini.gmp_s90", "mini.gmp_s90_r1"}
    assert {"mini.gmp_s90_r1", "mini.gmp_s80"} <= set(ids(registry, methods=["gmp"], replicates=["all"]))


def test_a_number_that_nothing_has_is_said(registry):
    with pytest.raises(InputError, match="no checkpoint selected has a replicate 77"):
        ids(registry, replicates=["77"])


def test_a_replicate_is_compared_with_its_own_dense_one(registry):
    assert [c.id for c in references_of([registry.checkpoint("mini.gmp_s90_r1")], registry)] == ["mini.dense_r1"]
    assert registry.checkpoint("mini.gmp_s90_r1").entry == "mini.gmp_s90"
    assert registry.checkpoint("mini.gmp_s90").entry == "mini.gmp_s90"


def test_the_id_says_which_replicate_it_is():
    fields = {"method": "gmp", "arch": "mini", "sparsity": 0.9, "file": {"path": "x"}}
    with pytest.raises(ValidationError, match="ends in _r2"):
        Checkpoint(id="mini.gmp_s90_r1", replicate=2, **fields)
    assert Checkpoint(id="mini.gmp_s90_r2", replicate=2, **fields).entry == "mini.gmp_s90"
