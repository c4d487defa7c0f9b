"""What is remembered of checkpoints: true, by content, and never in the way of a check."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest
import torch

from sparsebench.caching import write_document
from sparsebench.common.paths import package_file
from sparsebench.models import facts as remembered
from sparsebench.models import loading
from sparsebench.models.architectures import STANDALONE
from sparsebench.models.entries import entry_for_file
from sparsebench.models.facts import Facts, facts_by_content, known_facts, load_facts
from sparsebench.models.make_facts import embedded
from sparsebench.registry import load_registry
from sparsebench.schema import Checkpoint, CheckpointError

REGISTRY = load_registry()


def test_the_facts_in_the_package_are_true() -> None:
    """If not, write them again: python -m sparsebench.models.make_facts."""
    assert json.loads(package_file(remembered.EMBEDDED).read_text()) == embedded()


def test_every_embedded_checkpoint_is_known_without_a_cache() -> None:
    own = [entry for entry in REGISTRY.checkpoints.values() if entry.file.path.startswith("package:")]
    assert len(own) > 20
    assert all(known_facts(entry, None) for entry in own)


def test_architectures_without_timm_are_those_that_are() -> None:
    assert set(STANDALONE) == remembered.STANDALONE


@pytest.fixture
def entry(pruned_resnet18: Path, tmp_path: Path) -> Checkpoint:
    copy = tmp_path / "mine.pth"
    copy.write_bytes(pruned_resnet18.read_bytes())
    return entry_for_file(copy, "resnet18")


def test_a_file_is_loaded_once(entry: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "cache"
    assert known_facts(entry, cache) is None
    first, backbone = load_facts(entry, cache)
    assert backbone is not None
    assert first == Facts.of(backbone)
    monkeypatch.setattr(loading, "load_entry", lambda checkpoint: pytest.fail("loaded again"))
    again, nothing = load_facts(entry, cache)
    assert (again, nothing) == (first, None)
    renamed = entry.model_copy(update={"id": "another-name", "licence": "any"})
    assert known_facts(renamed, cache) == first


@pytest.mark.parametrize("change", [{"sparsity": 0.5}, {"exempt": ("conv1",)}, {"arch": "timm/resnet18"}])
def test_another_entry_is_another_key(entry: Checkpoint, tmp_path: Path, change: dict[str, object]) -> None:
    load_facts(entry, tmp_path / "cache")
    assert known_facts(entry.model_copy(update=change), tmp_path / "cache") is None


def test_another_content_is_another_key(entry: Checkpoint, tmp_path: Path) -> None:
    load_facts(entry, tmp_path / "cache")
    path = Path(entry.file.path)
    content = torch.load(path, weights_only=True)
    content["state_dict"]["module.fc.bias"] += 1
    torch.save(content, path)
    assert known_facts(entry, tmp_path / "cache") is None


def test_another_version_is_another_key(entry: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load_facts(entry, tmp_path / "cache")
    monkeypatch.setattr(remembered, "FACTS_VERSION", remembered.FACTS_VERSION + 1)
    assert known_facts(entry, tmp_path / "cache") is None


def test_a_damaged_document_is_made_again_and_said(entry: Checkpoint, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    facts, _ = load_facts(entry, cache)
    (file,) = (cache / "facts").glob("*.json")
    document = json.loads(file.read_text())
    document["value"]["weights_sha256"] = "0" * 64
    for text in ("{", "[]", "", json.dumps(document)):
        file.write_text(text)
        with pytest.warns(UserWarning, match="made again"):
            assert known_facts(entry, cache) is None
    assert load_facts(entry, cache)[0] == facts
    assert known_facts(entry, cache) == facts


def test_a_file_that_is_refused_is_refused_every_time(entry: Checkpoint, tmp_path: Path) -> None:
    wrong = entry.model_copy(update={"sparsity": 0.3})
    for _ in range(2):
        with pytest.raises(CheckpointError, match="claims sparsity"):
            load_facts(wrong, tmp_path / "cache")


def test_what_was_loaded_with_a_warning_warns_again(
    entry: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_entry = loading.load_entry

    def warning(checkpoint: Checkpoint) -> object:
        warnings.warn("averaged weights are taken", stacklevel=2)
        return load_entry(checkpoint)

    monkeypatch.setattr(loading, "load_entry", warning)
    for _ in range(2):
        with pytest.warns(UserWarning, match="averaged weights"):
            load_facts(entry, tmp_path / "cache")


def test_a_users_file_is_described_once(pruned_resnet18: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = entry_for_file(pruned_resnet18, "resnet18", cache_dir=tmp_path)
    monkeypatch.setattr(loading, "fit_first", lambda *_: pytest.fail("read again"))
    assert entry_for_file(pruned_resnet18, "resnet18", cache_dir=tmp_path) == first


def test_facts_are_found_by_what_a_network_is(tmp_path: Path) -> None:
    known = facts_by_content(None)
    one = next(facts for facts in known.values() if facts.sparsity_measured > 0.9)
    assert known[one.weights_sha256, one.mask_sha256] == one
    held, weights = (sum(getattr(layer, name) for layer in one.layers[1:-1]) for name in ("held", "weights"))
    assert held / weights == pytest.approx(one.sparsity_measured, abs=0.02)
    other = one.model_copy(update={"weights_sha256": "a" * 64})
    write_document(tmp_path, "facts", {"any": "key"}, other.model_dump(mode="json"))
    (tmp_path / "facts" / "damaged.json").write_text("{")
    (tmp_path / "facts" / "other.json").write_text('{"digest": "no", "value": {}}')
    assert facts_by_content(tmp_path).keys() - known.keys() == {("a" * 64, one.mask_sha256)}
