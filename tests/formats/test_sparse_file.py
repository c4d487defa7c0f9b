from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sparsebench.formats import read_checkpoint, sparse_file
from sparsebench.schema import CheckpointError


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shape=st.lists(st.integers(1, 7), min_size=2, max_size=4),
    density=st.floats(0, 1),
    scale=st.sampled_from([1e-9, 1e-3, 1.0, 1e6]),
    seed=st.integers(0, 999),
)
def test_round_trip_keeps_masks_exactly_and_weights_to_half_precision(
    tmp_path: Path, shape: list[int], density: float, scale: float, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(shape, generator=generator) * scale
    mask = torch.rand(shape, generator=generator) < density
    state = {"w": weight * mask, "bias": torch.randn(3, generator=generator), "steps": torch.tensor(7)}
    sparse_file.write(tmp_path / "a.safetensors", state, {"w": mask}, {"arch": "mini"})
    raw = sparse_file.read(tmp_path / "a.safetensors")
    assert raw.masks is not None
    assert torch.equal(raw.masks["w"], mask)
    assert torch.equal(raw.state["w"] != 0, state["w"] != 0)  # nothing kept rounds to zero, nothing pruned comes back
    torch.testing.assert_close(raw.state["w"], state["w"], rtol=1e-3, atol=2**-24)
    assert torch.equal(raw.state["bias"], state["bias"])
    assert int(raw.state["steps"]) == 7
    assert raw.meta == {"arch": "mini"}


def test_a_sparse_weight_is_stored_small(tmp_path: Path) -> None:
    weight = torch.randn(256, 1024)
    mask = torch.zeros_like(weight, dtype=torch.bool).flatten()
    mask[: mask.numel() // 10] = True
    mask = mask.view(256, 1024)
    sparse_file.write(tmp_path / "dense.safetensors", {"w": weight}, {}, {})
    sparse_file.write(tmp_path / "sparse.safetensors", {"w": weight * mask}, {"w": mask}, {})
    sizes = [(tmp_path / f"{n}.safetensors").stat().st_size for n in ("sparse", "dense")]
    assert sizes[0] < sizes[1] / 4


@pytest.mark.parametrize("keep", [0, 1, 7, 8, 20, 100, 0.5, 0.99])
def test_a_truncated_file_is_an_error_at_any_length(tmp_path: Path, keep: float) -> None:
    path = tmp_path / "a.safetensors"
    sparse_file.write(path, {"w": torch.randn(20, 20)}, {"w": torch.rand(20, 20) < 0.3}, {})
    data = path.read_bytes()
    path.write_bytes(data[: int(keep if keep >= 1 else keep * len(data))])
    with pytest.raises(CheckpointError):
        read_checkpoint(path)


def test_a_mask_that_keeps_another_number_of_weights_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    mask = torch.ones(4, 8, dtype=torch.bool)
    sparse_file.write(path, {"w": torch.ones(4, 8)}, {"w": mask}, {})
    data = path.read_bytes()
    path.write_bytes(data.replace(b"\xff\xff\xff\xff", b"\xff\xff\xff\x0f"))
    with pytest.raises(CheckpointError, match="keeps 28 weights but stores 32"):
        read_checkpoint(path)
