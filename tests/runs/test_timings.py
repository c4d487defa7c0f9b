"""The seconds of each stage: counted where they pass, told apart, and read as a bottleneck."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import small_world as world
import tasks_quick
from sparsebench import api
from sparsebench.common.timings import STAGES, measuring, stage, waiting
from sparsebench.registry.selection import Selection
from sparsebench.report.profile import OTHER, START, Machine, advice, profile, render_profile
from sparsebench.runs.executors.protocol import decode_event, encode_event
from sparsebench.runs.runner import Event
from sparsebench.schema import Numerics
from sparsebench.store import frame
from sparsebench.transfer.features import extract, extraction


def slow(count: int, seconds: float):
    for i in range(count):
        time.sleep(seconds)
        yield i


def test_time_is_counted_for_its_own_stage_only():
    with measuring() as seconds:
        for _ in waiting("decode", slow(3, 0.02)):
            with stage("backbone"):
                time.sleep(0.01)
    assert seconds["decode"] >= 0.06
    assert 0.03 <= seconds["backbone"] < 0.06


def test_nothing_is_counted_where_nobody_measures_and_errors_pass():
    assert list(waiting("decode", range(3))) == [0, 1, 2]
    with measuring() as outer:
        with measuring() as inner, stage("probe"):
            pass
        with pytest.raises(ZeroDivisionError), stage("load"):
            _ = 1 / 0
    assert list(inner) == ["probe"]
    assert list(outer) == ["load"]


def test_extraction_tells_a_slow_decoder_from_a_slow_backbone(monkeypatch):
    def compute(batch):
        time.sleep(0.03)
        return torch.zeros(len(batch), 8)

    def wait(i):
        time.sleep(0.01)
        return split.load(i)

    split = world.split(8, 5)
    with measuring() as decoding:
        extract(world.backbone(), replace(split, load=wait), world.transform(), Numerics(), cache_dir=None)
    with measuring() as computing:
        monkeypatch.setattr(extraction, "KeptEngine", lambda: SimpleNamespace(prepare=lambda *_: compute))
        extract(world.backbone(), split, world.transform(), Numerics(), cache_dir=None, batch_size=2)
    assert decoding["decode"] > decoding["backbone"]
    assert computing["backbone"] > computing["decode"]


@pytest.fixture
def request_(tmp_path: Path) -> api.Request:
    tasks = tasks_quick.quick_suite(tmp_path / "tasks")
    return api.Request(
        selection=Selection(suite="quick", checkpoints=["mini.dense"]),
        tasks_dirs=[tasks],
        data_dir=tasks,
        results=tmp_path / "runs",
        cache_dir=tmp_path / "cache",
    )


def test_a_run_says_where_its_time_went_and_whether_features_were_cached(request_):
    records = api.execute(api.prepare(request_))
    by_mode = {mode: [r for r in records if r.spec.mode == mode] for mode in ("linear", "full")}
    first, second = sorted(by_mode["linear"], key=lambda r: r.spec.seed)
    assert {"load", "decode", "backbone", "probe"} <= set(first.stages)
    assert set(second.stages) == {"probe"}
    assert first.stages["probe"] == pytest.approx(second.stages["probe"], abs=1e-3)
    assert {"load", "data", "train"} <= set(by_mode["full"][0].stages)
    assert all(set(r.stages) <= set(STAGES) and sum(r.stages.values()) <= r.seconds + 0.01 for r in records)
    *groups, total = profile(records)
    assert len(groups) == 2
    assert (total.runs, total.cached, total.extracted) == (3, 0, 1)
    assert total.total == pytest.approx(sum(r.seconds for r in records), abs=0.05)
    again = api.execute(api.prepare(replace(request_, overwrite="always")))
    assert profile(again)[-1].cached == 1
    assert "features from the cache" in render_profile(again)


def test_the_bottleneck_is_the_longest_stage_with_what_to_do(request_):
    records = api.execute(api.prepare(request_))
    changed = [r.model_copy(update={"stages": {"decode": 5.0, "probe": 1.0}, "seconds": 6.5}) for r in records[:1]]
    text = render_profile(changed)
    assert "bottleneck: decode" in text
    assert "77%" in text
    assert "--workers N" in text
    assert profile(changed)[-1].seconds[OTHER] == pytest.approx(0.5)
    assert "nothing to time" in render_profile([])


def test_advice_fits_how_it_was_run():
    assert "--engine auto" in advice("backbone", Numerics())
    assert "--engine auto" not in advice("backbone", Numerics(engine="sparse"))
    assert "--decoder fast" in advice("decode", Numerics(decoder="pillow"))
    assert "--threads" not in advice("train", Numerics(device="cuda"))
    assert all(advice(name, Numerics()) for name in (*STAGES, OTHER))


def test_stages_are_no_part_of_the_table(request_):
    table = frame(api.execute(api.prepare(request_)))
    assert not {"stages", "features_cached"} & set(table.columns)


def test_a_worker_process_tells_its_stages(request_):
    prepared = api.prepare(request_)
    (record,) = (r for r in api.execute(prepared) if r.spec.mode == "full")
    event = Event("done", record.run_id, record=record)
    told = decode_event(json.loads(encode_event(event))).record
    assert told is not None
    assert told.stages == record.stages


def test_the_start_has_a_row_of_its_own(request_):
    records = api.execute(api.prepare(request_))
    text = render_profile(records, start=1000.0)
    header, first, *_ = text.splitlines()
    assert header.split()[:2] == ["SECONDS", "start"]
    assert first.split()[0] == "start"
    assert first.split()[-1] == "1000.00"
    assert "bottleneck: start (imports" in text
    assert "start" not in render_profile(records).splitlines()[0]


def test_advice_names_only_what_can_still_be_done():
    small, large = Machine(1), Machine(8, gpu=True)
    for name in (*STAGES, OTHER, START):
        assert "--threads" not in advice(name, Numerics(), machine=small)
        assert "--jobs" not in advice(name, Numerics(), machine=small)
        assert "--device cuda" not in advice(name, Numerics(), machine=small)
        assert advice(name, Numerics(), machine=small)
    assert "--workers" not in advice("decode", Numerics(), machine=small)
    assert "--device cuda" in advice("backbone", Numerics(), machine=large)
    assert "--threads" not in advice("backbone", Numerics(threads=8), machine=large)
    assert "--probe" in advice("probe", Numerics(), probe="sgd", machine=large)
    assert "--probe" not in advice("probe", Numerics(), probe="lbfgs", machine=large)
    assert "--precision" not in advice("train", Numerics(device="cuda", precision="bf16"), machine=large)
    assert "--jobs" not in advice("other", Numerics(threads=4), jobs=2, machine=large)
