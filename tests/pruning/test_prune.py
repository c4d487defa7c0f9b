from __future__ import annotations

import csv
import dataclasses
import json
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import sparsebench
from sparsebench.common.files import sha256_file
from sparsebench.models import backbones, masks
from sparsebench.models.formats import RawCheckpoint, read_checkpoint
from sparsebench.pruning.initial import Initial
from sparsebench.pruning.methods import get_method, methods
from sparsebench.pruning.methods.acdc import ACDC
from sparsebench.pruning.prune import Pruned, Report, make_recipe, output_paths, prune
from sparsebench.pruning.state import TrainState
from sparsebench.pruning.trainer import LOG_COLUMNS, Hardware
from sparsebench.pruning.upstream import UpstreamData, open_upstream
from sparsebench.schema import CheckpointError, InputError, RunError, UnknownNameError

COMMAND = "sparsebench prune --method ..."
EPOCH = 4  # steps: 64 images in batches of 16
ENDS = ("conv1", "fc")
QUICK = {
    "gradient_count": 3.0,
    "gradient_batch": 8.0,
    "prunings": 2.0,
    "damp": 0.01,
    "block": 4.0,
    "recomputations": 1.0,
}
"""Settings of second-order methods that take no time."""


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """More threads only wait for each other on networks this small."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def dense(upstream: UpstreamData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained dense weights to start from."""
    return train(upstream, tmp_path_factory.mktemp("dense") / "dense.safetensors", "dense").made[0].path


def train(
    data: UpstreamData,
    out: Path,
    method: str = "acdc",
    sparsities: tuple[float, ...] | None = None,
    *,
    init: Path | None = None,
    hardware: Hardware | None = None,
    report: Report | None = None,
    **choices: Any,
) -> Pruned:
    wanted = sparsities or ((0.0,) if method == "dense" else (0.8,))
    choices = {"epochs": 0 if method == "magnitude" else 2, "batch_size": 16} | choices
    initial = None if init is None else Initial.read(init)
    recipe = make_recipe(method, wanted, data, init=initial, **choices)
    return prune(recipe, data, out, init=initial, command=COMMAND, hardware=hardware, report=report)


def start_from(method: str, dense: Path) -> Path | None:
    return dense if methods()[method].start == "dense" else None


def interrupt(kind: str, at: int) -> Report:
    """Interrupt after a step, counted from 1, or after an epoch, counted from 0."""

    def report(what: str, values: dict[str, Any]) -> None:
        if what == kind and values["done" if kind == "step" else "epoch"] == at:
            raise KeyboardInterrupt

    return report


def sparse(path: Path) -> tuple[RawCheckpoint, dict[str, Tensor]]:
    raw = read_checkpoint(path)
    assert raw.masks is not None
    return raw, dict(raw.masks)


def pruned(path: Path) -> int:
    return sum(int((~mask).sum()) for mask in sparse(path)[1].values())


def log_lines(path: Path) -> list[dict[str, str]]:
    with path.open() as handle:
        return list(csv.DictReader(handle))


def untimed(path: Path) -> list[dict[str, str]]:
    return [line | {"seconds": ""} for line in log_lines(path)]


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def accuracy(path: Path, data: UpstreamData) -> float:
    """Upstream top-1 of a file, from its own preprocessing and head."""
    backbone = sparsebench.load(path, head=True)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (backbone.preprocess.mean, backbone.preprocess.std))
    images = (data.val_images[0 : len(data.val_images)].permute(0, 3, 1, 2) / 255 - mean) / std
    with torch.inference_mode():
        return float((backbone.module(images).argmax(1) == data.val_labels).float().mean())


def mini_weights() -> dict[str, Tensor]:
    return masks.prunable(backbones.build(backbones.find("mini")[0], 4))


