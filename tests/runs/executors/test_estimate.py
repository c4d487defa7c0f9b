from __future__ import annotations

import pytest

from made_up import group, record
from sparsebench.runs.executors.estimate import Estimator, flops_of_architecture

FLOPS = {"mini": 1e7, "resnet50": 4e9}


def estimator(*records: object) -> Estimator:
    return Estimator(records, FLOPS.__getitem__)  # type: ignore[arg-type]


def test_a_run_takes_what_others_of_its_cell_took_whatever_their_checkpoint_and_seed() -> None:
    known = group("mini.acdc_s90", "digits")
    learned = estimator(*(record(run, 4.0 + run.seed) for run in known.runs))
    other = group("mini.gmp_s95", "digits", seeds=9)
    assert learned.run(other.runs[8]) == pytest.approx(5.0)
    assert learned.group(other) == pytest.approx(9 * 5.0, abs=2)


@pytest.mark.parametrize(("epochs", "arch", "factor"), [(20, "mini", 2), (10, "resnet50", 400), (30, "resnet50", 1200)])
def test_what_has_not_run_is_scaled_by_epochs_and_multiply_adds(epochs: int, arch: str, factor: float) -> None:
    learned = estimator(*(record(run, 10.0) for run in group(mode="full").runs))
    asked = group("new", "flowers", "full", arch=arch, epochs=epochs, sizes={"trainval": 900, "test": 100})
    assert learned.run(asked.runs[0], 1000) == pytest.approx(10.0 * factor, rel=0.04)


def test_images_are_those_of_the_task_s_records_then_those_of_its_sizes() -> None:
    learned = estimator(
        record(group(task="digits", mode="full").runs[0], 10.0, images=1000),
        record(group(task="flowers", mode="linear").runs[0], 3.0, images=4000),
    )
    assert learned.run(group(task="flowers", mode="full").runs[0]) == pytest.approx(40.0)
    sized = group(task="cars", mode="full", seeds=1, sizes={"train": 1500, "val": 500, "test": 1000})
    assert learned.group(sized) == pytest.approx(30.0, abs=2)


def test_failures_and_other_devices_teach_nothing() -> None:
    spec = group(mode="full").runs[0]
    before = estimator().run(spec, 1000)
    assert estimator(record(spec, 0.1, status="failed")).run(spec, 1000) == before
    on_gpu = group(mode="full", device="cuda").runs[0]
    assert estimator(record(on_gpu, 0.001)).run(spec, 1000) == pytest.approx(before)


def test_without_any_record_longer_work_is_estimated_longer() -> None:
    new = estimator()
    assert new.group(group(mode="full")) > new.group(group(mode="linear"))
    assert new.group(group(arch="resnet50")) > new.group(group(arch="mini"))
    assert new.group(group(mode="full", device="cuda")) < new.group(group(mode="full"))


def test_multiply_adds_are_counted_once_an_architecture_and_guessed_for_unknown_ones() -> None:
    assert 5e6 < flops_of_architecture("mini") < 5e7
    assert flops_of_architecture("no_such_network") > 0
