"""``sparsebench fetch``, and what ``run``, ``load`` and ``inspect`` do about files that aren't here."""

from __future__ import annotations

from pathlib import Path

import pytest
from file_server import FileServer, file, page, status

import sparsebench
from sparsebench import datasets
from sparsebench.cli import main
from sparsebench.common.files import sha256_file
from sparsebench.common.paths import package_file
from sparsebench.schema import CheckpointError, DatasetError
from sparsebench.store import Store

ACDC = package_file("weights/mini.acdc_s90.safetensors")


@pytest.fixture
def own(tmp_path: Path, server: FileServer) -> Path:
    """A registry: a good entry, one whose link is dead, one whose link is a page, and one got by hand."""
    good, gone = server.on("/good", file(ACDC.read_bytes())), server.on("/gone", status(404))
    entry = "{{method: acdc, arch: mini, sparsity: 0.9, exempt: [conv1, fc], file: {{path: 'cache:{}', {}}}}}"
    lines = {
        "pub.good": entry.format("pub/good.safetensors", f"url: '{good}', size: {ACDC.stat().st_size}"),
        "pub.gone": entry.format("pub/gone.safetensors", f"url: '{gone}', mirrors: ['{server.on('/page', page)}']"),
        "pub.manual": entry.format("pub/manual.safetensors", "manual: 'ask the authors for manual.safetensors'"),
    }
    path = tmp_path / "own.yaml"
    path.write_text("".join(f"{name}: {text}\n" for name, text in lines.items()))
    return path


def fetch(own: Path, *more: str) -> int:
    return main(["fetch", "--registry", str(own), "--checkpoints-only", "--tries", "1", *more])


def line(own: Path, name: str, *more: str) -> list[str]:
    chosen = ["--checkpoint", name, "--task", "digits", "--mode", "linear", "--seed", "0"]
    return ["run", "--registry", str(own), *chosen, "--results", str(own.parent / "runs"), *more]