def test_acdc_leaves_a_loadable_sparse_file_a_log_and_a_dense_twin(upstream: UpstreamData, tmp_path: Path) -> None:
    events: list[tuple[str, Any]] = []

    def report(kind: str, values: dict[str, Any]) -> None:
        events.append((kind, values["done"] if kind == "step" else values["epoch"]))
        assert kind == "epoch" or values["total"] == 5 * EPOCH

    out = tmp_path / "mini.acdc_s80.safetensors"
    result = train(upstream, out, epochs=5, report=report)
    twin, made = result.made
    assert (twin.path.name, twin.sparsity) == ("mini.acdc_s80_dense.safetensors", 0.0)
    assert (made.path, made.sparsity) == (out, 0.8)
    assert names(tmp_path) == {out.name, twin.path.name, result.log.name}

    backbone = sparsebench.load(out, head=True)
    assert backbone.info.checkpoint.method == "acdc"
    assert backbone.info.mask_source == "file"
    assert set(backbone.masks) == set(mini_weights()) - {"conv1.weight", "fc.weight"}
    total = sum(mask.numel() for mask in backbone.masks.values())
    assert pruned(out) == round(0.8 * total)
    loaded = sparsebench.load(twin.path)
    assert loaded.info.checkpoint.method == "dense"
    assert loaded.masks == {}
    assert loaded.info.sparsity.scope("prunable") < 0.01

    lines = log_lines(result.log)
    assert tuple(lines[0]) == LOG_COLUMNS
    assert [int(line["epoch"]) for line in lines] == list(range(5))
    assert [int(line["step"]) for line in lines] == [EPOCH * k for k in range(1, 6)]
    assert float(lines[-1]["sparsity"]) == pytest.approx(0.8, abs=1e-6)
    assert lines[-1]["phase"] == "sparse"
    assert [value for kind, value in events if kind == "step"] == list(range(1, 5 * EPOCH + 1))
    assert [value for kind, value in events if kind == "epoch"] == list(range(5))


@pytest.mark.parametrize(
    ("method", "epochs"),
    [("magnitude", 0), pytest.param("lth", 3, marks=pytest.mark.slow), pytest.param("cram", 2, marks=pytest.mark.slow)],
)
def test_one_training_leaves_a_file_for_each_sparsity_that_says_what_it_is(
    method: str, epochs: int, upstream: UpstreamData, dense: Path, tmp_path: Path
) -> None:
    init = start_from(method, dense)
    initial = None if init is None else Initial.read(init)
    out = tmp_path / "mini.x.safetensors"
    recipe = make_recipe(method, (0.9, 0.8), upstream, init=initial, epochs=epochs, batch_size=16, seed=3)
    result = prune(recipe, upstream, out, init=initial, command=COMMAND)
    twin = ["mini.x_dense"] if method == "cram" else []
    files = [f"{stem}.safetensors" for stem in (*twin, "mini.x_s80", "mini.x_s90")]
    assert [made.path.name for made in result.made] == files
    assert [made.sparsity for made in result.made] == [0.0] * len(twin) + [0.8, 0.9]
    assert names(tmp_path) == {*files, "mini.x.log.csv"}
    prunable = sum(w.numel() for n, w in mini_weights().items() if n.removesuffix(".weight") not in ENDS)
    for made in result.made:
        meta = read_checkpoint(made.path).meta
        assert meta["arch"] == "mini"
        assert meta["method"] == (method if made.sparsity else "dense")
        assert meta["sparsity"] == made.sparsity
        assert meta["sparsity_scope"] == "prunable"
        assert meta["distribution"] == ("global" if made.sparsity else "dense")
        assert meta["nm"] is None
        assert meta["exempt"] == list(ENDS)
        assert meta["classes"] == ["a", "b", "c", "d"]
        assert meta["recipe"] == json.loads(json.dumps(dataclasses.asdict(recipe)))
        assert (meta["recipe"]["sparsities"], meta["recipe"]["seed"]) == ([0.8, 0.9], 3)
        assert meta["recipe"]["init_sha256"] == (sha256_file(init) if init else None)
        assert meta["command"] == COMMAND
        assert meta["upstream"] == {"dataset": "noise", "top1": made.top1}
        assert made.top1 == pytest.approx(accuracy(made.path, upstream))
        assert pruned(made.path) == round(made.sparsity * prunable)
    low, high = (sparse(made.path)[1] for made in result.made[-2:])
    assert not any(bool((high[name] & ~low[name]).any()) for name in high)  # what 90 % keeps, 80 % keeps
    origin = read_checkpoint(init or result.made[0].path).state
    for made in result.made[-2:]:
        raw, kept = sparse(made.path)
        for name, value in raw.state.items():
            if name in kept:
                assert torch.equal(value, origin[name] * kept[name])
            elif method == "lth" or not name.endswith(("running_mean", "running_var", "num_batches_tracked")):
                # the others estimate batch norm's statistics anew
                assert torch.equal(value, origin[name])


