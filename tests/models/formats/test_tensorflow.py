"""TensorFlow checkpoints are read without TensorFlow; ``tensorflow/`` holds one that TensorFlow 2.15 wrote.

It has ``a/weights`` (2, 3), ``a/mask`` of ones, ``b`` (4) in half precision, an empty tensor, ``global_step`` 7, and
``layer_with_a_long_name_<k>/weights`` of ``k % 5 + 1`` values for 150 values of ``k``.
"""

from __future__ import annotations

import contextlib
import tarfile
from pathlib import Path

import pytest
import torch
from reference import FORWARD, images, random_state
from torch import Tensor

import sparsebench
from sparsebench.models.formats import rigl_tensorflow
from sparsebench.models.formats.tensorflow_bundle import read_bundle
from sparsebench.schema import CheckpointError

WRITTEN = Path(__file__).parent / "tensorflow" / "model.ckpt-7.index"


def pack(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).write_bytes(content)
    with tarfile.open(folder / "s90.tar.gz", "w:gz") as archive:
        for name in files:
            archive.add(folder / name, f"s90/{name}")
    return folder / "s90.tar.gz"


def written() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in WRITTEN.parent.iterdir()}


def test_a_checkpoint_that_tensorflow_wrote(tmp_path: Path) -> None:
    tensors = read_bundle(WRITTEN)
    assert len(tensors) == 155
    assert list(tensors) == sorted(tensors)
    assert int(tensors["global_step"]) == 7
    assert tensors["a/weights"].shape == (2, 3)
    assert torch.equal(tensors["a/mask"], torch.ones(2, 3))
    assert tensors["b"].dtype == torch.float16
    assert tensors["empty"].shape == (0, 2)
    for k in range(150):
        assert tensors[f"layer_with_a_long_name_{k:03d}/weights"].shape == (k % 5 + 1,)
    again = read_bundle(pack(tmp_path, written()))
    assert all(torch.equal(again[name], value) for name, value in tensors.items())


