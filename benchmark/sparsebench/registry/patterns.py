"""Names as a shell spells them: ``mini.*_s90`` is every name of that form, ``!mini.lth*`` all but those."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase

from ..schema import InputError, UnknownNameError

_SHOWN = 20


def is_pattern(name: str) -> bool:
    """Return whether a name has ``*``, ``?`` or ``[``, or excludes others with ``!``."""
    return name.startswith("!") or any(character in name for character in "*?[")


def expand(
    kind: str,
    names: Sequence[str],
    known: Collection[str],
    *,
    default: Sequence[str] = (),
    more: Collection[str] = (),
    literal: Collection[str] = (),
) -> list[str]:
    """Return names with each pattern replaced by the known names that it matches.

    Parameters
    ----------
    kind : str
        What the names are of, for example ``"task"``.
    names : sequence of str
        Names, patterns, and exclusions that begin with ``!``. Names that aren't patterns are kept as they are.
    known : collection of str
        What patterns match.
    default : sequence of str
        What is excluded from where there are exclusions alone; by default all of ``known``.
    more : collection of str
        What a pattern may match that matches none of ``known``.
    literal : collection of str
        Names that are no patterns, whatever their characters: files that there are.

    Raises
    ------
    InputError
        If a pattern or an exclusion matches nothing, or everything is excluded.
    """
    excluded = [name for name in names if name.startswith("!") and name not in literal]
    wanted = [name for name in names if name not in excluded]
    chosen: list[str] = [] if wanted or not names else list(default or known)
    for name in wanted:
        chosen += _matching(kind, name, known, more) if is_pattern(name) and name not in literal else [name]
    for name in excluded:
        out = set(_matching(kind, name[1:], [*chosen, *known], more))
        chosen = [other for other in chosen if other not in out]
    if names and not chosen:
        raise InputError(f"no {kind} is left of {' '.join(map(repr, names))}", "exclude less")
    return list(dict.fromkeys(chosen))


def known_only(kind: str, names: Sequence[str], known: Collection[str]) -> set[str]:
    """Return the known names that names and patterns choose, all where there are none.

    Raises
    ------
    InputError
        If a name isn't known, or a pattern matches nothing.
    """
    if not names:
        return set(known)
    chosen = expand(kind, names, known)
    for name in chosen:
        if name not in known:
            raise UnknownNameError(kind, name, known)
    return set(chosen)


def _matching(kind: str, pattern: str, known: Collection[str], more: Collection[str]) -> list[str]:
    for names in (known, more):
        if found := [name for name in names if fnmatchcase(name, pattern)]:
            return found
    if not is_pattern(pattern):
        raise UnknownNameError(kind, pattern, [*known, *more])
    there = sorted(set(known) or set(more))
    shown = ", ".join(there[:_SHOWN]) + (", ..." if len(there) > _SHOWN else "")
    raise InputError(f"no {kind} matches {pattern!r}", f"there are: {shown}" if there else f"there is no {kind}")
