"""The links between documents lead somewhere: to files that are there, and to headings in them."""

from __future__ import annotations

from pathlib import Path

import documents
import pytest
import yaml
from documents import DOCS, ROOT

PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "LICENSES.md",
    *sorted((ROOT / "results").glob("*/README.md")),
    *sorted(DOCS.rglob("*.md")),
]


def broken(page: Path) -> list[str]:
    """Return a page's relative links that lead to no file or no heading."""
    wrong = []
    for link in documents.links(page.read_text(encoding="utf-8")):
        target, _, anchor = link.partition("#")
        if "://" in link or link.startswith("mailto:"):
            continue
        there = (page.parent / target).resolve() if target else page
        if not there.exists() or (anchor and anchor not in documents.anchors(there.read_text(encoding="utf-8"))):
            wrong.append(link)
    return wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_relative_links_lead_to_files_and_headings(page: Path) -> None:
    assert broken(page) == []


def test_broken_links_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# One heading: here\n[a](#one-heading-here) [b](#two) [c](none.md) [d](page.md#three) `[e](f)`\n")
    assert broken(page) == ["#two", "none.md", "page.md#three"]


def test_every_page_is_in_the_navigation() -> None:
    class Loader(yaml.SafeLoader):
        """Reads the configuration without importing what its tags name."""

    Loader.add_multi_constructor("tag:yaml.org,2002:python/name:", lambda *_: None)
    configuration = yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), Loader)

    def flat(part: object) -> list[str]:
        if isinstance(part, str):
            return [part]
        items = part.values() if isinstance(part, dict) else part
        return [page for item in items for page in flat(item)]  # type: ignore[union-attr]

    listed = flat(configuration["nav"])
    assert len(listed) == len(set(listed))
    assert {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")} == {
        p for p in listed if p.endswith(".md")
    }
