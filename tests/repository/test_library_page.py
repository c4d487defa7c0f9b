"""The code of docs/how-to/library.md runs, from top to bottom."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "library.md"


def test_the_code_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (60, 40), "white").save(tmp_path / "photos" / "blank.png")
    (tmp_path / "photos" / "broken.png").write_bytes(b"nothing")
    code = "\n".join(re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL))
    space: dict[str, object] = {}
    exec(compile(code, PAGE.name, "exec"), space)
    printed = capsys.readouterr().out
    assert "90.0000% of prunable" in printed
    assert "blank.png" in printed
    assert "broken.png" in printed
    assert len(space["predicted"]) == 1000  # type: ignore[arg-type]
    assert space["table"]["accuracy"].iloc[0] > 0.7  # type: ignore[index]
    assert (tmp_path / "my-model" / "README.md").is_file()
