"""Records made up for these tests."""

import pytest

from sparsebench.schema import Failure, MaskProof, Numerics, RunRecord, RunSpec, Scores

SHA = "0123456789abcdef" * 4


def _spec(checkpoint="mini.acdc_s90", task="digits", mode="linear", seed=0, **changes):
    fields = {
        "arch": "mini",
        "weights_sha256": SHA,
        "mask_sha256": SHA,
        "split_sha256": SHA,
        "transform_sha256": SHA,
        "mode": mode,
        "probe": "sgd" if mode == "linear" else None,
        "protocol": {"lr": 0.01},
        "seed": seed,
        "checkpoint": checkpoint,
        "method": "acdc",
        "sparsity": 0.9,
        "sparsity_measured": 0.9,
        "sparsity_scope": "prunable",
        "distribution": "global",
        "reference": "mini.dense",
        "task": task,
        "protocol_name": f"published-{mode}",
        "metric": "top1",
        "numerics": Numerics(threads=1),
    }
    return RunSpec(**(fields | changes))


def _ok(accuracy=0.75, started="2026-01-02T03:04:05Z", **changes):
    run = _spec(**changes)
    return RunRecord(
        status="ok",
        spec=run,
        scores=Scores(top1=accuracy, mean_per_class=accuracy / 2, n_train=100, n_test=50, n_classes=10),
        mask_proof=MaskProof(masked=900, nonzero=0),
        seconds=1.5,
        started=started,
    )


def _failed(message="no space", started="2026-01-02T03:04:05Z", **changes):
    run = _spec(**changes)
    failure = Failure(type="OSError", message=message)
    return RunRecord(status="failed", spec=run, failure=failure, started=started)


@pytest.fixture(scope="session")
def ok():
    """``ok(accuracy, started, **spec fields)``: a finished run's record."""
    return _ok


@pytest.fixture(scope="session")
def failed():
    """``failed(message, started, **spec fields)``: a failed run's record."""
    return _failed
