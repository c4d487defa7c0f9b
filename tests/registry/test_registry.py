from __future__ import annotations

from pathlib import Path

import pytest

from sparsebench.registry import CheckpointFilter, Registry, load_registry
from sparsebench.registry.names import method_id
from sparsebench.schema import Checkpoint, FileSource, InputError, RegistryError, Suite, UnknownNameError

GOOD = "r18.mine_s90: {method: gmp, arch: resnet18, sparsity: 0.9, file: {path: mine.pth}}\n"


def write(folder: Path, text: str) -> Path:
    path = folder / "own.yaml"
    path.write_text(text)
    return path


def test_own_entries_are_added_and_their_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    registry = load_registry([write(tmp_path, GOOD)])
    assert registry.checkpoint("r18.mine_s90").file.path == str(tmp_path / "mine.pth")
    assert "mini.dense" in registry.checkpoints


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD.replace("sparsity: 0.9", "sparsty: 0.9"), r"entry 'r18.mine_s90', field sparsty.*did you mean sparsity"),
        (GOOD.replace("0.9", "90"), r"field sparsity: .*less than 1 \(is 90\)"),
        (GOOD.replace("0.9", "high"), r"field sparsity: .*valid number.*\(is 'high'\)"),
        (GOOD.replace("0.9", "'0.9'"), r"field sparsity: .*valid number.*\(is '0.9'\)"),
        (GOOD.replace("arch: resnet18, ", ""), r"field arch: the field is missing"),
        (GOOD.replace("{path: mine.pth}", "mine.pth"), r"field file"),
        (GOOD.replace("method: gmp", "method: dense"), r"a dense checkpoint has sparsity 0"),
        (
            GOOD.replace("file:", "reference: mini.nothing, file:"),
            r"field reference: unknown checkpoint 'mini.nothing'",
        ),
        ("r18.mine_s90: 3\n", r"entry 'r18.mine_s90' is 3, not a mapping"),
        ("- a\n- b\n", r"must hold a mapping"),
        ("a: {b: c\n", r"line \d"),
        (GOOD + GOOD, r"given twice"),
        (
            "mini.dense: {method: dense, arch: mini, sparsity: 0, file: {path: x}}\n",
            r"'mini.dense' is already registered",
        ),
        ("a: !!python/object/apply:os.getcwd []\n", r"the tag !!python.* can't be used"),
        ("a: {method: gmp, arch: x, sparsity: 0.5, file: {path: 'package:../x'}}\n", r"may not contain"),
    ],
)
def test_mistakes_name_file_entry_and_field(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(RegistryError, match=message) as caught:
        load_registry([path])
    assert str(path) in str(caught.value) or "r18.mine_s90" in str(caught.value)
    assert caught.value.exit_code == 2


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="can't be read"):
        load_registry([tmp_path / "none.yaml"])
    with pytest.raises(RegistryError, match="is not a folder"):
        load_registry([], [tmp_path / "none"])


def test_own_tasks_with_roots_below_the_data_folder(tmp_path: Path) -> None:
    (tmp_path / "birds.yaml").write_text("loader: imagefolder\nroot: birds\n")
    assert load_registry([], [tmp_path]).task("birds").root == str(tmp_path / "birds")
    assert load_registry([], [tmp_path], Path("/data")).task("birds").root == "/data/birds"
    (tmp_path / "birds.yaml").write_text("loader: imagefolder\nroot: birds\nmetrics: top1\n")
    with pytest.raises(RegistryError, match=r"birds\.yaml.*field metrics.*did you mean metric"):
        load_registry([], [tmp_path])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ("{full: {lrr: 0.1}}", r"full mode has no 'lrr', did you mean lr\?"),
        ("{full: {lr: fast}}", r"full\.lr: .*valid number"),
        ("{full: {l2: {count: 3}}}", r"full mode has no 'l2'"),
        ("{linear: {nesterov: true}}", r"linear mode has no 'nesterov'"),
        ("{both: {lr: 0.1}}", r"field overrides\.both"),
    ],
)
def test_overrides_are_checked_when_a_task_is_read(tmp_path: Path, overrides: str, message: str) -> None:
    (tmp_path / "birds.yaml").write_text(f"loader: imagefolder\noverrides: {overrides}\n")
    with pytest.raises(RegistryError, match=rf"birds\.yaml, line 2: .*{message}"):
        load_registry([], [tmp_path])
    (tmp_path / "birds.yaml").write_text(
        "loader: imagefolder\noverrides: {full: {lr: 0.1}, linear: {l2: {count: 3}}}\n"
    )
    assert load_registry([], [tmp_path]).task("birds").overrides["full"] == {"lr": 0.1}


