"""Find the files that live at the repository's root: in a checkout beside the source, in a wheel inside the package."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_CHECKOUT = _PACKAGE.parent.parent


def root_file(name: str) -> Path:
    """Return the path of a root file or folder (``checkpoints.yaml``, ``tasks``) of this installation.

    Raises
    ------
    FileNotFoundError
        If neither the installed copy nor a checkout has it.
    """
    for base in (_PACKAGE / "_root", _CHECKOUT):
        if (base / name).exists():
            return base / name
    raise FileNotFoundError(f"{name} is in neither {_PACKAGE / '_root'} nor {_CHECKOUT}: reinstall sparsebench")


def package_file(name: str) -> Path:
    """Return the path of a file inside the package (embedded weights and their logs)."""
    return _PACKAGE / name
