"""An instruction set that computes wrongly is left out, with one warning; one that was named is an error."""

from __future__ import annotations

import ctypes
import warnings
from ctypes import CFUNCTYPE, c_int, c_void_p
from dataclasses import replace

import pytest
import torch
from torch import nn

from networks import images
from sparsebench import engines
from sparsebench.engines.sparse import SparseEngine, available, engine, instruction_sets, library, selfcheck
from sparsebench.engines.sparse.library import Isa
from sparsebench.schema import InputError

pytestmark = pytest.mark.skipif(not available(), reason="the kernels are not built")

ITEM = CFUNCTYPE(None, c_void_p, c_int, c_void_p)


@pytest.fixture(autouse=True)
def _nothing_said_yet():
    engines.say_once.cache_clear()


@pytest.fixture
def broken(monkeypatch):
    """Put in front an instruction set whose kernels do nothing but unpack."""
    best = next(iter(instruction_sets().values()))
    table = library._Isa.from_buffer_copy(ctypes.string_at(best.pointer, ctypes.sizeof(library._Isa)))
    own = ITEM(ctypes.cast(table.item, c_void_p).value)
    kinds = (library.Kind.PACK, library.Kind.UNPACK)

    def item(op, index, io):
        if library.Op.from_address(op).kind in kinds:
            own(op, index, io)

    kept = ITEM(item)
    table.item = ctypes.cast(kept, type(table.item))
    isa = replace(best, name="broken", pointer=ctypes.addressof(table))
    sets = {"broken": isa, **instruction_sets()}
    monkeypatch.setattr(engine, "instruction_sets", lambda: sets)
    return isa, kept, table  # what the pointers need


def build(**options) -> SparseEngine:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    made = SparseEngine(module, 1, (2, 3, 9, 9), measure=False, **options)
    batch = images(2, 3, 9, 9)
    with torch.inference_mode():
        torch.testing.assert_close(made(batch), module(batch), rtol=1e-4, atol=1e-5)
    return made


def best() -> str:
    return next(iter(instruction_sets()))


@pytest.mark.parametrize("isa", instruction_sets().values(), ids=lambda isa: isa.name)
def test_the_instruction_sets_of_this_machine_pass(isa: Isa):
    selfcheck.fault.cache_clear()
    before = torch.get_rng_state()
    assert selfcheck.fault(isa) is None
    assert torch.equal(torch.get_rng_state(), before)


def test_kernels_that_compute_wrongly_are_left_out_with_one_warning(broken):
    with pytest.warns(UserWarning, match="does without broken, which computes wrongly on this machine: it is off by"):
        assert build().isa == best()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert build().isa == best()


def test_kernels_that_were_named_and_compute_wrongly_are_an_error(broken, monkeypatch):
    with pytest.raises(InputError, match="instruction set 'broken' computes wrongly on this machine"):
        build(isa="broken")
    monkeypatch.setenv("SPARSEBENCH_ISA", "broken")
    with pytest.raises(InputError, match="instruction set 'broken'"):
        build()
    assert build(isa=best()).isa == best()


def test_a_check_that_fails_itself_leaves_the_instruction_set_out(monkeypatch):
    def fails(isa: Isa) -> float:
        if isa.name == best():
            raise MemoryError("no room")
        return 0.0

    monkeypatch.setattr(selfcheck, "_difference", fails)
    selfcheck.fault.cache_clear()
    sets = {**instruction_sets(), "another": replace(instruction_sets()[best()], name="another")}
    monkeypatch.setattr(engine, "instruction_sets", lambda: sets)
    try:
        with pytest.warns(UserWarning, match=f"does without {best()}, .*MemoryError: no room"):
            assert build().isa == list(sets)[1]
    finally:
        selfcheck.fault.cache_clear()


def test_without_any_sound_instruction_set_the_engine_is_an_error(monkeypatch):
    monkeypatch.setattr(engine, "fault", lambda isa: "it is off by 1")
    with (
        pytest.warns(UserWarning, match="it is off by 1"),
        pytest.raises(InputError, match="computes wrongly on this machine"),
    ):
        build()


def test_a_set_is_checked_once_in_a_process(monkeypatch):
    calls: list[str] = []
    monkeypatch.setattr(selfcheck, "_difference", lambda isa: calls.append(isa.name) or 0.0)
    selfcheck.fault.cache_clear()
    try:
        build()
        build()
    finally:
        selfcheck.fault.cache_clear()
    assert calls == [best()]
