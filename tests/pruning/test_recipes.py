"""The two recipes: this project's one for all methods, and each method's as published."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from smallnet import small_state, train
from torch import nn

from sparsebench import extensions
from sparsebench.extensions.discovery import ExtensionWarning
from sparsebench.models.formats import read_checkpoint
from sparsebench.pruning.base import PruningMethod
from sparsebench.pruning.methods import get_method, methods
from sparsebench.pruning.methods.gmp import GMP
from sparsebench.pruning.methods.soft_threshold import STR
from sparsebench.pruning.prune import make_recipe, prune
from sparsebench.pruning.schedules import LearningRate, drops_text, read_drops
from sparsebench.pruning.trainer import Recipe, Trainer
from sparsebench.pruning.upstream import Normalise, UpstreamData
from sparsebench.schema import InputError, RunError

ENDS = ("conv1", "fc")


def recipe(upstream: UpstreamData, method: str, published: bool = True, **choices: Any) -> Recipe:
    sparsities = (0.0,) if method == "dense" else (0.9,)
    return make_recipe(method, sparsities, upstream, published=published, **choices)


@pytest.mark.parametrize("name", list(methods()))
def test_the_default_recipe_is_one_for_all(name: str, upstream: UpstreamData) -> None:
    found = recipe(upstream, name, published=False)
    assert (found.batch_size, found.momentum, found.nesterov, found.weight_decay) == (128, 0.9, True, 5e-4)
    assert (found.decay_on, found.label_smoothing, found.warmup, found.drops) == ("all", 0.0, 0.05, ())
    assert found.exempt == ENDS


PUBLISHED: dict[str, dict[str, Any]] = {
    "dense": {"lr": 0.256, "momentum": 0.875, "weight_decay": 3.0518e-5, "epochs": 100, "nesterov": False},
    "acdc": {"lr": 0.256, "momentum": 0.875, "weight_decay": 3.0518e-5, "label_smoothing": 0.0, "exempt": ()},
    "rigl": {"lr": 0.1, "weight_decay": 1e-4, "label_smoothing": 0.1, "nesterov": True, "decay_on": "weights"},
    "str": {"weight_decay": 2.2518e-5, "label_smoothing": 0.1, "nesterov": False, "batch_size": 256, "exempt": ()},
    "gmp": {"lr": 0.005, "weight_decay": 1e-4, "nesterov": False, "exempt": ()},
    "lth": {"lr": 1e-4, "weight_decay": 1e-4, "exempt": ENDS, "epochs": 100, "nesterov": False},
    "cram": {"lr": 0.2, "weight_decay": 1e-4, "batch_size": 512, "exempt": (), "nesterov": False},
    "magnitude": {"epochs": 0, "exempt": ()},
}


@pytest.mark.parametrize("name", list(PUBLISHED))
def test_the_published_recipe_is_one_word_away(name: str, upstream: UpstreamData) -> None:
    found = recipe(upstream, name)
    assert {key: getattr(found, key) for key in PUBLISHED[name]} == PUBLISHED[name]


def test_published_settings_and_what_is_given_beside_them(upstream: UpstreamData) -> None:
    found = recipe(upstream, "rigl", epochs=3, lr=0.5, settings={"alpha": 0.5}, exempt=("fc",))
    assert found.settings == {"alpha": 0.5, "updates": 250, "end": 0.78125, "anneal": "cosine"}
    assert (found.epochs, found.lr, found.exempt, found.label_smoothing) == (3, 0.5, ("fc",), 0.1)
    assert recipe(upstream, "woodfisher").settings["block"] == 2000
    assert recipe(upstream, "mfac").settings["recomputations"] == 16
    assert recipe(upstream, "rigl", distribution="uniform").exempt == ("conv1",)
    assert make_recipe("acdc", (0.5,), upstream, published=True, distribution="nm", nm=(2, 4)).exempt == ("conv1",)
    assert recipe(upstream, "acdc", distribution="uniform").exempt == ENDS


def test_published_prunings_of_gmp_are_at_epochs_1_to_36() -> None:
    assert GMP.published is not None
    steps = GMP(0.9, **GMP.published.settings).pruning_steps(100)
    assert list(steps) == [1, 6, 11, 16, 21, 26, 31, 36]
    assert next(iter(steps.values())) == pytest.approx(0.05)
    assert list(steps.values())[-1] == 0.9


def test_lottery_tickets_train_as_many_epochs_per_round_as_the_recipe_says(upstream: UpstreamData) -> None:
    assert recipe(upstream, "lth", published=False).epochs == 10  # rounds of a fifth, to 90 %
    assert recipe(upstream, "lth").epochs == 100


def test_learning_rates_in_steps() -> None:
    rate = LearningRate(0.1, 0.05, ((0.3, 0.1), (0.7, 0.01)))
    assert [rate.at(step, 100) for step in (0, 4, 5, 29, 30, 69, 70, 99)] == pytest.approx(
        [0.02, 0.1, 0.1, 0.1, 0.01, 0.01, 0.001, 0.001]
    )
    assert LearningRate(0.1, 0.0, read_drops("constant")).at(7, 10) == 0.1
    assert read_drops("cosine") == ()
    for text in ("cosine", "constant", "0.3:0.1,0.7:0.01"):
        assert drops_text(read_drops(text)) == text


def test_label_smoothing_is_in_the_loss() -> None:
    state = small_state(GMP(0.5))
    images, labels = torch.randn(9, 8), torch.arange(9) % 4
    state.label_smoothing = 0.1
    probabilities = F.log_softmax(state.model(images), 1)
    target = 0.9 * F.one_hot(labels, 4) + 0.1 / 4
    assert float(state.loss(images, labels).detach()) == pytest.approx(
        float(-(target * probabilities).sum(1).mean().detach()), rel=1e-5
    )


@pytest.mark.parametrize(("decay_on", "moves"), [("all", True), ("weights", False)])
def test_weight_decay_acts_on_what_it_says(decay_on: str, moves: bool, upstream: UpstreamData) -> None:
    chosen = recipe(upstream, "dense", published=False, decay_on=decay_on, batch_size=16, epochs=1)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.LazyLinear(4))
    model(torch.zeros(2, 3, 32, 32))
    exempt = Recipe(**{**vars(chosen), "exempt": ()})
    optimizer = Trainer(
        model, methods()["dense"](0.0), exempt, upstream, Normalise((0.5,) * 3, (0.5,) * 3)
    ).state.optimizer
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, parameter in model.named_parameters():
        changed = not torch.equal(parameter.detach(), before[name])
        wanted = (parameter.ndim > 1 or moves) and bool(before[name].any())
        assert changed == wanted, name


@pytest.mark.parametrize(
    "choice", [{"momentum": 1.0}, {"label_smoothing": -0.1}, {"warmup": 1.5}, {"label_smoothing": float("nan")}]
)
def test_numbers_that_no_training_can_have_are_refused(choice: dict[str, float], upstream: UpstreamData) -> None:
    with pytest.raises(InputError):
        recipe(upstream, "acdc", **choice)


def test_str_without_a_schedule_has_the_sparsity_that_comes_out() -> None:
    method = STR(0.9, schedule="none", initial_s=-3.0)
    state = small_state(method, 60)
    before = [layer.s.item() for _, layer in method._layers.values()]
    train(method, state)
    assert before == [-3.0, -3.0]
    weights = {name: layer(weight).detach() for name, (weight, layer) in method._layers.items()}
    (result,) = method.results(state)
    assert not result.exact
    for name, weight in weights.items():
        assert torch.equal(result.masks[name], weight != 0)
        assert torch.equal(result.state[name], weight)
    assert 0 < sum(int((~m).sum()) for m in result.masks.values()) < 192


def test_str_that_prunes_nothing_is_said() -> None:
    method = STR(0.9, schedule="none", initial_s=-3200.0)
    state = small_state(method, 3)
    train(method, state)
    with pytest.raises(RunError, match=r"str pruned nothing in 3 steps .*more --epochs"):
        next(method.results(state))


def test_a_file_of_str_as_published_says_what_came_out(upstream: UpstreamData, tmp_path: Path) -> None:
    chosen = recipe(upstream, "str", published=True, epochs=1, batch_size=16, settings={"initial_s": -5.0}, exempt=ENDS)
    made = prune(chosen, upstream, tmp_path / "a.safetensors").made[0]
    raw = read_checkpoint(made.path)
    assert raw.masks is not None
    zeros = sum(int((~m).sum()) for m in raw.masks.values()) / sum(m.numel() for m in raw.masks.values())
    assert raw.meta["sparsity"] == pytest.approx(zeros, abs=5e-5)
    assert made.sparsity == raw.meta["sparsity"]
    assert 0 < zeros < 0.9
    assert raw.meta["recipe"]["settings"]["schedule"] == "none"
    assert json.dumps(raw.meta)


GROUP = "sparsebench.methods"


class Foreign(PruningMethod):
    name = "foreign"
    title = "Foreign"
    summary = "another package's"


class Taken(PruningMethod):
    name = "gmp"


@pytest.fixture
def entry_points(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[EntryPoint]]:
    found: list[EntryPoint] = []
    monkeypatch.setattr("sparsebench.extensions.discovery.entry_points", lambda group: found if group == GROUP else [])
    extensions.known.cache_clear()
    yield found
    extensions.known.cache_clear()


def point(name: str, value: str) -> EntryPoint:
    return EntryPoint(name, value, GROUP)


def test_another_package_adds_a_method(entry_points: list[EntryPoint]) -> None:
    entry_points.append(point("foreign", f"{__name__}:Foreign"))
    assert list(methods())[-1] == "foreign"
    assert get_method("foreign") is Foreign


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("nothing_of_that_name:x", "can't be loaded"),
        (f"{__name__}:Taken", "has the name 'gmp', which is taken"),
        (f"{__name__}:point", "is no pruning method"),
    ],
)
def test_a_broken_entry_point_is_left_out_with_a_warning(
    value: str, message: str, entry_points: list[EntryPoint]
) -> None:
    entry_points.append(point("x", value))
    with pytest.warns(ExtensionWarning, match=message):
        known = methods()
    assert known["gmp"] is GMP


def test_every_method_is_described_for_help_and_docs() -> None:
    colours = [method.colour for method in methods().values()]
    assert len(set(colours)) == len(colours)
    for method in methods().values():
        assert method.title
        assert method.summary
        assert method.published is not None
        for field in method.settings_model.model_fields.values():
            assert field.description


def test_the_documents_tables_follow_from_the_methods(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "scripts"))
    script = importlib.import_module("method_tables")
    assert script.main(["--check"]) == 0
    stale = tmp_path / "pruning.md"
    stale.write_text(script.PAGE.read_text().replace("| `rigl` | `alpha` | 0.3 |", "| `rigl` | `alpha` | 0.4 |"))
    monkeypatch.setattr(script, "PAGE", stale)
    assert script.main(["--check"]) == 1
    assert script.main([]) == 0
    assert "| `rigl` | `alpha` | 0.3 |" in stale.read_text()
