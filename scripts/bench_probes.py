"""Time the probes on synthetic features, interleaved, and compare them with SGD through a DataLoader.

The yardstick is the published protocol as it is usually run: a TensorDataset of features in a DataLoader with 4
workers, nn.Linear, autograd, torch.optim.SGD. Of its 150 epochs a few are run and the rest is extrapolated, as epochs
cost the same; everything else is run whole. Each round times all of them once; medians and their ratios are printed.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from common import run_script
from sparsebench.registry import builtin_protocols
from sparsebench.schema import Protocol
from sparsebench.transfer.probes.convergence import solve
from sparsebench.transfer.probes.heads import fit_heads
from sparsebench.transfer.probes.quasi_newton import PATH_TOLERANCE, TOLERANCE, SoftmaxRegression
from sparsebench.transfer.probes.rotation import RotatedFeatures, Rotation, rotate
from sparsebench.transfer.probes.rows import Rows
from sparsebench.transfer.probes.sgd import fit
from sparsebench.transfer.probes.softmax import CrossEntropy

SEEDS = (0, 1, 2, 3, 4)
REACHES = 1e-1  # tolerance at which L-BFGS is stopped to be compared with where SGD ends


def features(n: int, d: int, classes: int, separation: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw features (n, d) as after a ReLU, around centres in 256 dimensions, and their classes (n,)."""
    source = torch.Generator().manual_seed(0)
    mixing = torch.randn(256, d, generator=source) / 16
    centres = torch.randn(classes, 256, generator=source) * separation
    y = torch.randint(classes, (n,), generator=source)
    hidden = centres[y] + torch.randn(n, 256, generator=source)
    x = torch.relu(hidden @ mixing + 0.3 * torch.randn(n, d, generator=source) - 0.3)
    return (x * (0.45 / x.mean())).contiguous(), y


def loader_epochs(x: torch.Tensor, y: torch.Tensor, classes: int, protocol: Protocol, epochs: int) -> None:
    """Train some epochs through a DataLoader."""
    layer = nn.Linear(x.shape[1], classes)
    optimizer = torch.optim.SGD(
        layer.parameters(), protocol.lr, momentum=protocol.momentum, weight_decay=protocol.weight_decay
    )
    loader = DataLoader(TensorDataset(x, y), protocol.batch_size, shuffle=True, num_workers=4)
    for _ in range(epochs):
        for batch, labels in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(layer(batch), labels).backward()
            optimizer.step()


def seconds(work: Callable[[], object]) -> float:
    """Return how long something takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


class Problem:
    """The features, and what is timed on them."""

    def __init__(self, n: int, d: int, classes: int, separation: float) -> None:
        self.x, self.y = features(n, d, classes, separation)
        self.classes = classes
        self.protocol = builtin_protocols().protocol("cvpr22-linear", "linear")
        self.rows, self.labels = Rows([self.x.numpy()]), self.y.numpy()
        self.rotation: Rotation = rotate(self.rows)
        self.rotated = RotatedFeatures(self.rows, self.rotation)

    def one_seed(self) -> None:
        """Fit one seed of the published protocol."""
        fit(self.x.numpy(), self.labels, self.classes, self.protocol, 0)

    def five_seeds(self) -> None:
        """Fit all seeds in one program."""
        fit_heads(self.rows, self.labels, self.classes, [self.protocol], SEEDS)

    def set_up(self) -> None:
        """Make what all L-BFGS fits on the features share."""
        RotatedFeatures(self.rows, rotate(self.rows))

    def regression(self) -> SoftmaxRegression:
        """Return a fit that hasn't begun."""
        return SoftmaxRegression(self.rotated, self.rotation, CrossEntropy(self.y), self.classes)

    def lbfgs(self) -> None:
        """Fit once at SGD's penalty, to SGD's objective or better."""
        solve(self.regression(), self.protocol.weight_decay, tolerance=REACHES)

    def lbfgs_whole(self) -> None:
        """Fit the same to the default tolerance."""
        solve(self.regression(), self.protocol.weight_decay, tolerance=TOLERANCE)

    def path(self) -> None:
        """Fit all 45 penalties."""
        regression = self.regression()
        for penalty in np.logspace(5, -6, 45) / len(self.y):
            regression.minimise(float(penalty), tolerance=PATH_TOLERANCE)

    def objectives(self) -> tuple[float, float]:
        """Return where SGD and L-BFGS as timed end: mean cross-entropy + weight decay / 2 |W|^2."""
        head = fit(self.x.numpy(), self.labels, self.classes, self.protocol, 0)
        logits = torch.from_numpy(head.logits(self.rows)).double()
        square = float((head.weight.astype(np.float64) ** 2).sum() + (head.bias.astype(np.float64) ** 2).sum())
        by_sgd = float(nn.functional.cross_entropy(logits, self.y)) + self.protocol.weight_decay / 2 * square
        return by_sgd, solve(self.regression(), self.protocol.weight_decay, tolerance=REACHES).objective


