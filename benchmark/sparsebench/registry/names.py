"""The names of methods, their variants and the published tasks, and the one table from published spellings to them.

Methods declare their names themselves (:mod:`sparsebench.pruning.methods`, imported when first asked for).
"""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module


@dataclass(frozen=True)
class MethodName:
    """A method's id, its name in print, what it is, other spellings in use, and how it is drawn."""

    id: str
    title: str
    summary: str
    spellings: tuple[str, ...] = ()
    colour: str = ""
    marker: str = ""


@cache
def method_names() -> Mapping[str, MethodName]:
    """Return the names of the known methods by id, as the methods declare them; a registry may name others."""
    declared = import_module("sparsebench.pruning.methods").methods()
    return {
        m.name: MethodName(m.name, m.title or m.name, m.summary, m.spellings, m.colour, m.marker)
        for m in declared.values()
    }


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9+]", "", name.lower())


@cache
def _spellings() -> Mapping[str, str]:
    return {_plain(s): m.id for m in method_names().values() for s in (m.id, m.title, *m.spellings)}


_VARIANTS: dict[str, str] = {
    "erk_1x": "ERK 1x",
    "erk_5x": "ERK 5x",
    "repeat_1": "repeat 1",  # MobileNetV1 STR at 75 %, published twice: two models
    "repeat_2": "repeat 2",
}
"""Published variants by id, as they follow the method's name in print (``RigL ERK 5x``)."""

_TASKS: dict[str, tuple[str, ...]] = {
    "aircraft": ("FGVC-Aircraft",),
    "birdsnap": ("birds",),
    "caltech101": ("Caltech-101",),
    "caltech256": ("Caltech-256",),
    "cars": ("Stanford Cars",),
    "cifar10": ("CIFAR-10",),
    "cifar100": ("CIFAR-100",),
    "dtd": ("Describable Textures",),
    "flowers102": ("flowers", "Oxford 102 Flowers"),
    "food101": ("Food-101",),
    "pets": ("Oxford-IIIT Pets",),
    "sun397": ("SUN",),
}
"""The published tasks by id, with other spellings in use."""

_TASK_SPELLINGS = {_plain(s): task for task, spellings in _TASKS.items() for s in (task, *spellings)}


def method_id(name: str) -> str:
    """Return the id of a method under any of its spellings (``AC/DC`` is ``acdc``).

    An unknown name comes back unchanged.
    """
    return _spellings().get(_plain(name), name)


def method_title(name: str) -> str:
    """Return a method's name in print."""
    known = method_names().get(name)
    return known.title if known else name


def method_and_variant(name: str) -> tuple[str, str]:
    """Return the ids of a method and its variant (empty for none) under a spelling (``RigL ERK 5x``: rigl, erk_5x).

    A name that is none of a known method, with or without a known variant, comes back unchanged.
    """
    known = _spellings().get(_plain(name))
    if known:
        return known, ""
    for variant, title in _VARIANTS.items():
        stem = _plain(name).removesuffix(_plain(title))
        if stem != _plain(name) and stem in _spellings():
            return _spellings()[stem], variant
    return name, ""


def variant_title(variant: str) -> str:
    """Return a variant's name in print: a published one's own spelling, else the id with spaces."""
    return _VARIANTS.get(variant, variant.replace("_", " "))


def task_id(name: str) -> str:
    """Return the id of a published task under any of its spellings (``SUN`` is ``sun397``); others are unchanged."""
    return _TASK_SPELLINGS.get(_plain(name), name)


def plain_id(name: str, otherwise: str) -> str:
    """Return the id of what is called ``name``: its ASCII letters, digits and ``._+-``, the rest as hyphens.

    Letters with accents lose them, and six digits of a hash of the whole name follow where it has characters that
    aren't ASCII: so ``fotos-ä`` and ``fotos-ö`` have different ids.

    Parameters
    ----------
    name : str
        The name of a file or folder.
    otherwise : str
        What takes the name's place if it has no such character.
    """
    whole = unicodedata.normalize("NFC", name)
    letters = (c for c in unicodedata.normalize("NFKD", whole) if not unicodedata.combining(c))
    plain = re.sub(r"[^A-Za-z0-9_.+-]+", "-", "".join(letters)).lstrip("-._+")
    if whole.isascii():
        return plain or otherwise
    return f"{plain.rstrip('-._+') or otherwise}-{hashlib.sha256(os.fsencode(whole)).hexdigest()[:6]}"
