"""Training with random labels: which images, what is logged, and how it is drawn."""

from __future__ import annotations

import csv
import importlib.util
import json
from pathlib import Path

import pytest
import torch

from sparsebench.models.formats import read_checkpoint
from sparsebench.pruning.prune import make_recipe, prune
from sparsebench.pruning.relabel import relabel
from sparsebench.pruning.trainer import LOG_COLUMNS
from sparsebench.pruning.upstream import Batches, Normalise, UpstreamData
from sparsebench.schema import InputError

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "memorisation.py"


def test_random_labels_are_uniform_and_the_rest_stays(upstream: UpstreamData) -> None:
    many = UpstreamData("m", tuple("abcd"), torch.zeros(4000, 1, 1, 3, dtype=torch.uint8), torch.arange(4000) % 4,
                        upstream.val_images, upstream.val_labels)  # fmt: skip
    got = relabel(many, 2000, 0)
    own = got.relabelled
    assert own is not None
    assert len(own.indices.unique()) == 2000
    assert torch.equal(got.train_labels[own.indices], own.labels)
    assert torch.equal(many.train_labels[own.indices], own.true)
    rest = torch.ones(4000, dtype=torch.bool)
    rest[own.indices] = False
    assert torch.equal(got.train_labels[rest], many.train_labels[rest])
    # a quarter stays right with four classes: 2000 draws have a standard error of 0.01
    assert float((own.labels == own.true).float().mean()) == pytest.approx(0.25, abs=0.04)
    assert torch.equal(many.train_labels, torch.arange(4000) % 4), "the data given is left as it is"
    again, other = relabel(many, 2000, 0).relabelled, relabel(many, 2000, 1).relabelled
    assert again is not None
    assert other is not None
    assert torch.equal(again.labels, own.labels)
    assert not torch.equal(other.indices, own.indices)


@pytest.mark.parametrize("count", [0, 65])
def test_more_images_than_there_are(upstream: UpstreamData, count: int) -> None:
    with pytest.raises(InputError, match="of 64 training images"):
        relabel(upstream, count, 0)


def test_the_log_has_what_is_memorised_and_recovered(upstream: UpstreamData, tmp_path: Path) -> None:
    recipe = make_recipe("dense", (0.0,), upstream, epochs=1, batch_size=32, relabel=20)
    done = prune(recipe, upstream, tmp_path / "net.safetensors")
    with done.log.open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert tuple(lines[0]) == (*LOG_COLUMNS, "memorised", "recovered")
    # the last line is that of the network as it was trained: predict by hand, with the weights that were kept
    own = relabel(upstream, 20, recipe.seed).relabelled
    assert own is not None
    raw = read_checkpoint(tmp_path / "net.safetensors")
    assert raw.meta["recipe"]["relabel"] == 20
    hits = [float(lines[-1][name]) * 20 for name in ("memorised", "recovered")]
    assert all(hit == pytest.approx(round(hit), abs=1e-6) and 0 <= hit <= 20 for hit in hits)
    # an image can't be both, unless its random label is the true one
    assert sum(hits) <= 20 + int((own.labels == own.true).sum())