def main(argv: Sequence[str] | None = None) -> int:
    """Print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--images", type=int, default=3680)
    parser.add_argument("--dimension", type=int, default=2048)
    parser.add_argument("--classes", type=int, default=37)
    parser.add_argument("--separation", type=float, default=0.6, help="of the classes' centres (default: 0.6)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--loader-epochs", type=int, default=10, help="run; the rest is extrapolated")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args(argv)
    torch.set_num_threads(arguments.threads)
    warnings.filterwarnings("ignore", message="This DataLoader will create")
    problem = Problem(arguments.images, arguments.dimension, arguments.classes, arguments.separation)
    scale = problem.protocol.epochs / arguments.loader_epochs
    works: dict[str, Callable[[], None]] = {
        "five SGD seeds, stacked": problem.five_seeds,
        "one SGD seed": problem.one_seed,
        "L-BFGS set-up": problem.set_up,
        "L-BFGS to SGD's objective": problem.lbfgs,
        "L-BFGS to its tolerance": problem.lbfgs_whole,
        "L-BFGS path, 45 penalties": problem.path,
    }
    times: dict[str, list[float]] = {"DataLoader": [], **{name: [] for name in works}}
    for _ in range(arguments.rounds):
        passed = seconds(
            lambda: loader_epochs(problem.x, problem.y, problem.classes, problem.protocol, arguments.loader_epochs)
        )
        times["DataLoader"].append(scale * passed)
        for name, work in works.items():
            times[name].append(seconds(work))
            print(f"{name}: {times[name][-1]:.2f} s", file=sys.stderr, flush=True)
    median = {name: statistics.median(values) for name, values in times.items()}
    print(f"{arguments.images} images, {arguments.dimension} features, {arguments.classes} classes, "
          f"{arguments.threads} thread(s), {arguments.rounds} rounds; DataLoader: {arguments.loader_epochs} epochs of "
          f"{problem.protocol.epochs}, extrapolated")  # fmt: skip
    for name, values in times.items():
        print(f"{name:28} {median[name]:8.2f} s  ({min(values):.2f}-{max(values):.2f})")
    loader, fitted = median["DataLoader"], median["L-BFGS to SGD's objective"]
    by_sgd, by_lbfgs = problem.objectives()
    stacked, along = 5 * loader / median["five SGD seeds, stacked"], median["L-BFGS path, 45 penalties"]
    print(f"five DataLoader runs / five seeds stacked: {stacked:.0f} (target: 30 or more)")
    print(f"DataLoader run / L-BFGS fit: {loader / fitted:.0f} (target: 150 or more)")
    print(f"    objective {by_lbfgs:.6f}, SGD's {by_sgd:.6f}")
    print(f"path / SGD seed: {along / median['one SGD seed']:.2f} (target: below 3)")
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
