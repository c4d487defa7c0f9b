"""Selectors take several values at once or repeated, and other harnesses' names for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from sparsebench.cli.parser import build_parser


@pytest.mark.parametrize("command", ["run", "fetch", "bench"])
def test_several_values_at_once_or_repeated(command: str) -> None:
    parse = build_parser().parse_args
    for line in (
        ["--sparsity", "0.8", "0.9", "--method", "acdc"],
        ["--sparsity=0.8", "--method=acdc", "--sparsity=0.9"],
    ):
        arguments = parse([command, *line])
        assert (arguments.sparsity, arguments.method) == ([0.8, 0.9], ["acdc"])
    assert parse([command]).sparsity == []


def test_other_harnesses_names() -> None:
    run = build_parser().parse_args(["run", "--model", "a", "b", "--dataset", "c", "--output", "there"])
    assert (run.checkpoint, run.task, run.results) == (["a", "b"], ["c"], Path("there"))
    for command in ("report", "bench"):
        assert build_parser().parse_args([command, "--output", "there"]).out == Path("there")
