"""The documents: where they are, their code, their headings and links."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
FENCE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)


def files(page: Path) -> dict[str, str]:
    """Return a page's code that is a file of its own, by the file's name."""
    return dict(re.findall(r"```python file=(\S+)\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL))


def blocks(page: Path, language: str) -> list[str]:
    """Return a page's blocks of code in a language."""
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


def commands(page: Path) -> list[str]:
    """Return the commands of ``sparsebench`` that a page shows."""
    text = "\n".join(blocks(page, "sh")).replace("\\\n", " ")
    lines = [part.strip() for line in text.splitlines() for part in line.split("&&")]
    return [line for line in lines if re.match(r"(\S*/)?sparsebench ", line)]


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings, as the site and code hosts make them."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE):
        ascii_text = unicodedata.normalize("NFKD", heading).encode("ascii", "ignore").decode()
        slug = re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", ascii_text).strip().lower())
        found.add(slug)
    return found


def links(text: str) -> list[str]:
    """Return where a page's links and images lead, code left out."""
    plain = re.sub(r"`[^`\n]*`", "", FENCE.sub("", text))
    return [*re.findall(r"\]\(([^)\s]+)\)", plain), *re.findall(r'(?:src|href)="([^"]+)"', plain)]
