"""A recommendation from a results folder, whose runs kept predictions."""

from __future__ import annotations

from pathlib import Path

import sparsebench
from sparsebench.report.candidates import read_candidates
from tasks_quick import quick_suite


def test_candidates_of_a_results_folder_are_compared_image_by_image(tmp_path: Path) -> None:
    tasks, results = quick_suite(tmp_path / "tasks"), tmp_path / "runs"
    checkpoints = ["mini.acdc_s90", "mini.dense"]
    table = sparsebench.run(suite="quick", tasks_dirs=tasks, checkpoint=checkpoints, mode="linear", results=results)
    assert read_candidates(results).paired
    found = sparsebench.recommend(results, task="colours")
    assert found.chosen is not None
    means = table.groupby("checkpoint")["accuracy"].mean()
    assert {one.checkpoint: one.accuracy.value for one in found.candidates} == means.to_dict()
    if means["mini.acdc_s90"] == means["mini.dense"]:  # the smaller of two that are equally good
        assert found.chosen.checkpoint == "mini.acdc_s90"
    assert found.chosen.megabytes is not None
    assert found.chosen.megabytes < 0.5
