"""Groups and records made up for tests of what needs no run."""

from __future__ import annotations

from sparsebench.schema import Checkpoint, Group, Numerics, Protocol, RunRecord, RunSpec, Scores, Task
from sparsebench.store import Store

SHA = "0123456789abcdef" * 4


def group(
    checkpoint: str = "mini.acdc_s90",
    task: str = "digits",
    mode: str = "linear",
    seeds: int = 3,
    arch: str = "mini",
    epochs: int = 10,
    device: str = "cpu",
    sizes: dict[str, int] | None = None,
) -> Group:
    probe = {"probe": "sgd"} if mode == "linear" else {}
    protocol = Protocol(name=f"test-{mode}", mode=mode, lr=0.01, epochs=epochs, **probe)
    spec = RunSpec(
        arch=arch,
        weights_sha256=SHA,
        mask_sha256=SHA,
        split_sha256=SHA,
        transform_sha256=SHA,
        mode=mode,
        probe=protocol.probe,
        protocol={**protocol.resolved(), "for": f"{checkpoint}/{task}"},
        seed=0,
        checkpoint=checkpoint,
        method="acdc",
        sparsity=0.9,
        sparsity_measured=0.9,
        sparsity_scope="prunable",
        distribution="global",
        task=task,
        protocol_name=protocol.name,
        metric="top1",
        numerics=Numerics(device=device),
    )
    return Group(
        checkpoint=Checkpoint(id=checkpoint, method="acdc", arch=arch, sparsity=0.9, file={"path": "x.pth"}),
        task=Task(id=task, loader=task, sizes=sizes),
        mode=mode,
        protocol=protocol,
        runs=tuple(spec.model_copy(update={"seed": seed}) for seed in range(seeds)),
    )


def record(spec: RunSpec, seconds: float = 10.0, images: int = 1000, status: str = "ok") -> RunRecord:
    scores = Scores(top1=0.5, mean_per_class=0.5, n_train=images - images // 10, n_test=images // 10, n_classes=10)
    return RunRecord(
        status=status,
        spec=spec,
        scores=scores if status == "ok" else None,
        seconds=seconds,
        started="2026-01-02T03:04:05Z",
    )


def statuses(store: Store) -> dict[str, str]:
    """Return the status of every readable record by its key."""
    rows = store.rows(("record_key", "status"))
    return dict(zip(rows["record_key"].tolist(), rows["status"].tolist(), strict=True))
