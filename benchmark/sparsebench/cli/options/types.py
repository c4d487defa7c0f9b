"""What a value on the command line is read as; each says what is wrong with a text that is none."""

from __future__ import annotations

import argparse
from pathlib import Path

from ...pruning.schedules import Drops, read_drops


def path(text: str) -> Path:
    """Return a path; ``~`` is the home folder."""
    if not text.strip():
        raise argparse.ArgumentTypeError("the path is empty")
    return Path(text).expanduser()


def results(text: str) -> Path | str:
    """Return where results are: a path, or the word for the paper's, which is no path."""
    return text if text == "published" else path(text)


def name_text(text: str) -> str:
    """Return a name that isn't empty."""
    if not text.strip():
        raise argparse.ArgumentTypeError("the name is empty")
    return text


def whole(text: str, least: int) -> int:
    """Return a whole number that is ``least`` or more."""
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if value < least:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} on")
    return value


def positive(text: str) -> int:
    """Return a whole number from 1 on."""
    return whole(text, 1)


def natural(text: str) -> int:
    """Return a whole number from 0 on."""
    return whole(text, 0)


def seconds(text: str) -> float:
    """Return a number of seconds above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return value


def microbatch(text: str) -> int:
    """Return a number of images that batch norm can take."""
    number = positive(text)
    if number < 2:
        raise argparse.ArgumentTypeError("batch norm needs at least 2 images")
    return number


def pattern(text: str) -> tuple[int, int]:
    """Return N and M of a text N:M."""
    parts = text.split(":")
    if len(parts) != 2 or not all(part.isdigit() for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} is not a pattern N:M, for example 2:4")
    return int(parts[0]), int(parts[1])


def setting(text: str) -> tuple[str, float | str]:
    """Return key and value of a text KEY=VALUE; what is no number stays text."""
    key, _, value = (part.strip() for part in text.partition("="))
    if not key or not value:
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    try:
        return key, float(value)
    except ValueError:
        return key, value


def schedule(text: str) -> Drops:
    """Return the learning rate's schedule that a text describes."""
    try:
        return read_drops(text)
    except ValueError:
        hint = "is not cosine, constant or steps, for example 0.3:0.1,0.7:0.01"
        raise argparse.ArgumentTypeError(f"{text!r} {hint}") from None
