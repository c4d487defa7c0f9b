"""What a record says beside its numbers, compared with the bundle's registry entries and with what is registered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

from pydantic import ValidationError

from ..models.facts import Facts, known_facts
from ..registry import Registry
from ..schema import Checkpoint, InputError, MaskProof, Protocol, RunRecord, RunSpec
from ..schema.checkpoint import SPARSITY_TOLERANCE
from ..schema.protocol import RECORDED
from .export import LABELS
from .tasks import task_named

_HELD = 1e-6


class Consistency:
    """Compares records with one another, with entries and with a registry.

    Parameters
    ----------
    entries : mapping of str to Checkpoint
        The bundle's own, by id.
    registry : Registry
        What is registered here.
    """

    def __init__(self, entries: Mapping[str, Checkpoint], registry: Registry) -> None:
        self.entries, self.registry = entries, registry
        self._networks: dict[str, tuple[str, str, str]] = {}
        self._proofs: dict[str, tuple[int, int | None]] = {}
        self._facts: dict[str, Facts | None] = {}

    def problems(self, record: RunRecord) -> Iterator[tuple[str, str]]:
        """Yield what contradicts a record: the check, and what is wrong."""
        spec = record.spec
        yield from self._of_entry(spec)
        yield from self._of_network(spec)
        yield from self._of_protocol(record)
        yield from mask_problems(record)
        yield from self._of_proof(record)

    def _of_entry(self, spec: RunSpec) -> Iterator[tuple[str, str]]:
        entry = self.entries.get(spec.checkpoint)
        if entry is None:
            yield "entry", f"the bundle has no entry for {spec.checkpoint!r}"
            return
        yield from _differing(entry, spec, "its entry")
        other = self.entries.get(entry.reference or "", self.registry.checkpoints.get(entry.reference or ""))
        if other is not None and (other.method != "dense" or other.reference is not None):
            yield "entry", f"its reference {other.id} is not a dense network that others are compared with"
        if entry.twin_of == entry.id:
            yield "entry", f"{entry.id} is its own twin"
        registered = self.registry.checkpoints.get(spec.checkpoint)
        if registered is not None:
            yield from _differing(registered, spec, "the registered entry of this name")
        if spec.sparsity_scope == "prunable" and abs(spec.sparsity - spec.sparsity_measured) > SPARSITY_TOLERANCE:
            yield "entry", f"it measures sparsity {spec.sparsity_measured:.4f}, not {spec.sparsity:g}"

    def _of_proof(self, record: RunRecord) -> Iterator[tuple[str, str]]:
        """Compare a mask proof with what is known of its network, and with the network's other proofs."""
        proof, name = record.mask_proof, record.spec.checkpoint
        if proof is None:
            return
        own = (proof.masked, proof.weights)
        if self._proofs.setdefault(name, own) != own:
            yield "mask", f"{name} has proofs of {self._proofs[name][0]} and of {proof.masked} masked weights"
        facts = self.facts(name)
        if facts is None or not facts.layers:
            return
        held = sum(layer.held for layer in facts.layers)
        possible = (held, held - facts.layers[-1].held)  # with its own head, or with a new one
        if proof.masked not in possible:
            yield "mask", f"its proof is of {proof.masked} masked weights, the registered {name} has {possible[1]}"

    def _of_network(self, spec: RunSpec) -> Iterator[tuple[str, str]]:
        own = (spec.arch, spec.weights_sha256, spec.mask_sha256)
        if self._networks.setdefault(spec.checkpoint, own) != own:
            yield "id", f"{spec.checkpoint} stands for two networks"
        registered = self._registered.get(own, spec.checkpoint)
        if registered != spec.checkpoint:
            yield "id", f"{spec.checkpoint} is the registered {registered} under another name"
        facts = self.facts(spec.checkpoint)
        if facts is None:
            return
        if own != (facts.arch, facts.weights_sha256, facts.mask_sha256):
            yield "id", f"weights and mask are not those of the registered {spec.checkpoint}"
        elif spec.mode == "upstream" and spec.head_sha256 != facts.head_sha256:
            yield "id", f"the head is not that of the registered {spec.checkpoint}"
        elif abs(facts.sparsity_measured - spec.sparsity_measured) > _HELD:
            yield (
                "entry",
                f"its measured sparsity is {spec.sparsity_measured}, not {facts.sparsity_measured}",
            )
        else:
            yield from self._of_transform(spec, facts)

    @cached_property
    def _registered(self) -> dict[tuple[str, str, str], str]:
        """The registered checkpoints that come with the package, by architecture, weights and mask."""
        found = {name: self.facts(name) for name in self.registry.checkpoints}
        return {(f.arch, f.weights_sha256, f.mask_sha256): name for name, f in found.items() if f is not None}

    def _of_transform(self, spec: RunSpec, facts: Facts) -> Iterator[tuple[str, str]]:
        from ..datasets.images.transforms import resolve_transform

        task, protocol = task_named(spec.task, self.registry), protocol_of(spec)
        if task is None or protocol is None:
            return
        try:
            expected = resolve_transform(facts.preprocess, task, protocol).sha256
        except InputError:
            return
        if expected != spec.transform_sha256:
            yield "id", f"the image transform is not the one of {spec.checkpoint} on {spec.task} under this protocol"

    def facts(self, name: str) -> Facts | None:
        """Return what is known of a registered checkpoint whose file comes with the package; None of others."""
        if name not in self._facts:
            entry = self.registry.checkpoints.get(name)
            here = entry is not None and entry.file.path.startswith("package:")
            self._facts[name] = known_facts(entry, None) if entry is not None and here else None
        return self._facts[name]

    def _of_protocol(self, record: RunRecord) -> Iterator[tuple[str, str]]:
        spec = record.spec
        protocol = protocol_of(spec)
        if protocol is None or protocol.resolved(spec.metric) != spec.protocol:
            yield "protocol", f"its hyperparameters are not those of a protocol of mode {spec.mode}"
            return
        if protocol.grid is not None:
            points = protocol.points()
            for trial in record.trials:
                if (trial.settings.get("lr"), trial.settings.get("weight_decay")) not in points:
                    yield "protocol", f"the trial {trial.settings} is no point of its grid"
        task = task_named(spec.task, self.registry)
        if task is None:
            return
        if spec.metric != task.metric:
            yield "protocol", f"its metric is {spec.metric}, that of {spec.task} is {task.metric}"
        try:
            named = self.registry.protocol(spec.protocol_name, spec.mode, task.overrides.get(spec.mode, {}), spec.task)
        except InputError:
            return  # one of the submitter's own
        if named.resolved(task.metric) != spec.protocol:
            yield "protocol", f"its hyperparameters are not those of {spec.protocol_name} on {spec.task}"


