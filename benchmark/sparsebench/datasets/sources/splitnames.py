"""Recognise folders that are called after a split, however they are spelt: ``train``, ``Training``, ``test_set``."""

from __future__ import annotations

import re

from ..splits.splitting import SplitName

_ROLES: dict[SplitName, tuple[str, ...]] = {
    "train": ("train", "training", "trn", "trainval"),
    "val": ("val", "valid", "validation", "dev", "devel", "eval", "evaluation"),
    "test": ("test", "testing", "tst", "holdout"),
}
_FILLERS = "(?:sets?|data|datasets?|images?|imgs?|pictures?|pics?|photos?|splits?|samples?|folders?|parts?|files?)"
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_ROLE_OF = {word: role for role, words in _ROLES.items() for word in words}
_JOINED = re.compile(f"({'|'.join(sorted(_ROLE_OF, key=len, reverse=True))}){_FILLERS}?")


def split_of(name: str, *, loosely: bool = False) -> SplitName | None:
    """Return the split that a folder is called after, or None.

    Case, digits and separators don't count, nor do words like ``set``, ``data`` and ``images``.

    Parameters
    ----------
    name : str
        The folder's name.
    loosely : bool
        Whether it may have other words (``seg_train``, but also ``steam_train``).
    """
    found: set[SplitName] = set()
    for word in _WORD.findall(name):
        match = _JOINED.fullmatch(word.lower())
        if match:
            found.add(_ROLE_OF[match[1]])
        elif not loosely and not re.fullmatch(_FILLERS, word.lower()):
            return None
    if not loosely and re.search(r"[^\W\d_]", re.sub("[A-Za-z]", "", name)):
        return None  # letters of another script: some other word
    if found == {"train", "val"}:
        return "train"  # trainval
    return found.pop() if len(found) == 1 else None
