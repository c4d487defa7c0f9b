"""What stands for objects of a training run in a pickle: they keep what the file says, and run nothing.

Beside its tensors a file may name any class: of its optimizer, a path, a date, an array. ``torch.load`` with
``weights_only=True`` refuses them all, unless a name is given something harmless to stand for it. That is
:class:`Placeholder`. Names that only a file meaning harm has are not given any, so that such a file is still refused.
"""

from __future__ import annotations

import _compat_pickle
import pickletools
from collections.abc import Iterator
from typing import Any, BinaryIO

from torch._utils import IMPORT_MAPPING, NAME_MAPPING

_HARMFUL = frozenset(
    {"os", "posix", "nt", "sys", "subprocess", "shutil", "socket", "pty", "runpy", "importlib", "ctypes", "pickle"}
    | {"_pickle", "code", "codeop", "webbrowser", "urllib", "http", "ftplib", "smtplib", "multiprocessing", "signal"}
)
_HARMFUL_BUILTINS = frozenset({"eval", "exec", "compile", "open", "__import__", "input", "breakpoint", "exit", "quit"})


class _LikeAnyContainer(type):
    """Lets torch put the items of a dictionary into a placeholder: a pickled class may be one of a dictionary."""

    def __eq__(cls, other: object) -> bool:
        return cls is other or other is dict

    __hash__ = type.__hash__


class Placeholder(list[Any], metaclass=_LikeAnyContainer):
    """Stands for an object of any class: made from anything, does nothing, keeps what it was given.

    A pickle makes an object from arguments, then appends to it, sets its items, or gives it a state, as the class is a
    list's, a dictionary's or another one. ``state`` is what its attributes would be, ``items_set`` its dictionary.
    """

    def __new__(cls, *args: object, **kwargs: object) -> Placeholder:
        """Make one from anything."""
        made: Placeholder = super().__new__(cls)
        made.arguments = args
        made.state = None
        made.items_set = {}
        return made

    arguments: tuple[object, ...]
    state: Any
    items_set: dict[Any, Any]

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__()

    def __setstate__(self, state: object) -> None:
        self.state = state[0] if isinstance(state, tuple) and len(state) == 2 else state

    def __setitem__(self, key: Any, value: Any) -> None:
        self.items_set[key] = value

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:  # type: ignore[override]
        return id(self)

    def __repr__(self) -> str:
        return "<an object>"


def names_in(stream: BinaryIO, pickles: int) -> Iterator[str]:
    """Yield the full names of classes and functions in pickles that follow each other; nothing is built.

    Names of Python 2 come as Python 3's, as unpickling reads them.

    Raises
    ------
    ValueError
        If the bytes are no pickle.
    """
    for _ in range(pickles):
        for opcode, argument, _ in pickletools.genops(stream):
            if opcode.name == "GLOBAL" and isinstance(argument, str):
                module, _, name = argument.partition(" ")
                module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
                yield f"{module}.{name}"


def is_harmful(name: str) -> bool:
    """Return whether a name is one that no training run leaves in a file, and an attack would."""
    module, _, leaf = name.partition(".")
    module = _compat_pickle.IMPORT_MAPPING.get(module, module).partition(".")[0]  # Python 2 calls some otherwise
    return module in _HARMFUL or (module == "builtins" and leaf in _HARMFUL_BUILTINS)
