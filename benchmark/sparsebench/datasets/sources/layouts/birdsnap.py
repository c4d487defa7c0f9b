"""Birdsnap: class folders ``train/<class>/`` and ``test/<class>/`` alone, as the paper's re-split has it."""

from __future__ import annotations

from .base import Layout

BIRDSNAP = Layout(
    folders=("birdsnap",),
    needs=(),
    read=None,
    obtain="the paper's re-split (32,677 and 8,171 images) is hosted nowhere: robust-models-transfer's link is dead,"
    " and the original is a list of links, many of them dead; Hugging Face mteb/birdsnap has another split, with a"
    " damaged training image (3854), for which a task of your own is needed; images go to"
    " DIR/birdsnap/train/<class>/ and test/<class>/",
)
