"""YAML text to plain values: every node checked, and the line kept that each one is on.

What can be written is YAML 1.2's core: text, whole numbers, finite numbers, true, false, null, lists and mappings with
text keys, anchors and merge keys (``<<``). So ``1e-3`` is a number, and a date, ``yes``, ``010`` or ``2:4`` is text.
"""

from __future__ import annotations

import math
import re
from typing import Any

import yaml

DEEPEST = 50
"""Most levels of lists and mappings inside each other."""

MOST = 1_000_000
"""Most values in a document, each counted as often as aliases repeat it."""

_WIDEST = 2**63
_LONGEST_KEY = 200
_TAG = "tag:yaml.org,2002:"
_NUMBER = r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
_SCALARS = {
    "null": (re.compile(r"~|null|Null|NULL|"), ("~", "n", "N", "")),
    "bool": (re.compile(r"true|True|TRUE|false|False|FALSE"), tuple("tTfF")),
    "int": (re.compile(r"[-+]?(?:0|[1-9][0-9]*)|0o[0-7]+|0x[0-9a-fA-F]+"), tuple("-+0123456789")),
    "float": (re.compile(rf"{_NUMBER}|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"), tuple("-+.0123456789")),
    "merge": (re.compile("<<"), ("<",)),
}
_UNSHOWN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")
"""Control characters, those that end a line or turn its direction, and halves of characters."""


