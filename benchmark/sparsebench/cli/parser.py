"""The command line's parser: its commands, and how it words mistakes; nothing here imports torch."""

from __future__ import annotations

import argparse
import importlib
import re
from collections.abc import Sequence
from typing import NoReturn

from ..common.version import __version__
from ..schema.errors import nearest
from .helping import Formatter, listing, usage
from .options import COMMANDS, GROUPS


class Parser(argparse.ArgumentParser):
    """A parser whose mistakes are one line: what was wrong, what is near, where the help is."""

    def error(self, message: str) -> NoReturn:
        """End with status 2 and one line."""
        hint = f"see {self.prog} --help"
        unknown = re.match(r"unrecognized arguments: ([^\s=]+)", message)
        options = build_parser()._every_option() if unknown else {}
        if unknown and unknown.group(1) in options:
            hint = f"it belongs to {' and '.join(options[unknown.group(1)])}"
        elif unknown and (near := nearest(unknown.group(1), options)):
            hint = f"did you mean {' or '.join(near)}?"
        elif choice := re.match(r"(argument \S+: invalid choice: '([^']*)') \(choose from (.*)\)", message):
            message, near = choice.group(1), nearest(choice.group(2), re.findall(r"'([^']*)'", choice.group(3)))
            hint = f"did you mean {' or '.join(near)}?" if near else f"there are: {choice.group(3)}"
        self.exit(2, f"error: {message}; {hint}\n")

    def _every_option(self) -> dict[str, list[str]]:
        """Return the long options of this parser and of its commands, and who has them."""
        found: dict[str, list[str]] = {}
        for action in self._actions:
            for option in action.option_strings:
                if option.startswith("--"):
                    found.setdefault(option, []).append(self.prog)
            if isinstance(action, argparse._SubParsersAction):
                for command in action.choices.values():
                    for option, owners in command._every_option().items():
                        found.setdefault(option, []).extend(owners)
        return dict(sorted(found.items()))


EXAMPLE = "sparsebench run --method acdc --sparsity 0.9"


def build_parser(alone: str | None = None) -> Parser:
    """Return the parser of ``sparsebench``, or one that knows a single command, which is quicker to make."""
    parser = Parser(prog="sparsebench", formatter_class=Formatter, add_help=False, allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, help=argparse.SUPPRESS)
    for name in COMMANDS if alone is None else (alone,):
        importlib.import_module(f".options.{name.replace('-', '_')}", __package__).add(commands)
    for command in commands.choices.values():
        last = command.add_argument_group("other")
        last.add_argument("-h", "--help", action="help", help="show this help")
        last.add_argument("--debug", action="store_true", help="show where an error arose, in full")
        command.usage = usage(command)
    parser.usage = "sparsebench COMMAND [OPTION ...]"
    last = parser.add_argument_group("other")
    last.add_argument("-h", "--help", action="help", help="show this help")
    last.add_argument("--version", action="version", version=f"sparsebench {__version__}", help="show the version")
    if alone is None:
        summaries = {action.dest: action.help or "" for action in commands._choices_actions}
        groups = {title: {name: summaries[name] for name in names} for title, names in GROUPS.items()}
        parser.description = f"How well does a pruned ImageNet backbone transfer?\n\n{listing(groups)}"
        parser.epilog = (
            f"example: {EXAMPLE}\n"
            "  shows how AC/DC's 90 % sparse network does on the embedded tasks, beside its dense reference\n\n"
            "`sparsebench COMMAND --help` shows a command's options."
        )
    return parser


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Return the arguments of a command line, or end with status 2 and one line."""
    return build_parser(argv[0] if argv and argv[0] in COMMANDS else None).parse_args(argv)