def protocol_of(spec: RunSpec) -> Protocol | None:
    """Return the protocol of a run; None where its hyperparameters are none that this version knows."""
    fields: dict[str, Any] = {name: value for name, value in spec.protocol.items() if name != "select_by"}
    fields |= {"name": spec.protocol_name, "mode": spec.mode, "probe": spec.probe}
    try:
        return Protocol.model_validate(fields, context=RECORDED)
    except (ValidationError, ValueError, TypeError):
        return None


def mask_problems(record: RunRecord) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with the proof that a finetuned network is as sparse as it was."""
    spec, proof = record.spec, record.mask_proof
    if proof is not None and spec.mode != "full":
        yield "mask", f"it has a proof that its mask was held, and mode {spec.mode} trains no network"
    if record.status != "ok" or spec.mode != "full":
        return
    if proof is None:
        if spec.sparsity_measured > 0:
            yield "mask", "it was finetuned sparse, without a proof that its mask was held"
        return
    yield from _proof_problems(spec, proof)


def _proof_problems(spec: RunSpec, proof: MaskProof) -> Iterator[tuple[str, str]]:
    if proof.nonzero != 0:
        yield "mask", f"{proof.nonzero} of {proof.masked} masked weights are not zero"
    if proof.masked < 0 or (proof.masked == 0 and spec.sparsity_measured > 0):
        yield "mask", f"its proof is of {proof.masked} masked weights"
    if not 0 <= (proof.unheld_zeros or 0) <= (proof.weights or 2**62):
        yield "mask", f"its proof has {proof.unheld_zeros} zeros that no mask held"
    if proof.weights is None or proof.sparsity is None:
        return
    if not 0 <= proof.sparsity <= 1 or proof.weights < 1 or proof.sparsity * proof.weights > proof.masked + 0.5:
        yield "mask", f"{proof.masked} masked weights aren't {proof.sparsity} of {proof.weights}"
    elif spec.sparsity_scope == "prunable" and abs(proof.sparsity - spec.sparsity_measured) > _HELD:
        yield "mask", f"the sparsity held is {proof.sparsity}, the one reported {spec.sparsity_measured}"


def _differing(entry: Checkpoint, spec: RunSpec, what: str) -> Iterator[tuple[str, str]]:
    for name in LABELS:
        here, there = getattr(spec, name), getattr(entry, name)
        if here != there:
            yield "entry", f"its {name} is {here!r}, {what} has {there!r}"
            return
    top1 = entry.upstream.top1 if entry.upstream else None
    if spec.upstream_top1 != top1:
        yield "entry", f"its upstream_top1 is {spec.upstream_top1}, {what} has {top1}"
