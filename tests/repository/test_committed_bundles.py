"""Bundles that are committed hold, and their leaderboard is what they give."""

from __future__ import annotations

from pathlib import Path

import pytest

from sparsebench.exchange import Means, verify_bundle

ROOT = Path(__file__).parents[2]
COMMUNITY = ROOT / "results" / "community"
BUNDLES = sorted(COMMUNITY.glob("*.zip"))


@pytest.mark.parametrize("path", BUNDLES, ids=lambda path: path.name)
def test_a_committed_bundle_holds(path: Path) -> None:
    found = verify_bundle(path)
    assert [problem.line for problem in found.problems] == []
    assert found.verdict == "rescored"
    assert path.name in (COMMUNITY / "README.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("path", BUNDLES, ids=lambda path: path.name)
def test_a_run_of_it_gives_the_same_again(path: Path) -> None:
    found = verify_bundle(path, Means(rerun=1))
    assert found.problems == ()
    assert "rerun" in found.verdicts.values()


def test_there_is_one() -> None:
    assert BUNDLES