def test_a_single_sparsity_is_the_file_itself(upstream: UpstreamData, dense: Path, tmp_path: Path) -> None:
    for sparsities in ((0.8,), (0.8, 0.8)):
        out = tmp_path / str(len(sparsities)) / "mini.safetensors"
        result = train(upstream, out, "magnitude", sparsities, init=dense)
        assert [(made.path, made.sparsity) for made in result.made] == [(out, 0.8)]


@given(st.sets(st.integers(1000, 9999), min_size=2), st.sampled_from(["lth", "cram"]))
def test_no_two_sparsities_share_a_file(parts: set[int], method: str) -> None:
    sparsities = [part / 10_000 for part in parts]
    paths = output_paths(Path("here") / "mini.safetensors", get_method(method), sparsities)
    assert set(paths) == {*sparsities, *([0.0] if method == "cram" else [])}
    assert len({*paths.values(), Path("here") / "mini.safetensors"}) == len(paths) + 1
    assert {path.parent for path in paths.values()} == {Path("here")}
    assert {path.suffix for path in paths.values()} == {".safetensors"}


RESUMED: dict[str, dict[str, Any]] = {
    "acdc": {"settings": {"last_dense": 0.25, "last_sparse": 0.375}},  # the twin is there from step 3 on
    "rigl": {"settings": {"updates": 4.0, "end": 1.0}},
    "str": {"settings": {"every": 1.0}},
    "lth": {"sparsities": (0.5, 0.8)},
    "cram": {"sparsities": (0.5, 0.8)},
    "gmp": {"settings": {"end": 0.9, "prunings": 5.0}},
    "woodfisher": {"settings": QUICK | {"end": 0.9}},
    "mfac": {"settings": QUICK | {"end": 0.9, "block": 0.0}},
}
"""Choices with which each method has something to remember after the first of two epochs."""

ALWAYS = {"acdc"}
"""Those that are not left to the slow tests: of masks, a twin and its masks; of connections, which go and come."""


@pytest.mark.parametrize(
    "method", [pytest.param(name, marks=[] if name in ALWAYS else [pytest.mark.slow]) for name in RESUMED]
)
def test_an_interrupted_training_goes_on_to_the_same_files(
    method: str, upstream: UpstreamData, dense: Path, tmp_path: Path
) -> None:
    choices = RESUMED[method] | {"init": start_from(method, dense)}
    whole = train(upstream, tmp_path / "whole" / "mini.safetensors", method, **choices)
    torch.manual_seed(1)  # which no training may depend on
    out = tmp_path / "parts" / "mini.safetensors"
    with pytest.raises(KeyboardInterrupt):
        train(upstream, out, method, report=interrupt("step", EPOCH + 2), **choices)
    assert names(out.parent) == {"mini.resume"}
    steps: list[int] = []

    def after_the_last_epoch(kind: str, values: dict[str, Any]) -> None:
        if kind == "step":
            steps.append(values["done"])
        elif values["epoch"] == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(upstream, out, method, report=after_the_last_epoch, **choices)
    assert steps == [EPOCH + k for k in range(1, EPOCH + 1)]
    assert names(out.parent) == {"mini.resume"}

    out.with_name(whole.made[-1].path.name).write_bytes(b"left by a crash while the files were written")
    parts = train(upstream, out, method, report=interrupt("step", EPOCH + 1), **choices)  # trains no more
    assert names(out.parent) == names(whole.log.parent)
    assert [(a.path.name, a.sparsity, a.top1) for a in parts.made] == [
        (b.path.name, b.sparsity, b.top1) for b in whole.made
    ]
    for a, b in zip(parts.made, whole.made, strict=True):
        assert a.path.read_bytes() == b.path.read_bytes()
    assert untimed(parts.log) == untimed(whole.log)


