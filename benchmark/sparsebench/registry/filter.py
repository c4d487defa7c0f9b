"""Which registered checkpoints: by id, method, sparsity, architecture and variant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..schema import Checkpoint, InputError, Suite, UnknownNameError
from .catalogue import Registry
from .names import method_id
from .patterns import expand


def references_of(selected: Sequence[Checkpoint], registry: Registry) -> list[Checkpoint]:
    """Return the registered references of some checkpoints that are not among them."""
    names = dict.fromkeys(c.reference for c in selected if c.reference)
    there = {c.id for c in selected}
    return [registry.checkpoints[name] for name in names if name in registry.checkpoints and name not in there]


def _first_ones(registry: Registry) -> list[str]:
    return [c.id for c in registry.checkpoints.values() if not c.replicate]


@dataclass(frozen=True)
class CheckpointFilter:
    """Which checkpoints to take; an empty field takes all that the suite's architectures have."""

    ids: Sequence[str] = ()
    methods: Sequence[str] = ()
    sparsities: Sequence[float] = ()
    archs: Sequence[str] = ()
    variants: Sequence[str] = ()
    replicates: Sequence[str] = ()

    def select(self, registry: Registry, suite: Suite) -> list[Checkpoint]:
        """Return the selected checkpoints in the registry's order.

        A suite may name the checkpoints that it is about; others come when asked for by id or by variant (``all`` takes
        every one). N:M patterns come only when asked for by id or by their sparsity. Further trainings of a recipe come
        only when asked for by ``replicates`` (numbers, or ``all``), by id, or by a pattern that matches nothing else.
        Every selector must be satisfiable: a name or a sparsity that nothing has is an error rather than an empty plan.

        Raises
        ------
        InputError
            If a name is unknown, or nothing has the asked-for combination (with what there is).
        """
        every = self._of_arch(registry, suite)
        of_archs = [c for c in every if not c.replicate]
        wanted = [name for name in self.ids if not name.startswith("!")]
        if wanted:
            more = [c.id for c in every] if self.archs else [*_first_ones(registry), *registry.checkpoints]
            names = expand("checkpoint", wanted, [c.id for c in of_archs], more=more)
            candidates = [registry.checkpoint(name) for name in names]
            for c in candidates:
                if self.archs and c not in every:
                    raise InputError(f"checkpoint {c.id} has architecture {c.arch}", "leave --arch out")
        else:
            candidates = self._of_variant(of_archs, suite)
        excluded = [name for name in self.ids if name.startswith("!")]
        if excluded:
            kept = set(expand("checkpoint", excluded, registry.checkpoints, default=[c.id for c in candidates]))
            candidates = [c for c in candidates if c.id in kept]
        asked = expand("method", self.methods, list(dict.fromkeys(c.method for c in candidates)))
        methods = [method_id(name) for name in asked]
        for given, name in zip(asked, methods, strict=True):
            if name not in registry.methods():
                raise UnknownNameError("method", given, registry.methods())
        of_method = [c for c in candidates if not methods or c.method in methods]
        for given, name in zip(asked, methods, strict=True):
            if not any(c.method == name for c in of_method):
                there = sorted({c.method for c in candidates})
                raise InputError(
                    f"no checkpoint of method {given!r} is registered here", f"there are: {', '.join(there)}"
                )
        return self._of_replicate(self._of_sparsity(of_method, named=bool(wanted)), registry)

    def _of_replicate(self, candidates: list[Checkpoint], registry: Registry) -> list[Checkpoint]:
        """Return the trainings asked for of the recipes of some checkpoints; as they are where none is asked for."""
        if not self.replicates:
            return candidates
        entries = dict.fromkeys(c.entry for c in candidates)
        every = [c for name in entries for c in registry.checkpoints.values() if c.entry == name]
        there = sorted({c.replicate for c in every})
        if "all" in self.replicates:
            return every
        for number in self.replicates:
            if number not in map(str, there):
                known = ", ".join(map(str, there))
                raise InputError(f"no checkpoint selected has a replicate {number}", f"there are: {known}, all")
        return [c for c in every if str(c.replicate) in self.replicates]

    def _of_arch(self, registry: Registry, suite: Suite) -> list[Checkpoint]:
        known = {a for c in registry.checkpoints.values() for a in (c.arch, c.family)} | set(suite.archs)
        archs = set(expand("architecture", self.archs, known, default=suite.archs) or suite.archs)
        for arch in archs:
            if arch not in known:
                raise UnknownNameError("architecture", arch, known)
        return [c for c in registry.checkpoints.values() if {c.arch, c.family} & archs]

    def _of_variant(self, candidates: list[Checkpoint], suite: Suite) -> list[Checkpoint]:
        if "all" in self.variants:
            return candidates
        if self.variants:
            known = sorted({c.variant for c in candidates if c.variant})
            for variant in self.variants:
                if variant not in known:
                    raise UnknownNameError("variant", variant, known)
            return [c for c in candidates if c.variant in self.variants]
        own = [c for c in candidates if c.id in suite.checkpoints]
        return own or candidates

    def _of_sparsity(self, candidates: list[Checkpoint], *, named: bool) -> list[Checkpoint]:
        if not self.sparsities:
            return [c for c in candidates if named or c.distribution != "nm"]
        selected = [c for c in candidates if any(abs(c.sparsity - s) < 1e-9 for s in self.sparsities)]
        for sparsity in self.sparsities:
            if not any(abs(c.sparsity - sparsity) < 1e-9 for c in selected):
                there = ", ".join(f"{s:g}" for s in sorted({c.sparsity for c in candidates}))
                of = " of " + ", ".join(self.methods) if self.methods else ""
                hint = f"there are: {there}"
                if sparsity > 1 and any(abs(c.sparsity - sparsity / 100) < 1e-9 for c in candidates):
                    hint = f"a sparsity is a fraction: did you mean {sparsity / 100:g}?"
                raise InputError(f"no checkpoint{of} at sparsity {sparsity:g}", hint)
        return selected
