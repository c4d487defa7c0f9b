from __future__ import annotations

from pathlib import Path

import pytest

from sparsebench.cli.options.cluster import cluster_of
from sparsebench.cli.parser import build_parser
from sparsebench.runs.executors.cluster import Cluster, read_cluster
from sparsebench.schema import InputError, Numerics

PROFILE = """
partition: gpu
account: proj
time_minutes: 600
memory_gb: 7.5
gpus: 1
max_parallel: 16
setup: [module load cuda, 'export A="1 2"']
extra: {nice: 100, exclusive: true}
"""


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    path = tmp_path / "cluster.yaml"
    path.write_text(PROFILE)
    return path


def test_a_profile_becomes_options_of_sbatch(profile: Path) -> None:
    cluster = read_cluster(profile).for_runs(Numerics(threads=3), workers=2)
    assert cluster.sbatch_options() == {
        "partition": "gpu",
        "account": "proj",
        "time": 600,
        "nodes": 1,
        "ntasks": 1,
        "cpus-per-task": 5,
        "gpus-per-node": 1,
        "mem": "7680M",
        "nice": 100,
        "exclusive": True,
    }


@pytest.mark.parametrize(("device", "gpus"), [("cpu", 0), ("cuda", 1), ("cuda:1", 1)])
def test_gpus_follow_from_the_device_unless_said(device: str, gpus: int) -> None:
    assert Cluster().for_runs(Numerics(device=device), 0).gpus == gpus
    assert Cluster(gpus=2).for_runs(Numerics(device=device), 0).gpus == 2


def parsed(*arguments: str) -> Cluster | None:
    return cluster_of(build_parser().parse_args(["run", "--executor", "slurm", *arguments]))


def test_options_replace_the_keys_of_the_profile(profile: Path) -> None:
    flags = ["--partition", "cpu", "--gpus", "0", "--time-minutes", "30", "--setup", "true", "--sbatch", "nice=5"]
    cluster = parsed("--cluster", str(profile), *flags, "--sbatch", "contiguous", "--memory-gb", "2")
    assert cluster is not None
    assert (cluster.partition, cluster.account, cluster.gpus) == ("cpu", "proj", 0)
    assert (cluster.time_minutes, cluster.memory_gb, cluster.setup) == (30, 2.0, ("true",))
    assert cluster.extra == {"nice": "5", "exclusive": True, "contiguous": True}
    assert parsed() is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("partiton: gpu", "there is no such field .did you mean partition"),
        ("time_minutes: 0", "time_minutes: Input should be greater than 0"),
        ("time_minutes: '10'", "time_minutes: Input should be a valid integer"),
        ("memory_gb: .nan", "memory_gb"),
        ("partition: \"a\\n#SBATCH --b\"", "partition"),
        ("extra: {array: 0-9}", "sparsebench sets the option 'array' itself"),
        ("extra: {time: '1:00'}", "give 'time_minutes' instead"),
        ("extra: {--nice: 1}", "without dashes: nice"),
        ("extra: 3", "extra: Input should be a valid dictionary"),
        ("{time_minutes: 1, signal_seconds: 60}", "no less than the time limit"),
        ("- partition", "must hold a mapping"),
    ],
)  # fmt: skip
def test_mistakes_in_a_profile_name_file_and_field(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        read_cluster(path, extra={"nice": 1})
    assert str(path) in str(caught.value)


def test_the_warning_before_the_time_limit_leaves_most_of_a_short_job() -> None:
    assert Cluster().warning_seconds == 120
    assert Cluster(time_minutes=2).warning_seconds == 30
    assert Cluster(time_minutes=2, signal_seconds=90).warning_seconds == 90


def test_the_page_for_cluster_users_has_every_key_and_option() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "how-to" / "clusters.md").read_text()
    for name in Cluster.model_fields:
        assert f"| `{name}` |" in page, name
        option = {"extra": "sbatch"}.get(name, name)
        if name not in ("signal_seconds", "max_timeouts"):
            assert f"`--{option.replace('_', '-')}`" in page, name
