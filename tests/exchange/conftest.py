"""An honest bundle from a results folder that is made up without a run, and what changes one."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparsebench.analysis.metrics import mean_per_class, top1
from sparsebench.datasets import open_task
from sparsebench.datasets.images.transforms import resolve_transform
from sparsebench.exchange import Means, Verified, export_results, verify_bundle
from sparsebench.models.facts import known_facts
from sparsebench.registry import Registry, load_registry
from sparsebench.schema import Failure, MaskProof, RunRecord, RunSpec, Scores
from sparsebench.store import Predictions, Store

LINEAR, FULL = "cvpr22-linear", "mini-full"


def spec_of(registry: Registry, checkpoint: str, mode: str = "linear", seed: int = 0, **changes: Any) -> RunSpec:
    """Return a run on digits as it would be planned."""
    entry, task = registry.checkpoint(checkpoint), registry.task("digits")
    facts = known_facts(entry, None)
    assert facts is not None
    protocol = registry.protocol(LINEAR if mode == "linear" else FULL, mode, task.overrides.get(mode, {}), "digits")
    labels = ("method", "variant", "sparsity", "sparsity_scope", "distribution", "nm", "reference", "twin_of")
    return RunSpec(
        arch=facts.arch,
        family=entry.family,
        weights_sha256=facts.weights_sha256,
        mask_sha256=facts.mask_sha256,
        split_sha256=task.split_sha256,
        transform_sha256=resolve_transform(facts.preprocess, task, protocol).sha256,
        mode=mode,
        probe=protocol.probe,
        protocol=protocol.resolved(task.metric),
        seed=seed,
        checkpoint=checkpoint,
        sparsity_measured=facts.sparsity_measured,
        upstream_top1=entry.upstream.top1,
        task="digits",
        protocol_name=protocol.name,
        metric=task.metric,
        **{name: getattr(entry, name) for name in labels},
    ).model_copy(update=changes)


def guesses(labels: np.ndarray, number: int, right: float = 0.7) -> np.ndarray:
    """Return logits (n, 10) of which about so many are right."""
    source = np.random.default_rng(number)
    logits = source.normal(size=(len(labels), 10))
    known = source.random(len(labels)) < right
    logits[np.flatnonzero(known), labels[known]] = 6.0
    return logits


def finished(spec: RunSpec, test: Any, number: int, **changes: Any) -> tuple[RunRecord, Predictions]:
    """Return a finished run's record, whose scores are those of its predictions."""
    kept = Predictions.of(test.ids, test.labels, guesses(test.labels, number))
    scores = Scores(
        top1=top1(kept.predicted, kept.labels),
        mean_per_class=mean_per_class(kept.predicted, kept.labels, 10),
        train_loss=0.5 + number / 7,
        n_train=250,
        n_test=len(test.ids),
        n_classes=10,
    )
    environment = {"sparsebench": "0.1.0", "processor": "made up"}
    record = RunRecord(
        status="ok", spec=spec, scores=scores, seconds=1.5, started="2026-01-02T03:04:05+00:00", environment=environment
    )
    return record.model_copy(update=changes), kept


@pytest.fixture(scope="session")
def registry() -> Registry:
    return load_registry()


@pytest.fixture(scope="session")
def means(registry: Registry) -> Means:
    return Means(registry)


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory, registry: Registry) -> Path:
    """Four linear runs, one full run with its proof, and a failure that names a folder."""
    folder = tmp_path_factory.mktemp("exchange") / "runs"
    store, test = Store(folder), open_task(registry.task("digits")).test
    number = 0
    for checkpoint in ("mini.dense", "mini.acdc_s90"):
        for seed in (0, 1):
            store.write(*finished(spec_of(registry, checkpoint, seed=seed), test, number))
            number += 1
    full = spec_of(registry, "mini.acdc_s90", "full")
    weights, masked = 1_222_656, 1_100_390  # mini.acdc_s90's own
    held = MaskProof(masked=masked, nonzero=0, weights=weights, sparsity=masked / weights, unheld_zeros=0)
    store.write(*finished(full, test, number, mask_proof=held))
    store.write_failure(
        RunRecord(
            status="failed",
            spec=spec_of(registry, "mini.acdc_s90", seed=2),
            failure=Failure(
                type="OSError", message=f"no space in {folder}/x.npz", traceback=f'Traceback: File "{__file__}"'
            ),
            started="2026-01-02T03:04:05+00:00",
        )
    )
    return folder