def test_damage_is_noticed_wherever_it_is(tmp_path: Path) -> None:
    for name in written():
        content = written()[name]
        for at in range(0, len(content), max(1, len(content) // 40)):
            flipped = bytearray(content)
            flipped[at] ^= 0x10
            folder = tmp_path / f"{name}.{at}"
            folder.mkdir()
            for other, whole in written().items():
                (folder / other).write_bytes(bytes(flipped) if other == name else whole)
            with contextlib.suppress(CheckpointError):  # else the bit was in padding, or between tensors
                read = read_bundle(folder / WRITTEN.name)
                assert all(torch.equal(read[key], value) for key, value in read_bundle(WRITTEN).items())


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_truncated_archives_and_files(tmp_path: Path, share: float) -> None:
    archive = pack(tmp_path, written())
    archive.write_bytes(archive.read_bytes()[: max(3, int(share * archive.stat().st_size))])
    with pytest.raises(CheckpointError):
        read_bundle(archive)
    for name in written():
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content[: int(share * len(content))])
        with pytest.raises(CheckpointError, match="truncated or corrupted"):
            read_bundle(tmp_path / WRITTEN.name)
        (tmp_path / name).write_bytes(content)


def test_archives_without_a_checkpoint_or_a_part_of_it(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no \.index file among its 1 files"):
        read_bundle(pack(tmp_path, {"readme.txt": b"hello"}))
    with pytest.raises(CheckpointError, match=r"lacks s90/model\.ckpt-7\.data-00000-of-00001"):
        read_bundle(pack(tmp_path, {WRITTEN.name: WRITTEN.read_bytes()}))


def as_tensorflow(state: dict[str, Tensor], masks: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return RigL's TensorFlow variables of a converted state dict."""
    result: dict[str, Tensor] = {"global_step": torch.tensor(3)}
    convolutions = [name.removesuffix(".conv.weight") for name in state if name.endswith(".conv.weight")]
    convolutions.sort(key=lambda name: (name != "initial_conv", name.replace("shortcut", "conv0")))
    for number, name in enumerate(convolutions):
        scope = name
        if name != "initial_conv":
            stage, _, block, layer = name.split(".")
            stage = stage[-1]
            kind = "projection" if layer == "shortcut" else layer[-1]
            group = f"block_group_projection_block_group{stage}" if block == "0" else f"block_group{stage}_{block}_1"
            scope = f"bottleneck_{kind}_{group}"
        at = f"resnet_model/{scope}"
        result[f"{at}/weights"] = state[f"{name}.conv.weight"].permute(2, 3, 1, 0)
        result[f"{at}/mask"] = masks[f"{name}.conv.weight"].permute(2, 3, 1, 0).float()
        result[f"{at}/threshold"] = torch.zeros(())
        norm = f"resnet_model/batch_normalization{f'_{number}' if number else ''}"
        theirs = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
        result |= {f"{norm}/{tf}": state[f"{name}.bn.{ours}"] for tf, ours in theirs.items()}
    result["resnet_model/final_dense/weights"] = state["fc.weight"].T
    result["resnet_model/final_dense/mask"] = masks["fc.weight"].T.float()
    result["resnet_model/final_dense/biases"] = state["fc.bias"]
    return result


def test_rigls_resnet50_by_its_tensorflow_names(tmp_path: Path) -> None:
    from sparsebench.models import backbones

    state = random_state("resnet50_rigl.plain")
    generator = torch.Generator().manual_seed(5)
    masks = {
        name: torch.rand(value.shape, generator=generator) < 0.2 for name, value in state.items() if value.ndim > 1
    }
    raw = rigl_tensorflow.convert(as_tensorflow(state, masks))
    network = backbones.build(backbones.find(str(raw.meta["arch"]))[0], 1000).eval()
    assert not network.load_state_dict(raw.state, strict=False).unexpected_keys
    effective = {name: value * masks[name] if name in masks else value for name, value in state.items()}
    with torch.inference_mode():
        theirs = FORWARD["resnet50_rigl"](effective, images())
        torch.testing.assert_close(network(images()), theirs, rtol=1e-5, atol=1e-5 * float(theirs.abs().max()))
    assert raw.masks is not None
    assert len(raw.masks) == 54
    assert "resnet_model/initial_conv/threshold" in raw.unused


def test_another_tensorflow_network_is_named_as_such() -> None:
    with pytest.raises(CheckpointError, match="no resnet_model/initial_conv/weights"):
        rigl_tensorflow.convert(read_bundle(WRITTEN))


def test_a_checkpoint_of_another_network_says_where_it_lies(tmp_path: Path) -> None:
    archive = pack(tmp_path, written())
    with pytest.raises(CheckpointError, match=r"s90\.tar\.gz"):
        sparsebench.load(archive)


def test_rigls_mobilenet_by_its_tensorflow_names() -> None:
    state = random_state("mobilenet.plain")
    pointwise = [name for name, value in state.items() if value.ndim == 4 and value.shape[2:] == (1, 1)]
    generator = torch.Generator().manual_seed(5)
    masks = {name: torch.rand(state[name].shape, generator=generator) < 0.2 for name in pointwise}
    tensors: dict[str, Tensor] = {}
    convolutions = [name for name, value in state.items() if value.ndim == 4]
    for number, name in enumerate(convolutions):
        block = int(name.split(".")[1])
        weight = state[name]
        if number == 0:
            tensors["resnet_model/initial_conv/kernel"] = weight.permute(2, 3, 1, 0)
        elif name in masks:
            at = f"resnet_model/contraction_1x1_{block - 1}"
            tensors |= {
                f"{at}/weights": weight.permute(2, 3, 1, 0),
                f"{at}/mask": masks[name].permute(2, 3, 1, 0).float(),
            }
        else:
            tensors[f"resnet_model/depthwise_nxn_{block - 1}/depthwise_weights"] = weight.permute(2, 3, 0, 1)
        scope, index, place = f"batch_normalization{f'_{number}' if number else ''}", *name.split(".")[1:3]
        norm = f"model.{index}.{int(place) + 1}"
        theirs = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
        tensors |= {f"resnet_model/{scope}/{tf}": state[f"{norm}.{ours}"] for tf, ours in theirs.items()}
    tensors |= {
        "resnet_model/final_dense/kernel": state["fc.weight"].T,
        "resnet_model/final_dense/bias": state["fc.bias"],
    }
    raw = rigl_tensorflow.convert(tensors)
    assert raw.meta["arch"] == "mobilenet_v1"
    assert raw.masks is not None
    assert set(raw.masks) == set(pointwise)
    for name, value in state.items():
        if not name.endswith("num_batches_tracked"):
            assert torch.equal(raw.state[name], value * masks[name] if name in masks else value), name
    assert raw.unused == ()