def test_own_suites_and_protocols(tmp_path: Path) -> None:
    (tmp_path / "protocols.yaml").write_text("quick: {mode: linear, probe: sgd, lr: 0.1, epochs: 2}\n")
    (tmp_path / "suites.yaml").write_text(
        "mine: {tasks: [digits], archs: [mini], modes: {linear: {protocol: quick, seeds: [0]}}}\n"
    )
    assert load_registry([], [tmp_path]).suite("mine").modes["linear"].protocol == "quick"
    (tmp_path / "suites.yaml").write_text(
        "mine: {tasks: [digit], archs: [mini], modes: {linear: {protocol: quick, seeds: [0]}}}\n"
    )
    with pytest.raises(RegistryError, match=r"suite 'mine': unknown task 'digit'.*did you mean digits"):
        load_registry([], [tmp_path])


def checkpoint(name: str, method: str, sparsity: float, **more: object) -> Checkpoint:
    fields = {"id": name, "method": method, "arch": "mini", "sparsity": sparsity, "file": FileSource(path="x")}
    return Checkpoint.model_validate(fields | more)


ZOO = Registry(
    {
        c.id: c
        for c in (
            checkpoint("mini.dense", "dense", 0),
            checkpoint("mini.acdc_s80", "acdc", 0.8),
            checkpoint("mini.acdc_s90", "acdc", 0.9),
            checkpoint("mini.acdc_2to4", "acdc", 0.5, distribution="nm", nm="2:4"),
            checkpoint("mini.gmp_s90", "gmp", 0.9),
            checkpoint("big.gmp_s90", "gmp", 0.9, arch="resnet50"),
        )
    }
)
SUITE = Suite.model_validate({"id": "s", "tasks": ["t"], "archs": ["mini"], "modes": {}})


def names(**fields: object) -> list[str]:
    return [c.id for c in CheckpointFilter(**fields).select(ZOO, SUITE)]  # type: ignore[arg-type]


def test_selection() -> None:
    assert names() == ["mini.dense", "mini.acdc_s80", "mini.acdc_s90", "mini.gmp_s90"]  # N:M only when asked for
    assert names(methods=["AC/DC"]) == ["mini.acdc_s80", "mini.acdc_s90"]
    assert names(sparsities=[0.9]) == ["mini.acdc_s90", "mini.gmp_s90"]
    assert names(sparsities=[0.5]) == ["mini.acdc_2to4"]
    assert names(methods=["gmp"], archs=["resnet50"]) == ["big.gmp_s90"]
    assert names(ids=["mini.acdc_2to4", "big.gmp_s90"]) == ["mini.acdc_2to4", "big.gmp_s90"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"methods": ["acdcc"]}, r"unknown method 'acdcc' \(did you mean acdc"),
        ({"methods": ["rigl"]}, r"no checkpoint of method 'rigl'.*there are: acdc, dense, gmp"),
        (
            {"methods": ["acdc"], "sparsities": [0.7]},
            r"no checkpoint of acdc at sparsity 0.7.*there are: 0.5, 0.8, 0.9",
        ),
        ({"sparsities": [90.0]}, r"did you mean 0\.9"),
        ({"archs": ["minni"]}, r"unknown architecture 'minni' \(did you mean mini"),
        ({"ids": ["mini.acdc_s91"]}, r"unknown checkpoint 'mini.acdc_s91' \(did you mean mini.acdc_s90"),
    ],
)
def test_a_selection_that_nothing_fits_says_what_there_is(fields: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        names(**fields)


def test_an_unknown_method_is_an_unknown_name() -> None:
    with pytest.raises(UnknownNameError):
        names(methods=["zzz"])


@pytest.mark.parametrize("spelling", ["AC/DC", "acdc", "ACDC", "ac-dc"])
def test_published_spellings(spelling: str) -> None:
    assert method_id(spelling) == "acdc"
    assert method_id("something new") == "something new"