@pytest.fixture(scope="session")
def honest(results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of these, with logits."""
    path = tmp_path_factory.mktemp("bundle") / "honest.zip"
    export_results(results, path, logits=True)
    return path


class Contents:
    """A bundle's members, to be changed; ``save`` writes them with a manifest that is right about them."""

    def __init__(self, path: Path) -> None:
        with zipfile.ZipFile(path) as archive:
            self.members = {name: archive.read(name) for name in archive.namelist()}

    def json(self, name: str) -> dict[str, Any]:
        return json.loads(self.members[name])

    def put(self, name: str, document: Any) -> None:
        self.members[name] = json.dumps(document).encode()

    def key(self, mode: str = "linear", checkpoint: str = "mini.acdc_s90", seed: int = 0) -> str:
        """Return the record key of a run."""
        for name in self.members:
            if name.startswith("records/"):
                spec = self.json(name)["spec"]
                if (spec["mode"], spec["checkpoint"], spec["seed"]) == (mode, checkpoint, seed):
                    return name[len("records/") : -len(".json")]
        raise LookupError(mode)

    def change(self, key: str, change: Callable[[dict[str, Any]], Any]) -> None:
        """Change a record's fields, and nothing that follows from them."""
        name = f"records/{key}.json"
        document = self.json(name)
        change(document)
        self.put(name, document)

    def rename(self, key: str, **spec: Any) -> str:
        """Change what a run is, with its ids and the names of its members; return the new key."""
        document = self.json(f"records/{key}.json")
        document["spec"] |= spec
        new = RunSpec.model_validate(document["spec"])
        for one in (document, document["spec"]):
            one["run_id"], one["record_key"] = new.run_id, new.record_key
        data = self.members.get(f"predictions/{key}.npz")
        if data is not None:
            document["predictions"] = f"predictions/{new.record_key}.npz"
            self.members[document["predictions"]] = data
        self.put(f"records/{new.record_key}.json", document)
        return new.record_key

    def drop(self, key: str) -> None:
        for name in (f"records/{key}.json", f"predictions/{key}.npz"):
            self.members.pop(name, None)

    def arrays(self, key: str) -> dict[str, np.ndarray]:
        with np.load(io.BytesIO(self.members[f"predictions/{key}.npz"])) as archive:
            return {name: archive[name].copy() for name in archive.files}

    def put_arrays(self, key: str, arrays: dict[str, Any]) -> None:
        """Put a run's predictions, and their hash into its record."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)
        self.put_predictions(key, buffer.getvalue())

    def put_predictions(self, key: str, data: bytes) -> None:
        self.members[f"predictions/{key}.npz"] = data
        self.change(key, lambda r: r.update(predictions_sha256=hashlib.sha256(data).hexdigest()))

    def rescore(self, key: str) -> None:
        """Make a record's scores those of its predictions."""
        arrays = self.arrays(key)
        predicted, labels = arrays["predicted"].astype(np.int64), arrays["labels"]
        found = {"top1": top1(predicted, labels), "mean_per_class": mean_per_class(predicted, labels, 10)}
        self.change(key, lambda r: r["scores"].update(found))

    def save(self, path: Path, *, rehash: bool = True) -> Path:
        if rehash:
            manifest = self.json("manifest.json")
            others = {name: data for name, data in self.members.items() if name != "manifest.json"}
            manifest["members"] = {
                name: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)} for name, data in others.items()
            }
            self.put("manifest.json", manifest)
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in self.members.items():
                archive.writestr(name, data)
        return path


@pytest.fixture(scope="session")
def contents_of() -> type[Contents]:
    """``contents_of(path)``: a bundle's members, to be changed."""
    return Contents


@pytest.fixture
def contents(honest: Path) -> Contents:
    return Contents(honest)


@pytest.fixture
def verified(tmp_path: Path, means: Means) -> Callable[[Contents], Verified]:
    """Write contents as a bundle with a right manifest, and verify it."""
    return lambda contents: verify_bundle(contents.save(tmp_path / "tampered.zip"), means)
