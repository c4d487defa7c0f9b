"""What a sparsity, a distribution and an N:M pattern may be."""

from __future__ import annotations

from collections.abc import Sequence

from ..schema import InputError

DISTRIBUTIONS = ("global", "uniform", "erk", "nm")


def check_sparsity(sparsity: float) -> None:
    """Raise :class:`InputError` unless ``0 <= sparsity < 1``."""
    if not 0.0 <= sparsity < 1.0:
        raise InputError(f"impossible sparsity {sparsity!r}", "a sparsity is a fraction from 0 up to, but not, 1")


def check_pattern(distribution: str, nm: tuple[int, int] | None, sparsities: Sequence[float]) -> None:
    """Raise :class:`InputError` unless an N:M pattern is given where it is needed, and has the sparsities wanted."""
    if (distribution == "nm") != (nm is not None):
        raise InputError("distribution nm and an N:M pattern go together", "give both, for example --nm 2:4")
    if nm is None:
        return
    n, m = nm
    check_nm(n, m)
    for sparsity in sparsities:
        if abs(sparsity - (1 - n / m)) > 1e-6:
            raise InputError(f"{n}:{m} can't have sparsity {sparsity:g}", f"its sparsity is {1 - n / m:g}")


def check_nm(n: int, m: int) -> None:
    """Raise :class:`InputError` unless ``0 < n < m``."""
    if not 0 < n < m:
        raise InputError(f"{n}:{m} is not a pattern", "give N:M with 0 < N < M, for example 2:4")
