"""What ``checkpoints.yaml`` says of published checkpoints, and how they are selected."""

from __future__ import annotations

import pytest

from sparsebench import extensions
from sparsebench.models.loading import load_entry
from sparsebench.registry import CheckpointFilter, load_registry
from sparsebench.schema import Checkpoint, CheckpointError, UnknownNameError

REGISTRY = load_registry()
PUBLISHED = [c for c in REGISTRY.checkpoints.values() if not c.file.path.startswith("package:")]
CVPR22 = REGISTRY.suite("cvpr22")


def chosen(**fields: object) -> list[str]:
    return [c.id for c in CheckpointFilter(**fields).select(REGISTRY, CVPR22)]  # type: ignore[arg-type]


def test_every_family_is_there() -> None:
    counts = {method: sum(c.method == method for c in PUBLISHED) for method in {c.method for c in PUBLISHED}}
    assert counts["acdc"] == 14
    assert counts["rigl"] == 27
    assert counts["str"] == 20
    assert counts["superblock"] == 21
    assert {"dense", "cram", "gmp", "lth", "mfac", "woodfisher", "srste", "degirum"} <= set(counts)


@pytest.mark.parametrize("checkpoint", PUBLISHED, ids=lambda c: c.id)
def test_entries_say_what_is_needed(checkpoint: Checkpoint) -> None:
    assert checkpoint.source
    assert checkpoint.format in ("auto", *extensions.names("formats"))
    assert checkpoint.upstream is not None
    assert checkpoint.file.addresses or checkpoint.file.manual
    if checkpoint.method == "dense":
        assert checkpoint.reference is None
    else:
        assert checkpoint.reference is not None
        reference = REGISTRY.checkpoint(checkpoint.reference)
        assert reference.method == "dense"
        assert reference.family == checkpoint.family
    if checkpoint.arch == "resnet50_rigl":
        assert checkpoint.preprocess is not None
        assert checkpoint.preprocess.interpolation == "bicubic"


def test_the_published_command_means_one_checkpoint() -> None:
    assert chosen(methods=["acdc"], sparsities=[0.9], archs=["resnet50"]) == ["resnet50.acdc_s90"]
    assert chosen(methods=["AC/DC"], sparsities=[0.9], variants=["uniform"]) == ["resnet50.acdc_uniform_s90"]
    assert len(chosen(methods=["acdc"], sparsities=[0.9], variants=["all"])) == 3
    assert chosen(methods=["acdc"], sparsities=[0.98], variants=["all"]) == ["resnet50.acdc_s98"]
    assert chosen(ids=["resnet50.acdc_s98"]) == ["resnet50.acdc_s98"]


def test_the_suite_is_the_papers_twenty_networks_and_its_mobilenets() -> None:
    assert len(chosen()) == 20
    assert "resnet50.rigl_erk_5x_s80" in chosen()
    assert len(chosen(archs=["mobilenet_v1"])) == 10
    assert len(chosen(archs=["resnet50_rigl"])) == 6


def test_an_unknown_variant_is_named() -> None:
    with pytest.raises(UnknownNameError, match="did you mean erk_5x"):
        chosen(variants=["erk5x"])


def test_a_file_that_has_to_be_got_by_hand_says_where_from() -> None:
    with pytest.raises(CheckpointError, match=r"got by hand: WoodFisher's file at 90 % of the folder https://seafile"):
        load_entry(REGISTRY.checkpoint("resnet50.woodfisher_s90"))
    with pytest.raises(CheckpointError, match=r"sparsebench fetch --checkpoint resnet50\.acdc_s90"):
        load_entry(REGISTRY.checkpoint("resnet50.acdc_s90"))