@pytest.mark.slow
def test_the_recipes_seed_decides_and_the_callers_generator_is_left_alone(
    upstream: UpstreamData, tmp_path: Path
) -> None:
    recipes = [make_recipe("rigl", (0.8,), upstream, epochs=1, batch_size=16, seed=seed) for seed in (0, 1)]
    before = torch.get_rng_state()
    files = [
        prune(recipe, upstream, tmp_path / f"{recipe.seed}.safetensors", command=COMMAND).made[0].path
        for recipe in recipes
    ]
    assert torch.equal(torch.get_rng_state(), before)
    first, second = (sparse(path)[1]["layer4.0.conv2.weight"] for path in files)
    assert 0.2 < float((first == second).float().mean()) < 0.9


@pytest.mark.slow
def test_images_decoded_on_demand_train_the_same_network(
    upstream: UpstreamData, upstream_file: Path, dense: Path, tmp_path: Path
) -> None:
    lazy = open_upstream(upstream_file, 32, memory_limit=0)
    assert not isinstance(lazy.train_images, Tensor)
    files = [
        train(data, tmp_path / where / "a.safetensors", "woodfisher", init=dense, epochs=1, settings=QUICK).made[0].path
        for where, data in (("memory", upstream), ("demand", lazy))
    ]
    assert files[0].read_bytes() == files[1].read_bytes()


CHANGES: dict[str, tuple[dict[str, Any], set[str]]] = {
    "rate and seed": ({"lr": 0.1, "seed": 4}, {"lr", "seed"}),
    "sparsity": ({"sparsities": (0.9,)}, {"sparsities"}),
    "distribution": ({"distribution": "uniform"}, {"distribution"}),
    "pattern": ({"sparsities": (0.5,), "distribution": "nm", "nm": (2, 4)}, {"sparsities", "distribution", "nm"}),
    "scope": ({"scope": "all_params"}, {"scope"}),
    "exempt": ({"exempt": ("conv1",)}, {"exempt"}),
    "epochs": ({"epochs": 3}, {"epochs"}),
    "batch": ({"batch_size": 32}, {"batch_size"}),
    "decay": ({"weight_decay": 0.0}, {"weight_decay"}),
    "setting": ({"settings": {"phase": 0.1}}, {"settings"}),
    "method": ({"method": "cram"}, {"method", "settings"}),
}


