"""Changes of a bundle, by name, and what each must be refused for."""

from __future__ import annotations

from collections.abc import Callable

Change = Callable[..., object]


class Cases(dict[str, tuple[Change, str, str]]):
    """The change, the check that finds it, and a part of the message, by the name of the function that makes it."""

    def case(self, check: str, message: str) -> Callable[[Change], Change]:
        """Add a case: what its change must be refused for."""

        def add(change: Change) -> Change:
            self[change.__name__] = change, check, message
            return change

        return add
