"""The documents against the program: their commands parse, the tutorials run, the generated pages have everything."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import documents
import numpy as np
import pytest
import yaml
from documents import DOCS, ROOT
from PIL import Image

from sparsebench.api.file_schemas import KINDS
from sparsebench.cli import main
from sparsebench.cli.options import COMMANDS
from sparsebench.cli.parser import build_parser
from sparsebench.schema import Checkpoint, Protocol, Suite, Task

sys.path.insert(0, str(ROOT / "scripts"))
import docs_pages
import docs_site

PAGES = sorted(DOCS.rglob("*.md"))
SHOWN = [(page.relative_to(DOCS).as_posix(), command) for page in PAGES for command in documents.commands(page)]


@pytest.mark.parametrize(("page", "command"), SHOWN)
def test_commands_parse(page: str, command: str) -> None:
    words = shlex.split(command, comments=True)
    assert build_parser().parse_args(words[1:]).command == words[1]


def test_there_are_commands_to_parse() -> None:
    assert len(SHOWN) > 60
    assert len({command.split()[1] for _, command in SHOWN}) > 10


def test_the_page_of_the_command_line_has_every_option() -> None:
    text = docs_pages.command_line()
    options = build_parser()._every_option()
    assert len(options) > 80
    assert [option for option in options if f"`{option}`" not in text] == []
    assert [name for name in COMMANDS if f"\n## sparsebench {name}\n" not in text] == []


@pytest.mark.parametrize("model", [Checkpoint, Task, Protocol, Suite])
def test_the_page_of_yaml_files_has_every_field(model: type[Checkpoint | Task | Protocol | Suite]) -> None:
    text = docs_pages.yaml_files()
    written_elsewhere = {Checkpoint: {"id"}, Protocol: {"name", "settings"}, Suite: {"id"}}
    fields = set(model.model_fields) - written_elsewhere.get(model, set())
    assert [name for name in fields if f"\n| `{name}` |" not in text] == []


def test_generated_tables_have_as_many_cells_in_every_row() -> None:
    for text in (docs_pages.command_line(), docs_pages.yaml_files()):
        width = 0
        for line in text.splitlines():
            cells = line.count("|") if line.startswith("|") else 0
            assert not (cells and width) or cells == width, line
            width = cells


def test_links_out_of_the_documents_lead_to_the_repository() -> None:
    there = "https://example.org/us/it"
    assert docs_site.repository_link("tasks.md", "docs/reference", there) == "tasks.md"
    assert docs_site.repository_link("../index.md", "docs/reference", there) == "../index.md"
    page = docs_site.repository_link("../../results/mini/README.md", "docs/reference", there)
    assert page == f"{there}/blob/main/results/mini/README.md"


def test_roles_of_docstrings_are_taken_off() -> None:
    html = "see :class:<code>.Request</code> and :func:<code>~a.b.load</code>, not <code>x.y</code>"
    assert docs_site.on_page_content(html) == "see <code>Request</code> and <code>load</code>, not <code>x.y</code>"


def test_one_web_address_everywhere() -> None:
    site = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert f"repo_url: {citation['repository-code']}\n" in site
    assert f"site_url: {citation['url']}\n" in site
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'Source = "{citation["repository-code"]}"' in project
    assert f'Documentation = "{citation["url"]}"' in project
    assert f"({citation['repository-code']}/blob/main/" in project


def photos(folder: Path) -> None:
    """Write noise in two classes, whose brightness overlaps: no network gets all of it right."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 70), ("val", 40)):
        for label, brightness in (("cat", 100), ("dog", 150)):
            (folder / split / label).mkdir(parents=True)
            for i in range(count):
                pixels = np.clip(rng.normal(rng.normal(brightness, 40), 20, (32, 32, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / split / label / f"{i}.png")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["first-run", "your-checkpoint", "paper-table"])
def test_a_tutorial_runs_from_top_to_bottom(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    photos(tmp_path / "photos")
    page = DOCS / "tutorials" / f"{name}.md"
    for i, text in enumerate(documents.blocks(page, "yaml")):
        (tmp_path / ("mine.yaml" if i == 0 else f"{i}.yaml")).write_text(text)
    for command in documents.commands(page):
        assert main(shlex.split(command, comments=True)[1:]) == 0, command


def test_every_kind_of_file_is_on_the_page() -> None:
    text = docs_pages.yaml_files()
    assert [kind for kind in KINDS if f"schemas/{kind}.json" not in text] == []