@pytest.fixture(scope="module")
def unfinished(upstream: UpstreamData, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The state that an acdc of two epochs leaves when it is interrupted after the first."""
    out = tmp_path_factory.mktemp("unfinished") / "a.safetensors"
    with pytest.raises(KeyboardInterrupt):
        train(upstream, out, report=interrupt("epoch", 0))
    return out.with_suffix(".resume").read_bytes()


@pytest.mark.parametrize("what", CHANGES)
def test_a_resume_with_other_arguments_is_refused_naming_each(
    what: str, upstream: UpstreamData, unfinished: bytes, tmp_path: Path
) -> None:
    change, differ = CHANGES[what]
    resume = tmp_path / "a.resume"
    resume.write_bytes(unfinished)
    with pytest.raises(InputError, match="a training with other arguments") as caught:
        train(upstream, tmp_path / "a.safetensors", **change)
    named = caught.value.message.partition("other arguments: ")[2]
    fields = [field.name for field in dataclasses.fields(make_recipe("acdc", (0.8,), upstream))]
    assert {field for field in fields if f"{field} was " in named} == differ
    assert caught.value.hint == "give the same, or delete it"
    assert resume.read_bytes() == unfinished
    assert names(tmp_path) == {"a.resume"}


def test_a_refusal_to_resume_shows_both_values(upstream: UpstreamData, unfinished: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.resume").write_bytes(unfinished)
    with pytest.raises(InputError, match=r"other arguments: lr was 0\.2, is 0\.1, seed was 0, is 4"):
        train(upstream, tmp_path / "a.safetensors", lr=0.1, seed=4)
    other = dataclasses.replace(upstream, name="other")
    with pytest.raises(InputError, match=r'data was \'\["noise", 64, 32, 4\]\', is \'\["other", 64, 32, 4\]\''):
        train(other, tmp_path / "a.safetensors")
    assert len(train(upstream, tmp_path / "a.safetensors").made) == 2  # the same arguments go on


def test_a_resume_from_other_dense_weights_is_refused(upstream: UpstreamData, dense: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.safetensors"
    with pytest.raises(KeyboardInterrupt):
        train(upstream, out, "gmp", init=dense, report=interrupt("epoch", 0))
    other = train(upstream, tmp_path / "other.safetensors", "dense", epochs=1).made[0].path
    with pytest.raises(InputError, match="init_sha256 was"):
        train(upstream, out, "gmp", init=other)


@pytest.mark.parametrize("damage", ["empty", "garbage", "half", "a byte less"])
def test_a_damaged_resume_file_is_refused(
    damage: str, upstream: UpstreamData, unfinished: bytes, tmp_path: Path
) -> None:
    content = {"empty": b"", "garbage": b"garbage", "half": unfinished[: len(unfinished) // 2]}
    resume = tmp_path / "a.resume"
    resume.write_bytes(content.get(damage, unfinished[:-1]))
    with pytest.raises(CheckpointError, match=r"a\.resume can't be resumed from: ") as caught:
        train(upstream, tmp_path / "a.safetensors")
    assert caught.value.hint == "delete it to start again"
    assert names(tmp_path) == {"a.resume"}


def test_a_malicious_resume_file_is_refused_and_not_run(upstream: UpstreamData, tmp_path: Path) -> None:
    class Malice:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "trap"),)

    torch.save({"recipe": Malice()}, tmp_path / "a.resume")
    with pytest.raises(CheckpointError, match="can't be resumed from"):
        train(upstream, tmp_path / "a.safetensors")
    assert not (tmp_path / "trap").exists()


@pytest.mark.parametrize("method", [name for name, method in methods().items() if method.start == "dense"])
def test_methods_from_dense_weights_need_them(method: str, upstream: UpstreamData, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"method {method} starts from trained dense weights .*--init"):
        train(upstream, tmp_path / "a.safetensors", method)
    assert names(tmp_path) == set()


@pytest.mark.parametrize(
    "method", ["gmp", *(pytest.param(name, marks=pytest.mark.slow) for name in ("woodfisher", "mfac"))]
)
def test_methods_from_dense_weights_use_them(method: str, upstream: UpstreamData, dense: Path, tmp_path: Path) -> None:
    settings = {} if method == "gmp" else QUICK | {"damp": 1.0}
    made = train(
        upstream, tmp_path / "a.safetensors", method, (0.2,), init=dense, epochs=1, lr=1e-6, settings=settings
    ).made[0]
    (raw, kept), origin = sparse(made.path), read_checkpoint(dense).state
    for name, value in raw.state.items():
        if value.ndim > 1:
            expected = origin[name] * kept[name] if name in kept else origin[name]
            assert float((value - expected).norm() / expected.norm()) < 0.05


def test_dense_weights_of_another_network_are_refused(
    upstream: UpstreamData, pruned_resnet18: Path, tmp_path: Path
) -> None:
    three = tmp_path / "three.pth"
    torch.save(backbones.build(backbones.find("mini")[0], 3).state_dict(), three)
    there = names(tmp_path)
    for init, reason in ((three, r"fc\.weight: \(3, 256\), not \(4, 256\)"), (pruned_resnet18, r"\d+ keys unexpected")):
        with pytest.raises(CheckpointError, match=rf"--init .*{init.name} doesn't fit: .*{reason}") as caught:
            train(upstream, tmp_path / "a.safetensors", "gmp", init=init)
        assert "same architecture and number of classes" in str(caught.value)
    assert names(tmp_path) == there


@pytest.mark.parametrize("broken", [pytest.param("loss", marks=pytest.mark.slow), "weights"])
def test_a_training_that_diverges_late_keeps_its_last_whole_epoch(
    broken: str, upstream: UpstreamData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choices: dict[str, Any] = {"epochs": 3, "settings": {"last_dense": 0.4, "last_sparse": 0.5}}
    whole = train(upstream, tmp_path / "whole" / "a.safetensors", **choices)
    gradients, update = ACDC.gradients, ACDC.update

    def nan_loss(self: ACDC, state: TrainState, images: Tensor, labels: Tensor) -> Tensor:
        return gradients(self, state, images, labels) * (math.nan if state.step == 2 * EPOCH + 1 else 1)

    def infinite_weights(self: ACDC, state: TrainState) -> None:
        update(self, state)
        if state.step == 3 * EPOCH - 1:  # the epoch's last, so that no loss shows it
            state.weights["layer2.0.conv1.weight"].data[0] = math.inf

    out = tmp_path / "parts" / "a.safetensors"
    resume = out.with_suffix(".resume")
    kept: list[bytes] = []

    def report(kind: str, values: dict[str, Any]) -> None:
        if kind == "epoch":
            kept.append(resume.read_bytes())

    found = {"loss": "the loss is nan at step 9", "weights": "the weights are no longer finite at step 12"}[broken]
    with monkeypatch.context() as patch:
        patch.setattr(ACDC, *{"loss": ("gradients", nan_loss), "weights": ("update", infinite_weights)}[broken])
        with pytest.raises(RunError, match=rf"^{found} \(epoch 3 of 3\)") as caught:
            train(upstream, out, report=report, **choices)
    assert caught.value.hint is not None
    assert re.search(r"lower --lr than 0\.2; .*a\.resume keeps the last good state: delete it", caught.value.hint)
    assert len(kept) == 2
    assert resume.read_bytes() == kept[-1]
    assert names(out.parent) == {"a.resume"}
    parts = train(upstream, out, **choices)
    for a, b in zip(parts.made, whole.made, strict=True):
        assert a.path.read_bytes() == b.path.read_bytes()


def test_a_training_that_diverges_at_once_leaves_nothing(upstream: UpstreamData, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"the loss is (nan|inf) at step \d+ \(epoch 1 of 9\) .*lower --lr than 1e\+12"):
        train(upstream, tmp_path / "a.safetensors", "dense", lr=1e12, warmup=0.0, epochs=9)
    assert names(tmp_path) == set()


def test_a_sparsity_of_all_parameters_counts_every_parameter(
    upstream: UpstreamData, dense: Path, tmp_path: Path
) -> None:
    exempt = (*ENDS, "layer4.0.conv2")
    result = train(
        upstream, tmp_path / "a.safetensors", "magnitude", (0.2, 0.5), init=dense, scope="all_params", exempt=exempt
    )
    total = sum(p.numel() for p in backbones.build(backbones.find("mini")[0], 4).parameters())
    for made, sparsity in zip(result.made, (0.2, 0.5), strict=True):
        raw, kept = sparse(made.path)
        assert made.sparsity == raw.meta["sparsity"] == sparsity
        assert raw.meta["sparsity_scope"] == "all_params"
        assert raw.meta["exempt"] == list(exempt)
        assert pruned(made.path) == round(sparsity * total)
        assert "layer4.0.conv2.weight" not in kept
        stored = sum(int((value == 0).sum()) for value in raw.state.values() if value.ndim > 1)
        assert stored == round(sparsity * total)


def test_a_sparsity_that_the_scope_makes_impossible_is_refused(
    upstream: UpstreamData, dense: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"sparsity 0\.6 of all parameters is impossible: 632,832 weights can be"):
        train(
            upstream,
            tmp_path / "a.safetensors",
            "magnitude",
            (0.2, 0.6),
            init=dense,
            scope="all_params",
            exempt=(*ENDS, "layer4.0.conv2"),
        )
    assert names(tmp_path) == set()


@pytest.mark.parametrize("steps", [1, 3])
def test_a_training_too_short_to_prune_writes_no_file(steps: int, upstream: UpstreamData, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=rf"^{steps} steps are too few for acdc .* reached sparsity 0\.0.*more --epochs"):
        train(upstream, tmp_path / "a.safetensors", epochs=1, batch_size=64 // steps)
    assert names(tmp_path) <= {"a.resume"}


def test_a_pattern_holds_in_every_group_of_the_written_file(upstream: UpstreamData, tmp_path: Path) -> None:
    result = train(upstream, tmp_path / "a.safetensors", "acdc", (0.5,), distribution="nm", nm=(2, 4))
    raw, kept = sparse(result.made[-1].path)
    assert set(kept) == set(mini_weights()) - {"conv1.weight", "fc.weight"}
    for name in kept:
        groups = (raw.state[name] != 0).movedim(1, -1).unflatten(-1, (-1, 4)).sum(-1)
        assert groups.unique().tolist() == [2]
    assert (raw.meta["nm"], raw.meta["distribution"], raw.meta["sparsity"]) == ("2:4", "nm", 0.5)
    twin = read_checkpoint(result.made[0].path).meta
    assert (twin["nm"], twin["distribution"], twin["sparsity"]) == (None, "dense", 0.0)
    assert sparsebench.load(result.made[-1].path).info.checkpoint.nm == "2:4"


@pytest.mark.parametrize("method", ["acdc", "magnitude", "cram"])
def test_a_pattern_that_a_layer_cannot_have_is_refused_naming_it(
    method: str, upstream: UpstreamData, dense: Path, tmp_path: Path
) -> None:
    choices: dict[str, Any] = {"distribution": "nm", "nm": (2, 4), "exempt": ("fc",)}
    with pytest.raises(InputError, match=r"2:4 is impossible for layer conv1: it has 3 inputs.*--exempt conv1"):
        train(upstream, tmp_path / "a.safetensors", method, (0.5,), init=start_from(method, dense), **choices)
    assert names(tmp_path) <= {"a.resume"}


@pytest.mark.parametrize("method", ["rigl", "acdc", "magnitude"])
@pytest.mark.parametrize(("distribution", "sparsity"), [("uniform", 0.9999), ("erk", 0.999995)])
def test_a_layer_left_without_weights_is_refused_naming_it(
    method: str, distribution: str, sparsity: float, upstream: UpstreamData, dense: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"no weight would be left in layer layer\d\.0\.\S+ \(\d+ weights\)"):
        train(
            upstream,
            tmp_path / "a.safetensors",
            method,
            (sparsity,),
            init=start_from(method, dense),
            distribution=distribution,
        )
    assert names(tmp_path) <= {"a.resume"}


@pytest.mark.parametrize("there", ["a_s50", "a_s80", "a_dense"])
def test_a_file_in_the_way_is_refused_before_any_training(there: str, upstream: UpstreamData, tmp_path: Path) -> None:
    (tmp_path / f"{there}.safetensors").write_bytes(b"mine")
    with pytest.raises(InputError, match=rf"{there}\.safetensors is already there"):
        train(upstream, tmp_path / "a.safetensors", "cram", (0.5, 0.8), report=interrupt("step", 1))
    assert names(tmp_path) == {f"{there}.safetensors"}
    assert (tmp_path / f"{there}.safetensors").read_bytes() == b"mine"


@pytest.mark.slow
def test_bf16_trains(upstream: UpstreamData, tmp_path: Path) -> None:
    results = [
        train(upstream, tmp_path / name / "a.safetensors", epochs=3, hardware=Hardware(precision=name))
        for name in ("fp32", "bf16")
    ]
    full, low = (sparse(result.made[-1].path)[0] for result in results)
    assert low.meta["recipe"] == full.meta["recipe"]
    difference = float((full.state["conv1.weight"] - low.state["conv1.weight"]).norm())
    assert 0 < difference < 0.5 * float(full.state["conv1.weight"].norm())
    low_file = results[1].made[-1]
    assert low_file.top1 == pytest.approx(accuracy(low_file.path, upstream))
    assert low_file.top1 > 0.5  # of four classes
    assert pruned(low_file.path) == pruned(results[0].made[-1].path)
    loss = [float(line["train_loss"]) for line in log_lines(results[1].log)]
    assert loss[-1] < loss[0]


def test_choices_that_fit_no_training_are_refused(upstream: UpstreamData, dense: Path, tmp_path: Path) -> None:
    def refused(message: str, method: str = "acdc", sparsities: tuple[float, ...] = (0.8,), **choices: Any) -> None:
        kind = choices.pop("kind", InputError)
        with pytest.raises(kind, match=message):
            train(upstream, tmp_path / "a.safetensors", method, sparsities, init=start_from(method, dense), **choices)

    refused("--epochs 0 is not a training", epochs=0)
    refused("magnitude doesn't train .*leave --epochs out", "magnitude", epochs=3)
    refused("64 training images don't fill one batch of 65", batch_size=65)
    for rate in (0.0, -0.1, math.nan, math.inf):
        refused("is not a learning rate", lr=rate)
    refused("acdc makes one sparsity per training", sparsities=(0.8, 0.9))
    refused("impossible sparsity", "cram", (0.8, 1.0))
    refused("can't make distribution 'global'", "str", distribution="global")
    refused("go together", distribution="nm")
    refused("did you mean mini", arch="minni", kind=UnknownNameError)
    assert names(tmp_path) == set()


def test_a_schedule_that_ends_below_the_sparsity_writes_no_file(
    upstream: UpstreamData, dense: Path, tmp_path: Path
) -> None:
    with pytest.raises(RunError, match=r"too few for gmp with these settings: it reached sparsity 0\.05.*, not 0\.8"):
        train(upstream, tmp_path / "a.safetensors", "gmp", init=dense, epochs=1, settings={"end": 1.0, "prunings": 1})
    assert names(tmp_path) <= {"a.resume"}


def test_fewer_steps_than_rounds_are_refused(upstream: UpstreamData, dense: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"4 steps are too few for the \d+ rounds of lth"):
        train(upstream, tmp_path / "a.safetensors", "lth", (0.5, 0.8, 0.9), init=dense, epochs=1)


def test_what_the_layers_cannot_have_is_found_before_the_first_step(upstream: UpstreamData, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown layer 'fcc' .did you mean fc"):
        train(upstream, tmp_path / "a.safetensors", exempt=("conv1", "fcc"))
    steps: list[str] = []
    with pytest.raises(InputError, match=r"2:4 is impossible for layer conv1: it has 3 inputs"):
        train(
            upstream,
            tmp_path / "a.safetensors",
            "acdc",
            (0.5,),
            distribution="nm",
            nm=(2, 4),
            exempt=("fc",),
            report=lambda kind, values: steps.append(kind),
        )
    assert steps == []
    assert names(tmp_path) == set()
