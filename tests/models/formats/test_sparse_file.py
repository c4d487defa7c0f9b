from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sparsebench.models.formats import read_checkpoint, sparse_file
from sparsebench.schema import CheckpointError


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
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


def derived(folder: Path) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Write ``dense.safetensors`` and, derived from it, ``pruned.safetensors`` with statistics of its own."""
    generator = torch.Generator().manual_seed(0)
    dense = {"w": torch.randn(64, 64, generator=generator), "bn": torch.randn(8, generator=generator)}
    sparse_file.write(folder / "dense.safetensors", dense, {}, {"arch": "mini"})
    stored = sparse_file.read(folder / "dense.safetensors").state
    mask = torch.rand(64, 64, generator=generator) < 0.1
    state = {"w": stored["w"] * mask, "bn": stored["bn"] + 1}
    sparse_file.write(
        folder / "pruned.safetensors", state, {"w": mask}, {"sparsity": 0.9}, folder / "dense.safetensors"
    )
    return state, mask


def test_a_derived_file_reads_back_the_same_and_costs_its_mask(tmp_path: Path) -> None:
    state, mask = derived(tmp_path)
    raw = sparse_file.read(tmp_path / "pruned.safetensors")
    assert raw.masks is not None
    assert torch.equal(raw.masks["w"], mask)
    assert all(torch.equal(raw.state[name], value) for name, value in state.items())
    assert raw.meta == {"sparsity": 0.9}
    sparse_file.write(tmp_path / "whole.safetensors", state, {"w": mask}, {"sparsity": 0.9})
    sizes = [(tmp_path / f"{name}.safetensors").stat().st_size for name in ("pruned", "whole")]
    assert sizes[0] < sizes[1] - 700  # 410 values of two bytes


def test_a_derived_file_stores_what_differs(tmp_path: Path) -> None:
    state, mask = derived(tmp_path)
    changed = {name: value + 1 for name, value in state.items()}
    path = tmp_path / "changed.safetensors"
    sparse_file.write(path, {**changed, "w": changed["w"] * mask}, {"w": mask}, {}, tmp_path / "dense.safetensors")
    torch.testing.assert_close(sparse_file.read(path).state["w"], changed["w"] * mask, rtol=1e-3, atol=0)


def test_a_derived_file_insists_on_its_own_base(tmp_path: Path) -> None:
    derived(tmp_path)
    path, base = tmp_path / "pruned.safetensors", tmp_path / "dense.safetensors"
    whole = base.read_bytes()
    base.unlink()
    with pytest.raises(CheckpointError, match=r"derives from dense\.safetensors, which is not beside it"):
        read_checkpoint(path)
    sparse_file.write(base, {"w": torch.zeros(64, 64)}, {}, {})
    with pytest.raises(CheckpointError, match=r"derives from another dense\.safetensors"):
        read_checkpoint(path)
    base.write_bytes(whole)
    data = path.read_bytes()
    path.write_bytes(data.replace(b"dense.safetensors", b"../dense.safeten."))
    with pytest.raises(CheckpointError, match="its description is damaged"):
        read_checkpoint(path)
    path.write_bytes(data)
    sparse_file.write(tmp_path / "chain.safetensors", sparse_file.read(path).state, {}, {}, path)
    with pytest.raises(CheckpointError, match="no whole checkpoint"):
        read_checkpoint(tmp_path / "chain.safetensors")
