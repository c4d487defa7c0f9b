"""What ``import sparsebench`` reaches, and how it looks: names, signatures, texts."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import sparsebench
from sparsebench.api.keywords import Computing, RunKeywords
from sparsebench.api.notebook import bar_html, shown
from sparsebench.models.backbone import Backbone
from sparsebench.runs.request import Request
from sparsebench.runs.runner import Event
from sparsebench.schema import Numerics

PROGRAM = """
import sys, sparsebench
before = {"torch", "numpy", "pandas"} & set(sys.modules)
names = dir(sparsebench)
for name in names:
    getattr(sparsebench, name)
print(sorted(before), "torch" in sys.modules, "timm" in sys.modules)
"""


def test_names_are_reached_without_torch() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout.split(maxsplit=1)[0] == "[]"
    assert {"probes", "engines", "analysis", "features", "predictions", "export", "predict"} <= set(dir(sparsebench))


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        sparsebench.nonsense  # noqa: B018


def test_the_keywords_of_run_are_the_fields_of_a_request() -> None:
    assert set(Computing.__annotations__) == set(Numerics.model_fields) - {"processes"}
    own = set(inspect.signature(sparsebench.run).parameters)
    fields = set(Request.__dataclass_fields__) - {"selection", "results"}
    assert set(RunKeywords.__annotations__) == fields | set(Computing.__annotations__) | {"processes"}
    assert set(RunKeywords.__annotations__) <= own
    assert "options" not in own


@pytest.mark.parametrize("function", [sparsebench.features, sparsebench.predict])
def test_ways_of_computing_are_named_in_a_signature(function: object) -> None:
    assert set(Computing.__annotations__) <= set(inspect.signature(function).parameters)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return sparsebench.load("mini.acdc_s90")


def test_a_backbone_is_shown_in_about_ten_lines(backbone: Backbone) -> None:
    lines = repr(backbone).splitlines()
    assert 8 <= len(lines) <= 12
    assert max(map(len, lines)) < 250
    text = repr(backbone)
    count = sum(p.numel() for p in backbone.module.parameters())
    for part in ("mini.acdc_s90", "90.0000%", f"{count:,}", "11 masks", "256 features", "32 px", "0.485"):
        assert part in text


def test_a_table_for_notebooks_is_escaped(backbone: Backbone) -> None:
    from dataclasses import replace

    hostile = replace(backbone, info=replace(backbone.info, path=Path("<script>x</script>&.pth")))
    html = hostile._repr_html_()
    assert html.startswith("<table>")
    assert "<script>" not in html
    assert "&lt;script&gt;" in html


def test_whether_a_backbone_has_its_head(backbone: Backbone) -> None:
    assert not backbone.has_head
    whole = sparsebench.load("mini.acdc_s90", head=True)
    assert whole.has_head
    assert "logits of 200 classes" in repr(whole) or "logits of" in repr(whole)
    assert whole.module(torch.zeros(1, 3, 32, 32)).shape[1] == whole.info.num_classes


def test_a_bar_counts_runs_and_passes_events_on() -> None:
    seen: list[Event] = []
    with shown(2, seen.append, False) as tell:
        assert tell is not None
        tell(Event("started", "a"))
    with shown(2, seen.append, True) as tell:
        assert tell is not None
        tell(Event("done", "a"))
    assert [event.kind for event in seen] == ["started", "done"]
    with shown(0, None, True) as nothing:
        assert nothing is None


def test_a_notebook_gets_a_bar_without_widgets(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel is told by its shell's class; the bar is an HTML output that is updated in place."""
    from types import ModuleType

    outputs: list[str] = []

    class ZMQInteractiveShell:
        pass

    class Handle:
        def update(self, content: str) -> None:
            outputs.append(content)

    def display(content: str, display_id: bool) -> Handle:
        outputs.append(content)
        return Handle()

    kernel, screen = ModuleType("IPython"), ModuleType("IPython.display")
    kernel.get_ipython = ZMQInteractiveShell  # type: ignore[attr-defined]
    screen.HTML, screen.display = str, display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", kernel)
    monkeypatch.setitem(sys.modules, "IPython.display", screen)
    with shown(4, None) as tell:
        assert tell is not None
        tell(Event("progress", "a", 1, 2))
        tell(Event("done", "a"))
    assert [text.split("value=")[1][:8] for text in outputs] == ['"0.0000"', '"0.0000"', '"0.1250"', '"0.2500"']
    assert outputs[-1].endswith("1 of 4 runs")
    assert "<b>" not in bar_html(0.5, "<b>")
