"""What help says: every option in a group with a few words, nothing that a wheel lacks, common options first."""

from __future__ import annotations

import argparse
import re

import pytest

from sparsebench.cli.options import COMMANDS, GROUPS
from sparsebench.cli.parser import build_parser
from sparsebench.extensions import names

PARSER = build_parser()
(CHOICES,) = (action.choices for action in PARSER._actions if isinstance(action, argparse._SubParsersAction))


def test_the_main_help_lists_every_command_in_a_group_and_an_example() -> None:
    text = PARSER.format_help()
    assert list(CHOICES) == list(COMMANDS)
    for title, commands in GROUPS.items():
        block = text.split(f"{title}:\n")[1].split("\n\n")[0]
        assert [line.split()[0] for line in block.splitlines()] == list(commands)
    (example,) = re.findall(r"example: sparsebench (.+)", text)
    assert PARSER.parse_args(example.split()).command == "run"
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_in_a_group_and_has_a_few_words(name: str) -> None:
    command = CHOICES[name]
    text = command.format_help()
    assert "\noptions:" not in text
    assert "\npositional arguments:" not in text
    assert text.rstrip().splitlines()[-2].split()[0] == "-h,"
    for action in command._actions:
        assert action.help, action.option_strings
        assert len(action.help) <= 160, action.help
        assert not action.help.endswith("."), action.help
    assert not re.search(r"\b(docs|tests|scripts|results/mini)/|\.md\b", text)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_usage_is_one_line_with_what_must_be_given(name: str) -> None:
    first, second = CHOICES[name].format_help().splitlines()[:2]
    assert first.startswith(f"usage: sparsebench {name}")
    assert not second
    for action in CHOICES[name]._actions:
        if action.option_strings and action.required:
            assert action.option_strings[0] in first


def test_common_options_come_first_and_values_are_named_once() -> None:
    text = CHOICES["run"].format_help()
    order = ["--checkpoint, --model ID|FILE ...", "--limit", "--results", "--registry", "--save-weights", "--precision",
             "--cluster"]  # fmt: skip
    places = [text.index(option) for option in order]
    assert places == sorted(places)
    for plural in ("probes", "engines", "executors"):
        assert ", ".join(names(plural)) in re.sub(r"\s+", " ", text)
