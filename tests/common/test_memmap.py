"""Rows of arrays: picked by mask, gathered, and given back to the system where they are mapped and large."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparsebench.common import memmap
from sparsebench.transfer.probes import rows as rows_module
from sparsebench.transfer.probes.rows import Rows


@given(st.lists(st.booleans(), min_size=12, max_size=12), st.integers(0, 12), st.booleans())
def test_picked_rows_are_those_of_the_mask_whether_copied_or_gathered(picked, count, lazy):
    array = np.arange(36, dtype=np.float32).reshape(12, 3)
    mask = np.array(picked)
    before = rows_module.COPY_BYTES
    rows_module.COPY_BYTES = 0 if lazy else before
    try:
        found = Rows([array[:5], array[5:]]).where(mask)
        expected = array[mask]
        assert len(found) == len(expected)
        parts = [part.numpy() for _, part in found.chunks(size=2)]
        np.testing.assert_array_equal(np.concatenate([expected[:0], *parts]), expected)
        np.testing.assert_array_equal(np.concatenate(found.head(count).blocks), expected[:count])
        again = found.where(np.arange(len(found)) % 2 == 0)
        np.testing.assert_array_equal(np.concatenate(again.blocks), expected[::2])
    finally:
        rows_module.COPY_BYTES = before


@pytest.fixture
def large(tmp_path, monkeypatch):
    monkeypatch.setattr(memmap, "LARGE", 1000)
    monkeypatch.setattr(memmap, "KEPT", 4000)
    path = tmp_path / "x.npy"
    np.save(path, np.random.default_rng(0).standard_normal((200, 16)).astype(np.float32))
    return path


def test_a_mapped_array_reads_the_same_after_its_pages_were_given_back(large):
    array, whole = np.load(large, mmap_mode="r"), np.load(large)
    found = Rows([array])
    for _ in range(3):
        np.testing.assert_array_equal(torch.cat([part for _, part in found.chunks(size=7)]).numpy(), whole)
    index = torch.randperm(200, generator=torch.Generator().manual_seed(0))
    out = torch.empty(200, 16)
    found.on(torch.device("cpu")).take(index, out)
    np.testing.assert_array_equal(out.numpy(), whole[index.numpy()])


def test_only_files_that_hold_all_that_the_array_does_are_given_back(large):
    private = np.load(large, mmap_mode="c")
    private[:] = 7.0
    assert not memmap.Mapping(private).mapped
    memmap.Mapping(private).read(10**9)
    assert (private == 7.0).all()
    assert memmap.Mapping(np.ascontiguousarray(np.load(large, mmap_mode="r"))[3:150]).mapped
    assert not memmap.Mapping(np.load(large)).mapped
    assert not memmap.Mapping(np.load(large, mmap_mode="r")[:3]).mapped


def test_what_was_written_to_a_shared_mapping_stays(large):
    shared = np.load(large, mmap_mode="r+")
    shared[5] = 3.0
    memmap.Mapping(shared).read(10**9)
    assert (shared[5] == 3.0).all()