def test_a_dry_run_lists_and_fetches_nothing(
    own: Path, server: FileServer, checkpoints: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = ["--checkpoint", "mini.dense", "--checkpoint", "pub.good", "--checkpoint", "pub.manual"]
    assert fetch(own, *chosen, "--dry-run") == 0
    head, dense, good, manual, total, instruction = capsys.readouterr().out.splitlines()
    assert head.split() == ["WHAT", "STATE", "BYTES", "FROM"]
    assert dense.split()[:3] == ["checkpoint", "mini.dense", "here"]
    assert good.split()[2:5] == ["to", "fetch", f"{ACDC.stat().st_size:,}"]
    assert server.url("/good") in good
    assert "by hand" in manual
    assert total.startswith("3 needed, 1 here, 1 to fetch (")
    assert "ask the authors for manual.safetensors" in instruction
    assert server.requests == []
    assert not checkpoints.exists()


def test_what_can_be_fetched_is_and_the_rest_is_summed_up(
    own: Path, checkpoints: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fetch(own, *[part for n in ("gone", "manual", "good") for part in ("--checkpoint", f"pub.{n}")]) == 1
    captured = capsys.readouterr()
    assert sha256_file(checkpoints / "pub" / "good.safetensors") == sha256_file(ACDC)
    assert "3 needed, 1 here" in captured.out
    *_, gone, manual, last = captured.err.splitlines()
    assert "404 Not Found; 127.0.0.1" in gone
    assert "a web page, titled" in gone
    assert "ask the authors for manual.safetensors" in manual
    assert last == "error: 2 of 3 are not here"


def test_everything_runs_offline_afterwards(
    own: Path, server: FileServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fetch(own, "--checkpoint", "pub.good") == 0
    monkeypatch.setenv("SPARSEBENCH_OFFLINE", "1")
    count = len(server.requests)
    assert fetch(own, "--checkpoint", "pub.good") == 0
    assert main(line(own, "pub.good")) == 0
    assert len(server.requests) == count
    (record,) = Store(own.parent / "runs").read()
    assert record.status == "ok"


def test_run_fetches_what_is_missing(own: Path, checkpoints: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(line(own, "pub.good")) == 0
    assert "fetching pub.good" in capsys.readouterr().err
    assert (checkpoints / "sparsebench.lock.yaml").exists()
    (record,) = Store(own.parent / "runs").read()
    assert record.spec.weights_sha256 == sparsebench.load("mini.acdc_s90").info.weights_sha256


@pytest.mark.parametrize("flag", ["--offline", "SPARSEBENCH_OFFLINE=1", "HF_HUB_OFFLINE=1"])
def test_what_forbids_fetching_names_the_command(
    flag: str,
    own: Path,
    server: FileServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    variable, equals, value = flag.partition("=")
    if equals:
        monkeypatch.setenv(variable, value)
    options = [] if equals else [flag]
    assert main(line(own, "pub.good", "--checkpoint", "pub.gone", *options)) == 2
    (text,) = capsys.readouterr().err.splitlines()
    assert text.startswith(f"error: not here: 2 checkpoints (pub.good, pub.gone); {flag} forbids fetching")
    command = f"sparsebench fetch --checkpoint pub.good --checkpoint pub.gone --task digits --registry {own}"
    assert text.endswith(command)
    assert server.requests == []
    assert not (own.parent / "runs").exists()


@pytest.mark.parametrize(
    ("name", "message"), [("pub.gone", "can't be fetched: 127.0.0.1"), ("pub.manual", "ask the authors for")]
)
def test_what_cannot_be_fetched_ends_a_run_before_it_starts(
    name: str, message: str, own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(line(own, name)) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: checkpoint ")
    assert message in last
    assert not (own.parent / "runs").exists()


def test_load_and_inspect_fetch_too(
    own: Path, server: FileServer, checkpoints: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(CheckpointError, match=r"is not here .*sparsebench fetch --checkpoint pub\.good"):
        sparsebench.load("pub.good", registry=own, offline=True)
    assert main(["inspect", "pub.good", "--registry", str(own), "--offline"]) == 2
    assert server.requests == []
    assert sparsebench.load("pub.good", registry=own).info.path == checkpoints / "pub" / "good.safetensors"
    (checkpoints / "pub" / "good.safetensors").unlink()
    assert main(["inspect", "pub.good", "--registry", str(own)]) == 0


def test_fetch_itself_obeys_our_own_switch(
    own: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SPARSEBENCH_OFFLINE", "1")
    assert fetch(own, "--checkpoint", "pub.good") == 2
    assert "SPARSEBENCH_OFFLINE=1 forbids the network; unset it to fetch" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--checkpoint", "pub.goood"], "unknown checkpoint 'pub.goood'; did you mean pub.good"),
        (["--suite", "minni"], "unknown suite 'minni'"),
        (["--method", "acdd"], "unknown method 'acdd'"),
    ],
)
def test_bad_selectors(own: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert fetch(own, *options) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("options", [["--timeout", "0"], ["--tries", "0"], ["--checkpoints-only", "--tasks-only"]])
def test_bad_arguments(options: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["fetch", *options])
    assert stop.value.code == 2


class FakeDownload:
    """A data set that is not here until it is downloaded: then the digits task's."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.here, self.calls = False, 0
        monkeypatch.setattr("sparsebench.runs.prefetch.registered", lambda task: None)
        real = datasets.open_task
        monkeypatch.setattr(datasets, "can_download", lambda task: task.id == "digits")
        monkeypatch.setattr(datasets, "download_task", self.download)
        monkeypatch.setattr(datasets, "open_task", lambda task, *a: real(task, *a) if self.here else self.missing())

    def download(self, task: object, folder: Path) -> None:
        self.here, self.folder = True, folder
        self.calls += 1

    def missing(self) -> None:
        raise DatasetError("task 'digits': not complete", "get it")


def test_a_data_set_that_can_be_downloaded_is(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = FakeDownload(monkeypatch)
    assert main(line(own, "mini.dense", "--offline")) == 2
    assert "not here: 1 data set (digits); --offline forbids" in capsys.readouterr().err
    monkeypatch.setenv("SPARSEBENCH_DATA", str(tmp_path / "data"))
    assert main(["fetch", "--task", "digits", "--tasks-only"]) == 0
    assert (fake.calls, fake.folder) == (1, tmp_path / "data")
    assert "1 needed, 1 here" in capsys.readouterr().out
    assert main(["fetch", "--task", "digits", "--tasks-only"]) == 0
    assert fake.calls == 1


def test_run_downloads_a_data_set(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeDownload(monkeypatch)
    (tmp_path / "data").mkdir()
    assert main(line(own, "mini.dense", "--data", str(tmp_path / "data"))) == 0
    assert (fake.calls, fake.folder) == (1, tmp_path / "data")


def test_cifar_is_asked_of_torchvision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torchvision

    from sparsebench.registry import load_registry

    asked: list[tuple[str, bool]] = []
    monkeypatch.setattr(torchvision.datasets, "CIFAR10", lambda root, download: asked.append((root, download)))
    task = load_registry().task("cifar10")
    assert datasets.can_download(task)
    assert datasets.download_task(task, tmp_path / "data") == tmp_path / "data"
    assert asked == [(str(tmp_path / "data"), True)]

    def fail(root: str, download: bool) -> None:
        raise RuntimeError("File not found\nor corrupted.")

    monkeypatch.setattr(torchvision.datasets, "CIFAR10", fail)
    with pytest.raises(DatasetError, match=r"the download into .* failed: File not found or corrupted\."):
        datasets.download_task(task, tmp_path / "data")
    assert datasets.download_task(load_registry().task("digits"), tmp_path) is None
