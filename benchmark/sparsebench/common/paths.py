"""Find folders and files: those at the repository's root, those inside the package, and the user's caches."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]
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


def installed_file(name: str) -> Path:
    """Return the path of ``PACKAGE/NAME`` inside another installed package, found without importing it.

    Looking up ``PACKAGE.SUB`` would import PACKAGE, so that only the first part of a dotted name is looked up, and the
    others are folders in it. Where the package isn't installed, it is where its file would be, beside this package.
    """
    package, _, rest = name.partition("/")
    top, *folders = package.split(".")
    try:
        found = importlib.util.find_spec(top)
        places = list(found.submodule_search_locations or ()) if found else []
    except (ImportError, ValueError):  # not a name of a package
        places = []
    return Path(places[0] if places else _PACKAGE.parent / top).joinpath(*folders, rest)


def cache_dir() -> Path:
    """Return the cache folder: ``$SPARSEBENCH_CACHE``, else the platform's."""
    from platformdirs import user_cache_path

    return _given("SPARSEBENCH_CACHE") or user_cache_path("sparsebench", appauthor=False)


def checkpoints_dir() -> Path:
    """Return the folder of fetched checkpoints: ``$SPARSEBENCH_CHECKPOINTS``, else a folder in the cache."""
    return _given("SPARSEBENCH_CHECKPOINTS") or cache_dir() / "checkpoints"


def datasets_dir() -> Path:
    """Return the folder of data sets where none is named: ``$SPARSEBENCH_DATA``, else a folder in the cache."""
    return _given("SPARSEBENCH_DATA") or cache_dir() / "datasets"


def _given(variable: str) -> Path | None:
    value = os.environ.get(variable, "").strip()
    return Path(value).expanduser().absolute() if value else None
