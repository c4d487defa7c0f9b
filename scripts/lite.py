"""The study of results/lite: EfficientNet-Lite0, -Lite1 and -Lite2, pruned at once, on photographs.

Each step is a command of sparsebench; ``--plan`` prints them all. A step that is done is not done again, so that the
same call resumes. The images don't come with sparsebench: ``--data DIR`` has ``dtd10/<class>/*.jpg``, ``cifar10.npz``
(JPEGs as ``prune --data`` reads them, with ``train`` and ``test``) and ``imagenet-samples/`` (photographs named by
WordNet id). The networks calibrate on the ImageNet photographs, without labels: what mode ``upstream`` says of these
photographs is a check that the networks are whole, and no result.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from common import ROOT, run_script, shown
from sparsebench.datasets.sources.jpegs_npz import read_npz
from sparsebench.schema import InputError

NETWORKS = ("lite0", "lite1", "lite2")
METHODS = ("magnitude", "wanda", "sparsegpt")
SPARSITIES = ("0.5", "0.6", "0.7", "0.8")
CORRUPTIONS = ("gaussian_noise:3", "defocus_blur:3", "fog:3", "jpeg_compression:3")
BENCH = ("--what", "engines", "--threads", "1", "--batch", "16", "--turns", "5", "--suite", "mini")
PARTS = ("prune", "dtd", "upstream", "cifar", "shift", "bench", "report")
RATES = ("--distribution", "uniform", "--exempt", "conv_stem", "--exempt", "classifier")
"""Every layer to the same sparsity, stem and head dense: methods differ in the weights that they keep alone."""
TASKS = ROOT / "results" / "lite" / "tasks"
_SPLITS = {"train": ("train", 0, 170), "val": ("train", 170, 200), "test": ("test", 0, 200)}


@dataclass(frozen=True)
class Step:
    """A command, the part of the study that it belongs to, and the files that it isn't needed for any more."""

    part: str
    command: tuple[str, ...]
    makes: tuple[Path, ...] = ()

    @property
    def done(self) -> bool:
        """Whether all that it makes is there; a run knows by itself what it has done."""
        return bool(self.makes) and all(path.exists() for path in self.makes)


def dense(network: str) -> str:
    """Return the id of a dense network."""
    return f"tf_efficientnet_{network}.dense"


def checkpoint(work: Path, network: str, method: str, sparsity: str) -> Path:
    """Return the file of a pruned network."""
    return work / "checkpoints" / f"{network}_{method}_s{float(sparsity) * 100:.0f}.safetensors"


def steps(data: Path, work: Path, networks: Sequence[str], jobs: int = 1, limit: int | None = None) -> Iterator[Step]:
    """Yield the steps of the study, one network after the other.

    Parameters
    ----------
    data, work : Path
        Where the images are, and where everything is written.
    networks : sequence of str
        Of :data:`NETWORKS`.
    jobs : int
        Runs at a time.
    limit : int, optional
        At most so many images of each split, for a quick look.
    """
    for network in networks:
        files = [checkpoint(work, network, method, sparsity) for method in METHODS for sparsity in SPARSITIES]
        for file, method, sparsity in zip(
            files, [m for m in METHODS for _ in SPARSITIES], SPARSITIES * len(METHODS), strict=True
        ):
            settings = ["--threads", str(jobs), *RATES, *([] if method == "magnitude" else ["--set", "images=128"])]
            command = ["prune", "--method", method, "--sparsity", sparsity, "--init", dense(network), *settings]
            command += ["--data", str(data / "imagenet-samples"), "--out", str(file)]
            yield Step("prune", tuple(command), (file,))
        some = () if limit is None else ("--limit", str(limit))
        common = ("--checkpoint", dense(network), *map(str, files), "--jobs", str(jobs), *some)
        # the features are within 1e-4 of torch's, in half the time
        common += ("--results", str(work / "runs"), "--tasks-dir", str(TASKS), "--suite", "lite", "--engine", "sparse")
        probes = ("--mode", "linear", "--probe", "sgd", "lbfgs", "fewshot")
        yield Step("dtd", ("run", *common, "--task", "dtd10", "--data", str(data), *probes))
        photographs = str(data / "imagenet-samples")
        yield Step("upstream", ("run", *common, "--task", "imagenet", "--data", photographs, "--mode", "upstream"))
        yield Step("cifar", ("run", *common, "--task", "cifar10-2000", "--data", str(work / "data"), *probes))
        shift = ("--mode", "linear", "--probe", "sgd", "--shift", *CORRUPTIONS)
        yield Step("shift", ("run", *common, "--task", "dtd10", "--data", str(data), *shift))
        for method in ("dense", *METHODS):
            out = work / "bench" / f"{network}_{method}"
            chosen = (
                [dense(network)]
                if method == "dense"
                else [str(checkpoint(work, network, method, s)) for s in SPARSITIES]
            )
            yield Step("bench", ("bench", *BENCH, "--checkpoint", *chosen, "--out", str(out)), (out / "engines.csv",))
    yield Step("report", ("report", "--results", str(work / "runs"), "--out", str(work / "report")))