def test_a_network_that_knows_the_labels_has_memorised_all_and_recovered_chance(upstream: UpstreamData) -> None:
    from sparsebench.pruning.methods import get_method
    from sparsebench.pruning.trainer import Trainer

    data = relabel(upstream, 40, 0)
    own = data.relabelled
    assert own is not None
    recipe = make_recipe("dense", (0.0,), data, epochs=1, batch_size=16, relabel=40, exempt=())
    table = {bytes(image.numpy().tobytes()): int(label) for image, label in zip(
        upstream.train_images[own.indices], own.labels, strict=True)}  # fmt: skip

    class Knows(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = torch.nn.Linear(1, 4)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            pixels = (images * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
            answers = torch.tensor([table[row.contiguous().numpy().tobytes()] for row in pixels])
            return torch.nn.functional.one_hot(answers, 4).float()

    plain = Normalise((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    trainer = Trainer(Knows(), get_method("dense")(0.0, None, None, (0.0,)), recipe, data, plain)
    got = trainer._on_relabelled()
    assert got == {"memorised": 1.0, "recovered": pytest.approx(float((own.labels == own.true).float().mean()))}


def test_relabelled_trainings_see_images_as_they_are(upstream: UpstreamData) -> None:
    plain = Normalise((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    images = upstream.train_images
    assert isinstance(images, torch.Tensor)
    batches = Batches(images, upstream.train_labels, plain, batch_size=64, seed=0, augment=False)
    ((shown, _),) = batches.epoch(0, torch.device("cpu"))
    pixels = (shown * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
    assert {row.contiguous().numpy().tobytes() for row in pixels} == {row.numpy().tobytes() for row in images}


def test_a_method_that_does_not_train_memorises_nothing(upstream: UpstreamData, tmp_path: Path) -> None:
    from sparsebench.pruning.initial import Initial

    dense = prune(
        make_recipe("dense", (0.0,), upstream, epochs=1, batch_size=16), upstream, tmp_path / "dense.safetensors"
    )
    init = Initial.read(dense.made[0].path)
    recipe = make_recipe("magnitude", (0.8,), upstream, init=init, epochs=0, relabel=5)
    with pytest.raises(InputError, match="doesn't train"):
        prune(recipe, upstream, tmp_path / "net.safetensors", init=init)


def test_the_figure_of_two_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    from sparsebench.models.formats import sparse_file

    spec = importlib.util.spec_from_file_location("memorisation", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    for method in ("acdc", "gmp"):
        meta = {"method": method, "sparsity": 0.9, "recipe": {"relabel": 1000, "data": json.dumps(["d", 9, 9, 10])}}
        sparse_file.write(tmp_path / f"{method}.safetensors", {}, {}, meta)
        phases = ["dense", "sparse", "sparse", "dense", "sparse"]
        rows = [f"{i},0,0,1,{0.1 * i},0,{phase},1,{0.2 * i},{0.3}" for i, phase in enumerate(phases)]
        head = ",".join((*LOG_COLUMNS, "memorised", "recovered"))
        (tmp_path / f"{method}.log.csv").write_text("\n".join([head, *rows]) + "\n")
    logs = [script.read(tmp_path / f"{method}.log.csv") for method in ("acdc", "gmp")]
    picture = script.memorisation_figure(logs)
    assert [axes.get_title(loc="left") for axes in picture.canvas.axes] == ["AC/DC 90 %", "GMP 90 %"]
    memorised = picture.canvas.axes[0].lines[1]
    assert list(memorised.get_ydata()) == pytest.approx([0.0, 0.2, 0.4, 0.6, 0.8])
    shaded = [patch.get_x() for patch in picture.canvas.axes[0].patches]
    assert shaded == [1.5, 4.5]
    assert "1000 training images have labels drawn uniformly over 10 classes; chance is 10.0 ± 1.9 %" in picture.caption
    table = tmp_path / "table.csv"
    monkeypatch.setattr(
        "sys.argv", ["x", str(tmp_path / "acdc.log.csv"), "--out", str(tmp_path), "--table", str(table)]
    )
    script.main()
    assert (tmp_path / "memorisation.png").exists()
    assert table.read_text().splitlines()[2] == "acdc,2,sparse,0,0.1,0.2,0.3"
    (tmp_path / "gmp.log.csv").write_text(",".join(LOG_COLUMNS) + "\n" + "0,0,0,0,0,0,dense,0\n")
    monkeypatch.setattr("sys.argv", ["x", str(tmp_path / "gmp.log.csv")])
    with pytest.raises(SystemExit):
        script.main()
    assert "not the log of a training with random labels" in capsys.readouterr().err
