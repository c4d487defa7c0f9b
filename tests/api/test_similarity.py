"""CKA of two backbones by stage."""

import math

import pytest

import sparsebench
from sparsebench.analysis import linear_cka
from sparsebench.api.similarity import _replicate_of
from sparsebench.registry import load_registry
from sparsebench.report.cka import cka_json, cka_lines
from sparsebench.report.figures.similarity import similarity_figure


@pytest.fixture(scope="module")
def found():
    return sparsebench.similarity("mini.gmp_s90", "mini.dense", ["digits"], images=120)


def test_each_stage_is_between_chance_and_itself(found):
    assert [one.stage for one in found][-1] == "features"
    assert {one.n for one in found} == {120}
    assert all(0.0 <= one.chance < one.cka <= 1.0 for one in found)
    assert all(0.0 < one.replicates_b <= 1.0 for one in found), "mini.dense has a second training"


@pytest.mark.slow
def test_at_the_end_it_is_the_cka_of_the_features(found):
    whole = [sparsebench.features(name, "digits", cache=False).test for name in ("mini.gmp_s90", "mini.dense")]
    step = (len(whole[0].x) - 1) / 119
    rows = [round(place * step) for place in range(120)]
    expected = linear_cka(*(own.x[rows] for own in whole))
    assert found[-1].cka == pytest.approx(expected, abs=1e-4)


def test_another_training_of_a_checkpoint():
    registry = load_registry()
    assert _replicate_of("mini.dense", registry) == "mini.dense_r1"
    assert _replicate_of("mini.dense_r1", registry) == "mini.dense"
    assert _replicate_of("mini.lth_s95", registry) is None


def test_numbers_text_and_figure_agree(found):
    rows = cka_json(found)
    assert [row["cka"] for row in rows] == [one.cka for one in found]
    text = "\n".join(cka_lines(("mini.gmp_s90", "mini.dense"), found))
    assert f"{found[-1].cka:.3f}" in text
    assert "between two trainings of B" in text
    picture = similarity_figure(("mini.gmp_s90", "mini.dense"), found)
    assert list(picture.canvas.axes[0].lines[0].get_ydata()) == [one.cka for one in found]
    assert not any(math.isnan(one.chance) for one in found)
