"""What is wrong with a bundle."""

from __future__ import annotations

from dataclasses import dataclass

from ..schema import ResultsError
from ..schema.text import printable

_LONGEST = 300


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a bundle.

    Parameters
    ----------
    check : str
        What was checked: ``file``, ``member``, ``hash``, ``record``, ``id``, ``value``, ``score``, ``logits``,
        ``labels``, ``entry``, ``protocol``, ``mask``, ``duplicate`` or ``rerun``.
    where : str
        The member or run.
    message : str
        What is wrong.
    """

    check: str
    where: str
    message: str

    def __post_init__(self) -> None:
        for name in ("where", "message"):
            object.__setattr__(self, name, shortened(getattr(self, name)))

    @property
    def line(self) -> str:
        """The problem as people read it: one line without control characters."""
        return printable(f"{self.where}: {self.message} [{self.check}]")


def shortened(text: str) -> str:
    """Return a text that a bundle may have a say in, no longer than people read."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."


class BundleError(ResultsError):
    """A bundle that can't be read any further; ``problem`` says why.

    Parameters
    ----------
    check, where, message : str
        See :class:`Problem`.
    hint : str, optional
        What to do next.
    """

    def __init__(self, check: str, where: str, message: str, hint: str | None = None) -> None:
        super().__init__(
            f"{shortened(where)}: {shortened(message)}", hint or "get the bundle again, or have it written again"
        )
        self.problem = Problem(check, where, message)
