"""Whether the network may be used without being asked for it."""

from __future__ import annotations

import os

_YES, _NO = {"1", "true", "yes", "on"}, {"0", "false", "no", "off"}


def offline_reason(flag: bool = False) -> str | None:
    """Return what forbids fetching missing files on the way, or None.

    Parameters
    ----------
    flag : bool
        Whether ``--offline`` was given.

    Returns
    -------
    str or None
        ``--offline``, ``SPARSEBENCH_OFFLINE`` or ``HF_HUB_OFFLINE``; SPARSEBENCH_OFFLINE=0 overrules the latter.
    """
    if flag:
        return "--offline"
    if own := network_forbidden():
        return own
    if _value("SPARSEBENCH_OFFLINE") not in _NO and hub_is_offline():
        return f"HF_HUB_OFFLINE={_value('HF_HUB_OFFLINE')}"
    return None


def network_forbidden() -> str | None:
    """Return what forbids the network even where fetching is asked for: ``SPARSEBENCH_OFFLINE``."""
    value = _value("SPARSEBENCH_OFFLINE")
    return f"SPARSEBENCH_OFFLINE={value}" if value in _YES else None


def hub_is_offline() -> bool:
    """Return whether ``HF_HUB_OFFLINE`` forbids the Hugging Face Hub."""
    return _value("HF_HUB_OFFLINE") in _YES


def _value(variable: str) -> str:
    return os.environ.get(variable, "").strip().lower()
