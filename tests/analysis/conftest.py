"""Records made up for these tests."""

import pytest

from sparsebench.schema import MaskProof, Numerics, RunRecord, RunSpec, Scores

SHA = "0123456789abcdef" * 4


def _ok(accuracy=0.75, **changes):
    fields = {
        "arch": "mini",
        "weights_sha256": SHA,
        "mask_sha256": SHA,
        "split_sha256": SHA,
        "transform_sha256": SHA,
        "mode": "linear",
        "probe": "sgd",
        "protocol": {"lr": 0.01},
        "seed": 0,
        "checkpoint": "mini.acdc_s90",
        "method": "acdc",
        "sparsity": 0.9,
        "sparsity_measured": 0.9,
        "sparsity_scope": "prunable",
        "distribution": "global",
        "reference": "mini.dense",
        "task": "digits",
        "protocol_name": "cvpr22-linear",
        "metric": "top1",
        "numerics": Numerics(threads=1),
    }
    return RunRecord(
        status="ok",
        spec=RunSpec(**(fields | changes)),
        scores=Scores(top1=accuracy, mean_per_class=accuracy, n_train=100, n_test=50, n_classes=10),
        mask_proof=MaskProof(masked=900, nonzero=0),
        seconds=1.5,
        started="2026-01-02T03:04:05Z",
    )


@pytest.fixture(scope="session")
def ok():
    """``ok(accuracy, **spec fields)``: a finished run's record."""
    return _ok
