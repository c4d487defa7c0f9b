"""Which tasks' images may be shown, and the sheets of those that may."""

from pathlib import Path

import numpy as np
import pytest

from sparsebench.cli.exemplars import may_be_shown, sheets
from sparsebench.datasets import open_task
from sparsebench.registry import load_tasks
from sparsebench.report.populations import Exemplar, Populations
from sparsebench.schema import Task


@pytest.mark.parametrize(
    ("licence", "shown"),
    [
        ("CC BY 4.0", True),
        ("CC0 or public domain", True),
        ("public domain", True),
        ("CC BY-SA 4.0 (as a mirror states)", True),
        ("CC BY-NC 4.0", False),
        ("CC BY-ND 4.0", False),
        ("not specified", False),
        ("research use", False),
        ("non-commercial research only; photographers keep their copyright", False),
        (None, False),
    ],
)
def test_licences(licence, shown):
    assert may_be_shown(Task(id="x", loader="imagefolder", root="x", licence=licence)) is shown


def test_embedded_tasks_may_be_shown():
    assert all(may_be_shown(load_tasks().tasks[name]) for name in ("digits", "glyphs", "textures"))


class Found:
    """What a sheet is made of."""

    def __init__(self, task, *exemplars):
        self.task, self.populations = task, Populations("heads", exemplars, 3)


def test_a_sheet_shows_the_images_and_what_both_predict():
    tasks = load_tasks().tasks
    data = open_task(tasks["digits"])
    image = data.test.ids[5]
    label = int(data.test.labels[5])
    found = Found("digits", Exemplar(image, label, 1, 7))
    (picture,) = sheets(("mini.a", "mini.b"), [found], tasks, Path())
    drawn = np.asarray(picture.canvas.axes[0].images[0].get_array())
    np.testing.assert_array_equal(drawn, np.asarray(data.test.load(5).convert("RGB")))
    title = picture.canvas.axes[0].get_title(loc="center")
    assert title.split("\n") == [data.classes[label], f"A {data.classes[1]}", f"B {data.classes[7]}"]
    assert "over heads" in picture.caption
    assert "there are 3 of them" in picture.caption
    assert "another training" in picture.caption
    assert "CC BY 4.0" in picture.caption


def test_what_cannot_be_shown_is_said(tmp_path):
    tasks = load_tasks().tasks
    one = Exemplar("x", 0, 0, 1)
    found = [Found("cars", one), Found("mine", one), Found("pets", one), Found("glyphs")]
    reasons = list(sheets(("a", "b"), found, tasks, tmp_path))
    assert reasons[0] == "no sheet of cars: its licence (not specified) doesn't let images be shown"
    assert reasons[1] == "no sheet of mine: it isn't a registered task"
    assert reasons[2].startswith("no sheet of pets: ")
    assert len(reasons) == 3
