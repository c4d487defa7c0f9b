"""The names of pruning methods, and the one table from published spellings to them."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class MethodName:
    """A method's id, its name in print, what it is, and other spellings in use."""

    id: str
    title: str
    summary: str
    spellings: tuple[str, ...] = ()


METHOD_NAMES: dict[str, MethodName] = {
    m.id: m
    for m in (
        MethodName("dense", "Dense", "no pruning: the reference, and the dense twins of co-trained methods"),
        MethodName("magnitude", "Magnitude", "one-shot magnitude pruning", ("one-shot",)),
        MethodName("gmp", "GMP", "gradual magnitude pruning from dense weights (Zhu & Gupta, 2017)"),
        MethodName("acdc", "AC/DC", "alternating compressed/decompressed training (Peste et al., 2021)", ("AC-DC",)),
        MethodName("rigl", "RigL", "sparse training that drops by magnitude, grows by gradient (Evci et al., 2020)"),
        MethodName("str", "STR", "soft threshold reparameterisation (Kusupati et al., 2020)"),
        MethodName(
            "lth", "LTH-T", "lottery tickets for transfer: iterative magnitude pruning (Chen et al., 2021)", ("LTH",)
        ),
        MethodName(
            "woodfisher", "WoodFisher", "second-order pruning, block Fisher inverse (Singh & Alistarh, 2020)", ("WF",)
        ),
        MethodName("mfac", "M-FAC", "second-order pruning, matrix-free (Frantar et al., 2021)"),
        MethodName(
            "cram", "CrAM", "compression-aware minimiser, prunable in one shot (Peste et al., 2022)", ("CrAM+",)
        ),
    )
}
"""Known methods by id; a registry may name others."""


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9+]", "", name.lower())


_SPELLINGS = {_plain(s): m.id for m in METHOD_NAMES.values() for s in (m.id, m.title, *m.spellings)}


def method_id(name: str) -> str:
    """Return the id of a method under any of its spellings (``AC/DC`` is ``acdc``).

    An unknown name comes back unchanged.
    """
    return _SPELLINGS.get(_plain(name), name)


def method_title(name: str) -> str:
    """Return a method's name in print."""
    known = METHOD_NAMES.get(name)
    return known.title if known else name
