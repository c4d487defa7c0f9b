"""Features as arrays: the run's own, from the same cache."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import sparsebench
from sparsebench.schema import InputError, UnknownNameError
from tasks_quick import image_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return image_folder(tmp_path_factory.mktemp("images") / "colours")


def test_features_of_a_folder(folder: Path) -> None:
    found = sparsebench.features("mini.acdc_s90", folder)
    assert found.dimension == 256
    assert found.classes.tolist() == ["class0", "class1", "class2"]
    splits = (found.train, found.val, found.test)
    assert sum(len(split.y) for split in splits) == 36
    for split in splits:
        assert split.x.shape == (len(split.y), 256)
        assert split.x.dtype == np.float32
        assert len(split.ids) == len(split.y)
    results = sparsebench.probes.fit(
        found.train.x, found.train.y, found.test.x, found.test.y, protocol="ridge-linear", num_classes=3
    )
    assert results[0].accuracy > 0.5
    assert "256" in repr(found)


def test_the_second_time_they_are_read_from_the_cache(folder: Path) -> None:
    network = sparsebench.load("mini.acdc_s90")
    first = sparsebench.features(network, folder)
    again = sparsebench.features("mini.acdc_s90", folder)
    alone = sparsebench.features(network, folder, cache=False)
    assert again.test.cached
    assert not alone.test.cached
    assert np.array_equal(first.test.x, again.test.x)
    assert np.array_equal(first.test.x, alone.test.x)


def test_what_cannot_be_used_is_refused(folder: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown task"):
        sparsebench.features("mini.acdc_s90", "nonsense")
    with pytest.raises(UnknownNameError, match="did you mean threads"):
        sparsebench.features("mini.acdc_s90", folder, thread=2)  # type: ignore[call-arg]
    with pytest.raises(InputError, match="precision"):
        sparsebench.features("mini.acdc_s90", folder, precision="fp8")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="with its head"):
        sparsebench.features(sparsebench.load("mini.acdc_s90", head=True), folder)
    with pytest.raises(InputError, match="stands for 3"):
        sparsebench.features("mini.acdc_s90", "*s")
