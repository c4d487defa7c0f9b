"""Bundles of runs that were really computed: exported, verified, run again, merged."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

import sparsebench
from made_up_images import own_images
from sparsebench.cli import main
from sparsebench.downloads import locate
from sparsebench.exchange import Means, export_results, merge_bundles, verify_bundle
from sparsebench.models.formats import sparse_file
from sparsebench.registry import load_registry
from sparsebench.report.leaderboard import leaderboard
from sparsebench.schema import InputError
from sparsebench.store import Store, read_results
from tasks_quick import quick_suite


def own_network(folder: Path, factor: float = 1.01) -> Path:
    """Write a network of one's own: an embedded one whose weights are scaled."""
    path = locate(load_registry().checkpoint("mini.acdc_s90"))
    raw = sparse_file.read(path)
    state = {name: value * factor if value.ndim == 4 else value for name, value in raw.state.items()}
    out = folder / "mine_s90.safetensors"
    sparse_file.write(
        out, state, raw.masks, {"arch": "mini", "method": "acdc", "sparsity": 0.9, "distribution": "global"}
    )
    return out


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return own_network(tmp_path_factory.mktemp("network"))


@pytest.fixture(scope="module")
def bundle(network: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of one's own on digits by two probes, and an embedded one."""
    folder = tmp_path_factory.mktemp("rerun")
    for probe, seeds in (("sgd", [0, 1]), ("ridge", None)):
        table = sparsebench.run(
            results=folder / "runs", checkpoint=[str(network), "mini.dense"], task="digits", probe=probe, seed=seeds
        )
        assert (table["status"] == "ok").all(), table["error"].tolist()
    export_results(folder / "runs", folder / "mine.zip")
    return folder / "mine.zip"


@pytest.mark.slow
def test_runs_of_the_checkpoint_at_hand_are_run_again(bundle: Path, network: Path, tmp_path: Path, capsys) -> None:
    assert main(["verify", str(bundle), "--checkpoint", str(network), "--rerun", "3", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["problems"] == []
    assert len(found["again"]) == 3
    assert all(one["now"] == pytest.approx(one["claimed"], abs=0.002) for one in found["again"])
    assert all(one["agreement"] > 0.99 for one in found["again"])
    assert set(found["verdicts"].values()) == {"rerun"}
    means = Means(checkpoints=(network,), rerun=2)
    merge_bundles([bundle], tmp_path / "runs", means)
    assert set(leaderboard(read_results(tmp_path / "runs"))["verdict"]) == {"rerun"}


def test_without_its_file_only_embedded_networks_are(bundle: Path) -> None:
    found = verify_bundle(bundle, Means(rerun=1))
    by_network = {record.spec.checkpoint: set() for record in found.records}
    for record in found.records:
        by_network[record.spec.checkpoint].add(found.verdicts[record.record_key])
    assert by_network == {"mini.dense": {"rerun"}, "mine_s90": {"rescored"}}
    assert found.verdict == "rescored"


def test_a_file_of_another_network_is_refused(bundle: Path, tmp_path: Path, capsys) -> None:
    other = own_network(tmp_path, 1.02)
    with pytest.raises(InputError, match=r"is no checkpoint of this bundle .*other weights"):
        verify_bundle(bundle, Means(checkpoints=(other,)))
    (tmp_path / "text.pth").write_text("no checkpoint")
    for file in (tmp_path / "text.pth", tmp_path / "missing.pth", tmp_path):
        assert main(["verify", str(bundle), "--checkpoint", str(file)]) == 2
        assert "Traceback" not in capsys.readouterr().err


def test_guesses_that_suit_the_labels_are_found_out(bundle: Path, network: Path, tmp_path: Path, contents_of) -> None:
    made_up = contents_of(bundle)
    for name in [name for name in made_up.members if name.startswith("records/")]:
        key = name[len("records/") : -len(".json")]
        arrays = made_up.arrays(key)
        arrays["predicted"][:200] = arrays["labels"][:200]
        made_up.put_arrays(key, arrays)
        made_up.rescore(key)
    path = made_up.save(tmp_path / "made_up.zip")
    assert verify_bundle(path, Means()).verdict == "rescored"
    found = verify_bundle(path, Means(checkpoints=(network,), rerun=1))
    assert found.verdict == "refused"
    assert {problem.check for problem in found.problems} == {"rerun"}


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Networks with their own heads on made-up images: the images, and the bundle."""
    folder = tmp_path_factory.mktemp("upstream")
    data = own_images(folder / "data")
    sparsebench.run(results=folder / "runs", mode="upstream", checkpoint=["mini.dense", "mini.acdc_s90"], data_dir=data)
    export_results(folder / "runs", folder / "up.zip", data_dir=data)
    return data, folder / "up.zip"


def test_runs_of_a_network_s_own_head(upstream: tuple[Path, Path], tmp_path: Path) -> None:
    data, path = upstream
    found = verify_bundle(path, Means(data_dir=data))
    assert [problem.line for problem in found.problems] == []
    assert set(found.verdicts.values()) == {"rescored"}
    assert set(verify_bundle(path, Means()).verdicts.values()) == {"claimed"}  # these images aren't the registered ones
    done = merge_bundles([path], tmp_path / "runs", Means(data_dir=data))
    assert (len(done.added), done.conflicts) == (2, ())
    before, after = (read_results(at / "runs").set_index("record_key") for at in (path.parent, tmp_path))
    columns = ["checkpoint", "top1", "top5", "mode"]
    pd.testing.assert_frame_equal(before[columns].sort_index(), after[columns].sort_index())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda spec: {"head_sha256": "0" * 64}, "the head is not that of the registered"),
        (lambda spec: {"head_sha256": None}, "head_sha256 is no hash"),
        (lambda spec: {"protocol": {"lr": 0.1}}, "are not those of a protocol of mode upstream"),
        (lambda spec: {"probe": "sgd"}, "mode upstream with probe sgd"),
    ],
)
def test_a_head_that_was_tampered_with(change, message, upstream, contents_of, tmp_path: Path) -> None:
    c = contents_of(upstream[1])
    key = c.key("upstream")
    c.rename(key, **change(c.json(f"records/{key}.json")["spec"]))
    c.drop(key)
    found = verify_bundle(c.save(tmp_path / "bad.zip"), Means())
    assert any(message in problem.line for problem in found.problems), [p.line for p in found.problems]


def test_training_images_of_a_run_that_trains_nothing(upstream, contents_of, tmp_path: Path) -> None:
    c = contents_of(upstream[1])
    c.change(c.key("upstream"), lambda r: r["scores"].update(n_train=9))
    (problem,) = verify_bundle(c.save(tmp_path / "bad.zip"), Means()).problems
    assert "9 training" in problem.line


def test_scores_on_further_test_sets_stay_behind(tmp_path: Path) -> None:
    tasks = quick_suite(tmp_path / "quick")
    shared = {"suite": "quick", "tasks_dirs": [tasks], "checkpoint": "mini.acdc_s90", "mode": "linear"}
    sparsebench.run(results=tmp_path / "plain", **shared)
    sparsebench.run(results=tmp_path / "shifted", shift=["fog:3"], **shared)
    for name in ("plain", "shifted"):
        export_results(tmp_path / name, tmp_path / f"{name}.zip", tasks_dirs=[tasks])
    plain, shifted = (verify_bundle(tmp_path / f"{name}.zip").records for name in ("plain", "shifted"))
    assert [record.scores for record in plain] == [record.scores for record in shifted]
    assert not any(record.tests for record in shifted)
    assert all(record.tests for record in Store(tmp_path / "shifted").read())
    merge_bundles([tmp_path / "shifted.zip"], tmp_path / "shifted")
    assert all(record.tests for record in Store(tmp_path / "shifted").read())
