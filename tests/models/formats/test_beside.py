"""Masks beside unmasked weights are applied, or the file is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from files import assert_is, loaded, saved, small_state

from sparsebench.schema import CheckpointError

STATE = small_state()
MASKS = {name: value != 0 for name, value in STATE.items() if value.ndim == 4}
UNMASKED = {name: torch.where(MASKS[name], v, 0.5) if name in MASKS else v for name, v in STATE.items()}


def layer(name: str) -> str:
    return name.removesuffix(".weight")


@pytest.mark.parametrize(
    "content",
    [
        {"state_dict": UNMASKED, "masks": MASKS},
        {"state_dict": UNMASKED, "mask": {layer(n): m.float() for n, m in MASKS.items()}},
        {
            "state_dict": {f"model.{n}": v for n, v in UNMASKED.items()},
            "masks": {f"module.{n}": m for n, m in MASKS.items()},
        },
        {"state_dict": UNMASKED, "masks": list(MASKS.values())},
        {"state_dict": UNMASKED, "mask": torch.cat([m.flatten() for m in MASKS.values()])},
        {**UNMASKED, **{f"{layer(n)}.mask": m.float() for n, m in MASKS.items()}},
        {**UNMASKED, **{f"{n}_mask": m for n, m in MASKS.items()}},
        {**UNMASKED, **{f"{layer(n)}.pruning_mask": m for n, m in MASKS.items()}},
        {"state_dict": UNMASKED, "masking": {"masks": MASKS, "density": 0.2, "name2zeros": {"stem": 3}}},
        {"state_dict": UNMASKED, "masks": {n: m.to(torch.bfloat16) for n, m in MASKS.items()}},
    ],
)
def test_masks_beside_weights_are_applied(tmp_path: Path, content: Any) -> None:
    backbone = loaded(saved(tmp_path / "m.pth", content), head=True)
    assert_is(backbone, STATE)
    assert backbone.info.mask_source == "file"
    assert all(torch.equal(backbone.masks[name], mask) for name, mask in MASKS.items())


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        ({"masks": {"elsewhere": torch.ones(3)}}, "that aren't of its weights: elsewhere"),
        ({"mask": torch.ones(17)}, "17 numbers of a mask under mask, but not which weights"),
        ({"masks": {n: torch.rand(m.shape) for n, m in MASKS.items()}}, "is not a mask"),
        ({"masks": {n: m[:1] for n, m in MASKS.items()}}, "for a weight of shape"),
        ({"masks": {n: m & False for n, m in MASKS.items()}}, "keeps nothing"),
        ({"masks": MASKS, "mask": {n: ~m for n, m in MASKS.items()}}, "two masks of"),
    ],
)
def test_masks_that_cannot_be_applied_are_named(tmp_path: Path, masks: dict[str, Any], message: str) -> None:
    saved(tmp_path / "m.pth", {"state_dict": UNMASKED, **masks})
    with pytest.raises(CheckpointError, match=message):
        loaded(tmp_path / "m.pth")


def test_a_mask_may_prune_a_whole_layer_but_not_all(tmp_path: Path) -> None:
    first, *others = MASKS
    masks = {**MASKS, first: MASKS[first] & False}
    backbone = loaded(saved(tmp_path / "m.pth", {"state_dict": UNMASKED, "masks": masks}), head=True)
    assert not backbone.masks[first].any()
    assert not backbone.module.get_parameter(first).any()
    assert all(torch.equal(backbone.masks[name], MASKS[name]) for name in others)


def test_settings_that_speak_of_masks_are_none(tmp_path: Path) -> None:
    saved(tmp_path / "m.pth", {"state_dict": STATE, "mask_ratio": 0.5, "masks": {}, "mask_type": "l1", "masking": None})
    assert_is(loaded(tmp_path / "m.pth", head=True), STATE)


def test_scores_of_single_weights_keep_the_largest_magnitudes(tmp_path: Path) -> None:
    from sparsebench.models.formats import read_checkpoint

    scores = torch.tensor([[0.1, -0.9, 0.3], [-0.2, 0.8, 0.05]])
    saved(tmp_path / "m.pth", {"a.weight": torch.ones(2, 3), "a.scores": scores})
    raw = read_checkpoint(tmp_path / "m.pth", sparsity=0.5)
    assert raw.format == "hidden"
    assert raw.state["a.weight"].tolist() == [[0, 1, 1], [0, 1, 0]]
    with pytest.raises(CheckpointError, match="doesn't say how sparse"):
        read_checkpoint(tmp_path / "m.pth")
