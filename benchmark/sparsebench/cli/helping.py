"""How help is laid out: a short usage line, each option once with its value, and groups in the order of their use."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

_COLUMN = 30


class Formatter(argparse.RawDescriptionHelpFormatter):
    """Names an option's value once, whatever its spellings, and says with ``...`` that it takes several."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=_COLUMN)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings:
            return super()._format_action_invocation(action)
        names = ", ".join(action.option_strings)
        if action.nargs == 0:
            return names
        value = str(action.metavar or (_choices(action) or action.dest.upper()))
        return f"{names} {value}{' ...' if action.nargs in ('+', '*') else ''}"


def _choices(action: argparse.Action) -> str:
    return "|".join(map(str, action.choices)) if action.choices else ""


def usage(command: argparse.ArgumentParser) -> str:
    """Return a usage line that names what must be given, and no more."""
    words = [command.prog]
    for action in command._actions:
        if action.option_strings and action.required:
            words.append(f"{action.option_strings[0]} {action.metavar}")
        elif not action.option_strings:
            name = str(action.metavar or _choices(action))
            words.append({"+": f"{name} ...", "*": f"[{name} ...]"}.get(str(action.nargs), name))
    return " ".join([*words, "[OPTION ...]"])


def listing(groups: Mapping[str, Mapping[str, str]]) -> str:
    """Return commands and what they do, as the main help lists them, by group."""
    width = max(len(name) for commands in groups.values() for name in commands)
    blocks = [
        "\n".join([f"{title}:", *(f"  {name.ljust(width)}  {text}" for name, text in commands.items())])
        for title, commands in groups.items()
    ]
    return "\n\n".join(blocks)
