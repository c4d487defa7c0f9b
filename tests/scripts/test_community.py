"""What the workflows run: bundles described as JSON, and the comment that is made of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))

from submission_comment import MARK, main, plain, render  # noqa: E402


def community(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPTS / "community.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.slow
def test_the_committed_leaderboard_is_what_the_bundles_give() -> None:
    done = community("--check")
    assert done.returncode == 0, done.stderr


def test_a_file_that_is_no_bundle_is_described_and_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.zip").write_text("no zip")
    done = community("--folder", str(tmp_path), "--json", str(tmp_path / "found.json"))
    assert done.returncode == 2
    (bundle,) = json.loads((tmp_path / "found.json").read_text())["bundles"]
    assert (bundle["bundle"], bundle["verdict"]) == ("bad.zip", "refused")
    (tmp_path / "bad.zip").unlink()
    (tmp_path / "link.zip").symlink_to("/etc/hostname")
    done = community("--folder", str(tmp_path), "--json", str(tmp_path / "found.json"))
    assert done.returncode == 2
    assert "link.zip is a link" in (tmp_path / "found.json").read_text()


def test_the_comment_shows_what_was_found() -> None:
    line = {"checkpoint": "mini.x", "mode": "linear", "mean_accuracy": 0.75, "verdict": "rescored"}
    document = {
        "bundles": [
            {"bundle": "a.zip", "verdict": "rescored", "runs": {"ok": 15}, "notes": ["a note"]},
            {
                "bundle": "b.zip",
                "verdict": "refused",
                "problems": [{"check": "score", "where": "k", "message": "wrong"}],
            },
        ],
        "conflicts": ["c.zip: other numbers"],
        "leaderboard": [line],
    }
    text = render(document, others=2)
    assert text.startswith(MARK)
    for part in (
        "rescored (15 ok)",
        "- refused, score: k: wrong",
        "a note",
        "other numbers",
        "0&#46;7500",
        "2 other file(s)",
    ):
        assert part in text


@pytest.mark.parametrize(
    "text", ["@everyone", "<script>", "![x](http://a.b/c.png)", "[a](javascript:x)", "a\n# b", "`a`", "| a |", "#12"]
)
def test_text_of_strangers_is_shown_as_it_is(text: str) -> None:
    shown = plain(text)
    assert not set(shown) & set("@<>[]()`|\n!")
    assert "](" not in render({"bundles": [{"bundle": text, "verdict": text, "notes": [text]}]})


@pytest.mark.parametrize(
    "content",
    [b"", b"not JSON", b"[" * 10**5, b'"text"', b"[1, 2]", b'{"bundles": 3, "leaderboard": {"a": 1}}', b"\xff"],
)
def test_whatever_the_artifact_is_there_is_a_comment(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "found.json").write_bytes(content)
    assert main([str(tmp_path / "found.json")]) == 0
    assert capsys.readouterr().out.startswith(MARK)


def test_an_artifact_that_is_missing_or_too_large(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "none.json")]) == 0
    (tmp_path / "large.json").write_bytes(b'{"bundles": ["' + b"a" * 2**21 + b'"]}')
    assert main([str(tmp_path / "large.json")]) == 0
    assert capsys.readouterr().out.count("left nothing that can be read") == 2


def test_a_comment_is_never_too_long_to_be_taken() -> None:
    problem = {"check": "value", "where": "|" * 200, "message": "<" * 200}
    text = render({"bundles": [{"bundle": "b.zip", "problems": [problem] * 20}] * 20})
    assert len(text) < 65_536
    assert "too long to be shown" in text
    assert text.rstrip().endswith("before merging.")
