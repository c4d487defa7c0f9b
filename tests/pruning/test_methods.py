"""The interface that all methods share."""

from __future__ import annotations

from pathlib import Path

import pytest
from smallnet import pruned, small_state, train

from sparsebench.pruning.base import PruningMethod
from sparsebench.pruning.methods import get_method, methods
from sparsebench.pruning.methods.acdc import ACDC
from sparsebench.pruning.methods.gmp import GMP
from sparsebench.pruning.methods.magnitude import Magnitude
from sparsebench.pruning.methods.rigl import RigL
from sparsebench.pruning.methods.soft_threshold import STR
from sparsebench.registry.names import method_names
from sparsebench.schema import InputError, UnknownNameError


def test_methods_are_registered_under_their_names() -> None:
    assert list(methods()) == list(method_names())
    assert all(method.name == name for name, method in methods().items())
    assert get_method("AC/DC") is ACDC
    with pytest.raises(UnknownNameError, match="did you mean acdc"):
        get_method("acd")


@pytest.mark.parametrize("method", [m for m in methods().values() if m.name != "dense"])
@pytest.mark.parametrize("distribution", ["global", "uniform", "erk", "nm", "learned"])
def test_every_method_meets_every_distribution_that_it_offers(method: type[PruningMethod], distribution: str) -> None:
    nm = (2, 4) if distribution == "nm" else None
    sparsity = 0.5 if nm else 0.75
    if distribution not in method.distributions:
        with pytest.raises(InputError, match=f"method {method.name} can't make distribution '{distribution}'"):
            method(sparsity, distribution, nm)
        return
    quick = {"gradient_count": 4.0, "prunings": 3.0} if "gradient_count" in method.settings_model.model_fields else {}
    chosen = method(sparsity, distribution, nm, **quick)
    state = small_state(chosen, 60 if method.trains() else 0)
    train(chosen, state)
    sparse = [r for r in chosen.results(state) if r.sparsity > 0]
    assert [r.sparsity for r in sparse] == [sparsity]
    assert pruned(dict(sparse[0].masks)) == round(sparsity * 192)
    for name, mask in sparse[0].masks.items():
        weight = sparse[0].state[name]
        assert not weight[~mask].any()
        if distribution == "uniform":
            assert int((~mask).sum()) == round(sparsity * mask.numel())
        if nm:
            assert bool((mask.view(mask.shape[0], -1, 4).sum(2) == 2).all())


def test_what_a_method_cannot_do_is_refused() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown setting of rigl 'alhpa' .did you mean alpha"):
        RigL(0.9, alhpa=0.2)
    for value in (-1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="is not a setting of rigl"):
            RigL(0.9, alpha=value)
    with pytest.raises(InputError, match=r"prunings=2\.5 is not a setting of gmp"):
        GMP(0.9, prunings=2.5)
    with pytest.raises(InputError, match="acdc makes one sparsity per training"):
        ACDC(0.9, also=(0.8,))
    with pytest.raises(InputError, match="impossible sparsity"):
        Magnitude(0.9, also=(1.0,))
    with pytest.raises(InputError, match=r"2:4 can't have sparsity 0\.9"):
        ACDC(0.9, "nm", (2, 4))
    assert RigL(0.9, alpha=0.2).chosen_settings() == {"alpha": 0.2, "updates": 120, "end": 0.75, "anneal": "cosine"}
    assert STR(0.9).distribution == "learned"


OWN = """
from sparsebench.pruning.methods.gmp import GMP

class Own(GMP):
    name = "own"
"""


def test_a_method_of_ones_own_is_one_file(tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text(OWN)
    method = get_method(str(path))
    assert method.name == "own"
    chosen = method(0.8)
    assert pruned(train(chosen, small_state(chosen))[-1].masks) == round(0.8 * 192)
    assert "own" not in methods()  # a file changes nothing for others
    with pytest.raises(UnknownNameError):
        get_method("own")
    path.write_text(OWN.replace("GMP", "RigL").replace("gmp", "rigl"))
    assert get_method(str(path)).start == "scratch"  # the file as it is now


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "there is no file"),
        ("", "declares 0 pruning methods"),
        (OWN + OWN.replace("Own", "Other").replace('"own"', '"other"'), "declares 2 pruning methods"),
        (OWN.replace('"own"', '"AC/DC"'), "the name 'AC/DC' is taken"),
        ("import nothing_of_that_name", "can't be run: ModuleNotFoundError"),
        ("def", "can't be run: SyntaxError"),
    ],
)
def test_a_file_that_is_no_method_is_refused(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "own.py"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=message):
        get_method(str(path))
    assert "own" not in methods()


@pytest.mark.parametrize(
    ("method", "key", "value"),
    [
        ("acdc", "phase", 0),
        ("acdc", "last_sparse", 1),
        ("gmp", "prunings", 0),
        ("gmp", "end", 1.5),
        ("str", "every", 0),
        ("rigl", "end", 0),
        ("rigl", "alpha", 5),
        ("woodfisher", "block", 0),
        ("woodfisher", "gradient_batch", 0),
        ("mfac", "recomputations", 0),
    ],
)
def test_a_setting_out_of_its_bounds_is_refused(method: str, key: str, value: float) -> None:
    with pytest.raises(InputError, match=f"{key}={value:g} is not a setting of {method} .it is a .*number from "):
        methods()[method](0.5, None, None, (), **{key: value})


def test_points_of_a_schedule_out_of_order_are_refused() -> None:
    with pytest.raises(InputError, match=r"start=0\.7, end=0\.6 are no schedule of gmp"):
        GMP(0.9, start=0.7)
    with pytest.raises(InputError, match="are no schedule of acdc"):
        ACDC(0.9, last_dense=0.95)