def write_cifar(source: Path, out: Path) -> None:
    """Write some of CIFAR-10's images as files, ``<split>/<class>/<number>.jpg``; nothing where all are there.

    Raises
    ------
    DatasetError
        If the source can't be read.
    InputError
        If a class has too few images.
    """
    if (out.parent / f"{out.name}.done").exists():
        return
    classes, parts = read_npz(source, ("train", "test"))
    for split, (name, first, last) in _SPLITS.items():
        part = parts[("train", "test").index(name)]
        for number, label in enumerate(classes):
            images = [i for i, one in enumerate(part.labels.tolist()) if one == number][first:last]
            if len(images) < last - first:
                raise InputError(f"{source} has too few {name} images of {label}", "give all of CIFAR-10")
            folder = out / split / label
            folder.mkdir(parents=True, exist_ok=True)
            for i in images:
                (folder / f"{i:05d}.jpg").write_bytes(part.data(i))
    (out.parent / f"{out.name}.done").touch()


def main(argv: Sequence[str] | None = None) -> int:
    """Do what isn't done; the exit status of the first command that fails, else 0."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="the folder that the images are in")
    parser.add_argument("--work", type=Path, default=Path("lite-study"), metavar="DIR", help="where to write")
    parser.add_argument("--network", nargs="+", choices=NETWORKS, default=NETWORKS, help="default: all")
    parser.add_argument("--part", nargs="+", choices=PARTS, default=PARTS, help="default: all, in this order")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="runs at a time, and threads that prune")
    parser.add_argument("--limit", type=int, metavar="N", help="at most N images of each split, for a quick look")
    parser.add_argument("--plan", action="store_true", help="print the commands that are left, and run none")
    arguments = parser.parse_args(argv)
    left = [
        step
        for step in steps(arguments.data, arguments.work, arguments.network, arguments.jobs, arguments.limit)
        if step.part in arguments.part and not step.done
    ]
    if arguments.plan:
        print("\n".join(shlex.join(("sparsebench", *step.command)) for step in left))
        return 0
    (arguments.work / "checkpoints").mkdir(parents=True, exist_ok=True)
    if "cifar" in arguments.part:
        write_cifar(arguments.data / "cifar10.npz", arguments.work / "data" / "cifar10-2000")
    for number, step in enumerate(left, start=1):
        print(f"{number} of {len(left)}: {step.part}", file=sys.stderr, flush=True)
        status = subprocess.run([sys.executable, "-m", "sparsebench", *step.command], check=False).returncode
        if status:
            print(f"error: {step.part} ended with status {status}; the same command resumes", file=sys.stderr)
            return status
    print(f"done: {shown(arguments.work)}")
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
