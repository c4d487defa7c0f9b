"""Fill the page's templates: everything escaped, style and script inlined, nothing loaded from anywhere."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ...common.version import __version__
from ..style import method_colour, method_marker, method_order
from .behind import protocols_of, ways_of
from .boards import Board, boards_of
from .exemplars import Gallery
from .palette import Palette
from .sections import sections_of
from .sources import Sources
from .svg import mark_id, mark_outlines
from .tasks import tasks_of
from .texts import VERDICTS
from .upstream import upstream_of

_OPTIONAL = re.compile(r"</(?:td|th|tr|li|dt|dd)>\n?")  # HTML lets them be left out: a seventh of the page


def page_html(sources: Sources) -> str:
    """Return the page; equal sources give equal text."""
    palette = Palette()
    boards = boards_of(sources, palette)
    gallery = Gallery(sources, sum(len(board.rows) for board in boards))
    first = max(range(len(boards)), key=lambda at: (len(boards[at].rows), -at), default=0)
    values: dict[str, Any] = {
        "boards": boards,
        "first": boards[first] if boards else None,
        "sections": sections_of(sources, boards, gallery),
        "upstream": upstream_of(sources, {row.name for board in boards for row in board.rows}),
        "gallery": gallery,
        "outlines": mark_outlines(),
        "verdicts": VERDICTS,
        "tasks": tasks_of(sources, boards),
        "ways": ways_of(sources),
        "protocols": protocols_of(sources),
        "n_runs": len(sources.runs),
        "n_failed": int((sources.runs["status"] != "ok").sum()),
        "filters": _filters(boards),
        "methods": _methods(boards, palette),
        "version": __version__,
    }
    script = _file("page.js")
    style = _file("page.css") + palette.css()
    page = _environment().get_template("page.html").render(
        values,
        script=Markup(script),  # noqa: S704 (our own file)
        style=Markup(style),  # noqa: S704 (our own file, and hexadecimal colours)
        policy=_policy(script),
    )  # fmt: skip
    return _OPTIONAL.sub("", page)


def _filters(boards: list[Board]) -> dict[str, list[tuple[str, str]]]:
    """Return the choices of each filter, as value and label."""
    rows = [row for board in boards for row in board.rows]
    levels = sorted({row.sparsity.sort for row in rows if row.sparsity.sort is not None})
    return {
        **{
            name: [(value, value) for value in dict.fromkeys(board.group[name] for board in boards) if value]
            for name in ("mode", "probe", "arch")
        },
        "sparsity": [(f"{level:.6g}", f"{100 * level:.4g} %") for level in levels],
    }


def _methods(boards: list[Board], palette: Palette) -> list[dict[str, str]]:
    """Return the methods with their colours and markers, in their usual order."""
    titles = {row.method: row.method_title for board in boards for row in board.rows}
    return [
        {"id": name, "title": title, "key": palette.key(method_colour(name)), "marker": method_marker(name)}
        for name, title in sorted(titles.items(), key=lambda item: method_order(item[0]))
    ]


def _policy(script: str) -> str:
    """Return a content security policy under which the page's own script runs, and nothing is loaded."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    return f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("sparsebench.report.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["mark"] = mark_id
    return environment


def _file(name: str) -> str:
    """Return a file that goes into the page as it is."""
    loader = _environment().loader
    assert loader is not None  # noqa: S101 (for the type checker)
    return loader.get_source(_environment(), name)[0]
