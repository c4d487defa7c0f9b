"""Pages of the reference that the code writes: the command line from its parser, YAML files from their models."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from typing import Any

from sparsebench.api.file_schemas import KINDS, TITLES, file_schema
from sparsebench.cli.options import GROUPS
from sparsebench.cli.parser import build_parser

_STATUS = """## Exit status

| status | meaning |
|---|---|
| 0 | all went well |
| 1 | a run failed, or something that was asked for isn't there |
| 2 | something given can't be used; nothing was run or written |
| 128 + N | ended by signal N: 130 after Ctrl-C, 143 after TERM |
"""


def command_line() -> str:
    """Return the page of the command line: every command with its options, in the groups of the help."""
    (choices,) = (a.choices for a in build_parser()._actions if isinstance(a, argparse._SubParsersAction))
    parts = [
        "# Command line\n",
        "`sparsebench COMMAND --help` shows the same in a terminal. `--version` shows the version.\n",
    ]
    for title, names in GROUPS.items():
        parts.append(
            f"**{title[0].upper()}{title[1:]}:** " + ", ".join(f"[`{n}`](#sparsebench-{n})" for n in names) + "\n"
        )
    parts.append(_STATUS)
    parts += [_command(name, choices[name]) for names in GROUPS.values() for name in names]
    return "\n".join(parts)


def _command(name: str, command: argparse.ArgumentParser) -> str:
    """Return the section of a command."""
    lines = [f"## sparsebench {name}", "", command.description or "", "", "```text", str(command.usage), "```", ""]
    for group in command._action_groups:
        if not group._group_actions:
            continue
        title = str(group.title)
        lines += [f"**{title[0].upper()}{title[1:]}**", ""]
        if group.description:
            lines += [" ".join(cell(group.description).split()), ""]
        lines += ["| option | what it does |", "|---|---|"]
        lines += [f"| {_invocation(action)} | {cell(str(action.help))} |" for action in group._group_actions]
        lines.append("")
    return "\n".join(lines)


def _invocation(action: argparse.Action) -> str:
    """Return an option's spellings and its value, as code."""
    choices = "|".join(map(str, action.choices)) if action.choices else ""
    value = "" if action.nargs == 0 else str(action.metavar or choices or action.dest.upper())
    value += " ..." if value and action.nargs in ("+", "*") else ""
    if not action.option_strings:
        return code(value)
    spellings = ", ".join(code(option) for option in action.option_strings)
    return f"{spellings} {code(value)}" if value else spellings


def yaml_files() -> str:
    """Return the page of the YAML files: every field of each kind, with its type, default and meaning."""
    parts = [
        "# YAML files\n",
        "Every field of the files that you can write. An unknown field is an error that names the file, the line and"
        " the nearest known field.\n",
        "**Completion in an editor.** `sparsebench schema checkpoint > checkpoint.json` writes a JSON schema. Name it"
        " in the first line of a YAML file. Editors with a YAML language server then complete and check its fields:\n",
        "```yaml\n# yaml-language-server: $schema=checkpoint.json\n```\n",
    ]
    for kind in KINDS:
        schema = file_schema(kind)
        models = dict(_models(schema))
        parts.append(f"## {kind[0].upper()}{kind[1:]}\n")
        what = TITLES[kind].removeprefix("sparsebench: ")
        parts.append(f"This is {cell(what)}. JSON schema: [`{kind}.json`](schemas/{kind}.json).\n")
        if "additionalProperties" in schema and isinstance(schema["additionalProperties"], dict):
            parts.append("The file maps names to entries.\n")
        for name, model in models.items():
            if len(models) > 1:
                parts.append(f"### {kind}: {name}\n")
                parts.append(cell(model.get("description", "").partition("\n\n")[0]) + "\n")
            parts.append(_fields(model, kind))
    return "\n".join(parts)


def _models(schema: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Return the models of a schema, the entry's own first."""
    definitions = dict(schema.get("$defs", {}))
    entry = schema.get("additionalProperties")
    own = entry["$ref"].rpartition("/")[2] if isinstance(entry, dict) else None
    yield ("an entry", definitions.pop(own)) if own else ("the file", schema)
    yield from definitions.items()


def _fields(model: Mapping[str, Any], kind: str) -> str:
    """Return the table of a model's fields."""
    lines = ["| field | type | default | what it is |", "|---|---|---|---|"]
    for name, field in model["properties"].items():
        needed = name in model.get("required", ())
        default = "needed" if needed else _value(field.get("default"))
        lines.append(f"| `{name}` | {_type(field, kind)} | {default} | {cell(field.get('description', ''))} |")
    return "\n".join([*lines, ""])


def _value(value: Any) -> str:
    """Return a default as YAML would have it."""
    return "" if value in (None, "", [], {}) else code(value if isinstance(value, str) else json.dumps(value))


_TYPES = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false", "null": "null"}


def _type(field: Mapping[str, Any], kind: str) -> str:
    """Return what may be written for a field, in words."""
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        return f"[{name}](#{kind}-{name.lower()})"
    if "anyOf" in field:
        return " or ".join(dict.fromkeys(_type(part, kind) for part in field["anyOf"] if part.get("type") != "null"))
    if "enum" in field or "const" in field:
        return ", ".join(code(str(choice)) for choice in field.get("enum", [field.get("const")]))
    if field.get("type") == "array":
        inner = field.get("items") or (field.get("prefixItems") or [{}])[0]
        return f"list of {_several(_type(inner, kind))}" if isinstance(inner, dict) and inner else "list"
    if field.get("type") == "object":
        return "mapping"
    return _TYPES.get(str(field.get("type")), "any value") + _range(field)


def _several(kind: str) -> str:
    """Return a type in words as the plural: numbers above 0."""
    return kind.replace("number", "numbers", 1)


def _range(field: Mapping[str, Any]) -> str:
    """Return the range of a number, in words."""
    words = {"exclusiveMinimum": "above", "minimum": "from", "exclusiveMaximum": "below", "maximum": "to"}
    found = [f"{word} {field[name]:g}" for name, word in words.items() if name in field]
    return f" {' '.join(found)}" if found else ""


def code(text: str) -> str:
    """Return text as code in a cell of a Markdown table."""
    return f"`{text.replace('|', '&#124;')}`" if "|" not in text else f"<code>{cell(text)}</code>"


def cell(text: str) -> str:
    """Return text for a cell of a Markdown table; what looks like HTML or a column is escaped."""
    plain = " ".join(text.split()).replace("``", "`")
    return plain.replace("&", "&amp;").replace("<", "&lt;").replace("|", "&#124;").replace("*", r"\*")