class NodeError(Exception):
    """What a document may not say, its line (from 1), and the keys and indices that lead there."""

    def __init__(self, text: str, line: int | None = None) -> None:
        super().__init__(text)
        self.line = line
        self.path: tuple[str, ...] = ()
        self._text = text

    @property
    def text(self) -> str:
        """What is wrong, in words."""
        return f"field {'.'.join(self.path)}: {self._text}" if self.path else self._text


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """PyYAML's safe loader, in C where it was built with it, with the core's scalars."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's name


for _kind, (_pattern, _first) in _SCALARS.items():
    _whole = re.compile(rf"(?:{_pattern.pattern})\Z")
    for _character in _first:
        _Loader.yaml_implicit_resolvers.setdefault(_character, []).append((_TAG + _kind, _whole))


def compose(text: str) -> yaml.Node | None:
    """Return the root node of a document, or None where it is empty.

    Raises
    ------
    NodeError
        If the text isn't one YAML document, or is too deep.
    """
    if found := _UNSHOWN.search(text):
        raise NodeError(_unshown(found), text.count("\n", 0, found.start()) + 1)
    loader = None
    try:
        loader = _Loader(text)
        return loader.get_single_node()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error).splitlines()[0]
        line = mark.line + 1 if mark else None
        if line is not None and "\t" in "".join(text.splitlines()[line - 1 : line]):
            problem += "; the line holds a tab, and YAML is indented by spaces"
        raise NodeError(str(problem), line) from error
    except RecursionError as error:
        raise NodeError(f"more than {DEEPEST} levels inside each other") from error
    finally:
        if loader is not None:
            loader.dispose()


def value_of(root: yaml.Node) -> Any:
    """Return a node's value; what aliases repeat is one object.

    Raises
    ------
    NodeError
        If a value isn't one that can be written (see the module), there are too many, or one holds itself.
    """
    return _Builder().value(root)


class _Builder:
    def __init__(self) -> None:
        self._done: dict[int, tuple[Any, int, int]] = {}  # by node: value, number of values in it, levels
        self._open: set[int] = set()

    def value(self, node: yaml.Node) -> Any:
        return self._build(node)[0]

    def _build(self, node: yaml.Node) -> tuple[Any, int, int]:
        known = self._done.get(id(node))
        if known is not None:
            return known
        if id(node) in self._open:
            raise NodeError("an alias stands for something that it is inside of", _line(node))
        if len(self._open) >= DEEPEST:
            raise NodeError(f"more than {DEEPEST} levels inside each other", _line(node))
        self._open.add(id(node))
        if isinstance(node, yaml.MappingNode):
            built = self._mapping(node)
        elif isinstance(node, yaml.SequenceNode):
            built = self._sequence(node)
        else:
            built = _scalar(node), 1, 0
        self._open.discard(id(node))
        if built[1] > MOST:
            raise NodeError(f"more than {MOST:,} values, with what aliases repeat", _line(node))
        if built[2] > DEEPEST:
            raise NodeError(f"more than {DEEPEST} levels inside each other", _line(node))
        self._done[id(node)] = built
        return built

    def _below(self, node: yaml.Node, key: str) -> tuple[Any, int, int]:
        try:
            return self._build(node)
        except NodeError as error:
            error.path = (key, *error.path)
            raise

    def _sequence(self, node: yaml.SequenceNode) -> tuple[Any, int, int]:
        _assert_tag(node, "seq")
        items = [self._below(item, str(i)) for i, item in enumerate(node.value)]
        return [value for value, _, _ in items], 1 + sum(n for _, n, _ in items), _above(items)

    def _mapping(self, node: yaml.MappingNode) -> tuple[Any, int, int]:
        _assert_tag(node, "map")
        own: dict[str, Any] = {}
        merged: list[dict[str, Any]] = []
        parts = []
        for key_node, value_node in node.value:
            key = _key(key_node)
            if key in own:
                raise NodeError(f"key {key!r} is given twice", _line(key_node))
            parts.append(self._below(value_node, key))
            if is_merge(key_node):
                merged += _mappings(parts[-1][0], value_node)
            else:
                own[key] = parts[-1][0]
        for below in merged:  # of several, the first has precedence
            own = own | {key: value for key, value in below.items() if key not in own}
        return own, 1 + sum(n + 1 for _, n, _ in parts), _above(parts)


def is_merge(node: yaml.Node) -> bool:
    """Return whether a key is a merge key."""
    return bool(node.tag == f"{_TAG}merge")


def _mappings(value: Any, node: yaml.Node) -> list[dict[str, Any]]:
    several = value if isinstance(value, list) else [value]
    if not all(isinstance(one, dict) for one in several):
        raise NodeError("'<<' takes a mapping, or a list of them", _line(node))
    return several


def _above(parts: list[tuple[Any, int, int]]) -> int:
    return 1 + max((levels for _, _, levels in parts), default=0)


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _assert_tag(node: yaml.Node, kind: str) -> None:
    if node.tag != _TAG + kind:
        raise NodeError(f"the tag {_shown(node.tag)} can't be used", _line(node))


def _shown(tag: str) -> str:
    return "!!" + tag.removeprefix(_TAG) if tag.startswith(_TAG) else tag


def _key(node: yaml.Node) -> str:
    key = _scalar(node) if isinstance(node, yaml.ScalarNode) else None
    if not isinstance(key, str):
        raise NodeError("a key must be plain text: put it in quotes", _line(node))
    if not key.strip() or "\n" in key or "\t" in key or len(key) > _LONGEST_KEY:
        raise NodeError(f"the key {_short(key)} is empty, too long, or has more than one line", _line(node))
    return key


def _scalar(node: yaml.Node) -> str | int | float | bool | None:
    kind, text = node.tag.removeprefix(_TAG), str(node.value)
    if kind in ("str", "merge") and node.tag.startswith(_TAG):
        return _text(text, node)
    if kind not in _SCALARS or not node.tag.startswith(_TAG):
        raise NodeError(f"the tag {_shown(node.tag)} can't be used", _line(node))
    if not _SCALARS[kind][0].fullmatch(text):
        raise NodeError(f"{_short(text)} is no {_shown(node.tag)}", _line(node))
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() == "true"
    return _number(kind, text, node)


def _number(kind: str, text: str, node: yaml.Node) -> int | float:
    if kind == "int" and len(text) <= 24:
        whole = int(text, 0)
        if abs(whole) < _WIDEST:
            return whole
    if kind == "int":
        raise NodeError(f"the number {_short(text)} is too large", _line(node))
    number = float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    if not math.isfinite(number):
        raise NodeError(f"{_short(text)} is no finite number", _line(node))
    return number


def _text(text: str, node: yaml.Node) -> str:
    if found := _UNSHOWN.search(text):
        raise NodeError(_unshown(found), _line(node))
    return text


def _unshown(found: re.Match[str]) -> str:
    return f"the text holds the character U+{ord(found[0]):04X}, which can't be shown"


def _short(text: str) -> str:
    return ascii(text if len(text) <= 30 else f"{text[:27]}...")
