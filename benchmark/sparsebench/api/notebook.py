"""A progress bar over the runs of a plan, in a notebook or on the terminal."""

from __future__ import annotations

import html
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..runs.runner import Emit, Event

__all__ = ["in_notebook", "shown"]


def in_notebook() -> bool:
    """Return whether this process is a notebook's kernel, without importing IPython."""
    module = sys.modules.get("IPython")
    shell = None if module is None else module.get_ipython()
    return shell is not None and type(shell).__name__ in ("ZMQInteractiveShell", "Shell")


@contextmanager
def shown(runs: int, emit: Emit | None, progress: bool | None = None) -> Iterator[Emit | None]:
    """Yield what a plan's events are given to: ``emit``, and a bar if one is to be shown.

    Parameters
    ----------
    runs : int
        How many there are to do; none need no bar.
    emit : callable, optional
        The caller's own.
    progress : bool, optional
        Whether to show a bar; by default in notebooks alone.
    """
    notebook = in_notebook()
    if not runs or not (notebook if progress is None else progress):
        yield emit
        return
    with _in_notebook() if notebook else _on_terminal() as update:
        counted = _Counted(runs, update)

        def tell(event: Event) -> None:
            counted.event(event)
            if emit is not None:
                emit(event)

        update(0.0, f"0 of {runs} runs")
        yield tell


class _Counted:
    """How far a plan is: the runs that are done, and the shares of those under way."""

    def __init__(self, runs: int, update: Callable[[float, str], None]) -> None:
        self._runs, self._update = runs, update
        self._done, self._failed = 0, 0
        self._under_way: dict[str, float] = {}

    def event(self, event: Event) -> None:
        """Take one event into account."""
        if event.kind == "done":
            self._under_way.pop(event.key, None)
            self._done += 1
            self._failed += event.record is not None and event.record.status == "failed"
        elif event.total:
            self._under_way[event.key] = event.done / event.total
        failed = f", {self._failed} failed" if self._failed else ""
        share = (self._done + sum(self._under_way.values())) / self._runs
        self._update(min(1.0, share), f"{self._done} of {self._runs} runs{failed}")


@contextmanager
def _in_notebook() -> Iterator[Callable[[float, str], None]]:
    """Show a bar of plain HTML, which needs no widgets."""
    from IPython.display import HTML, display

    handle: Any = display(HTML(bar_html(0.0, "")), display_id=True)
    yield lambda share, text: handle.update(HTML(bar_html(share, text)))


def bar_html(share: float, text: str) -> str:
    """Return a bar that is filled to a share, with a text beside it."""
    return f'<progress max="1" value="{share:.4f}" style="width: 20em"></progress> {html.escape(text)}'


@contextmanager
def _on_terminal() -> Iterator[Callable[[float, str], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda share, text: bar.update(task, completed=share, description=text)
