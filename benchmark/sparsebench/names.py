"""The names of methods, their variants and the published tasks, and the one table from published spellings to them."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
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
    return _SPELLINGS.get(_plain(name), name)


def method_title(name: str) -> str:
    """Return a method's name in print."""
    known = METHOD_NAMES.get(name)
    return known.title if known else name


def method_and_variant(name: str) -> tuple[str, str]:
    """Return the ids of a method and its variant (empty for none) under a spelling (``RigL ERK 5x``: rigl, erk_5x).

    A name that is none of a known method, with or without a known variant, comes back unchanged.
    """
    known = _SPELLINGS.get(_plain(name))
    if known:
        return known, ""
    for variant, title in _VARIANTS.items():
        stem = _plain(name).removesuffix(_plain(title))
        if stem != _plain(name) and stem in _SPELLINGS:
            return _SPELLINGS[stem], variant
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
