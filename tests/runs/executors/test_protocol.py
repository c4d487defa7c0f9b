from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from made_up import group
from sparsebench.runs.executors.protocol import decode_job, encode_job
from sparsebench.runs.jobs import job_document, read_job
from sparsebench.runs.options import RunOptions


def test_every_option_of_a_run_reaches_its_worker(tmp_path: Path) -> None:
    options = RunOptions(tmp_path, data_dir=tmp_path / "d", cache_dir=None, save_weights=True, workers=3)
    asked = group(mode="full")
    line = encode_job(asked, options, wait=False)
    assert "\n" not in line
    assert decode_job(line) == (asked, options, False)
    assert set(json.loads(line)["options"]) == {field.name for field in dataclasses.fields(RunOptions)}


def test_a_job_s_document_holds_plain_values(tmp_path: Path) -> None:
    groups, options = [group(), group(mode="full")], RunOptions(tmp_path)
    document = json.loads(json.dumps(job_document(groups, options)))
    assert read_job(document) == (groups, options)
