"""Intervals of a group's entries: scopes, ranks among those of one scope, replicates, clusters."""

import math

import numpy as np
import pytest

from sparsebench.analysis import Panel, Wrong, interval, relative_error_interval
from sparsebench.analysis.components import components
from sparsebench.analysis.statistics import relative_error_increases
from sparsebench.report.aggregate import aggregate
from sparsebench.report.leaderboard import leaderboard, to_csv
from sparsebench.report.tables import build_tables, markdown
from sparsebench.report.terminal import render_terminal
from sparsebench.schema import Clusters, Task
from sparsebench.store import Predictions

N, SEEDS = 300, 4
LABELS = np.arange(N) % 3
ERRORS = {"mini.dense": 0.2, "mini.good": 0.12, "mini.bad": 0.4, "mini.same": 0.2}


def outcomes(name: str, task: str, seed: int, error: float) -> np.ndarray:
    """Return which images are wrong: harder images are wrong for all, but for some noise per run."""
    hard = np.random.default_rng([len(task), ord(task[0])]).random(N)
    noise = np.random.default_rng([sum(map(ord, name)), ord(task[0]), seed]).random(N)
    return hard + 0.2 * (noise - 0.5) < error


class World:
    """Runs of made-up checkpoints and what they kept."""

    def __init__(self, rows):
        self._rows, self.parts, self.kept = rows, [], {}

    def add(self, name, error, tasks=("a", "b"), seeds=SEEDS, keep=True, metric="top1", **changes):
        cells = {}
        for task in tasks:
            wrong = [outcomes(name, task, seed, error) for seed in range(seeds)]
            cells[task] = [1.0 - float(np.mean(w)) for w in wrong]
        own = self._rows(name, "dense" if "dense" in name else "acdc", cells, n_test=N, metric=metric, **changes)
        for row in own:
            row["record_key"] = row["run_id"]
            if keep:
                wrong = outcomes(name, row["task"], row["seed"], error)
                ids = tuple(f"{row['task']}/{i // 3}/{i}" for i in range(N))
                self.kept[row["run_id"]] = Predictions(ids, LABELS, np.where(wrong, (LABELS + 1) % 3, LABELS))
        self.parts.append(own)

    def read(self, keys):
        return ((key, own) for key, own in self.kept.items() if key in keys)


@pytest.fixture
def world(rows):
    made = World(rows)
    for name, error in ERRORS.items():
        made.add(name, error)
    return made


def lines(world, table):
    found = aggregate(table(*world.parts), predictions=world.read).lines
    return {line["checkpoint"]: line for line in found}


def panel(task, names, seeds=SEEDS, clusters=None):
    levels = tuple((0, seed) for seed in range(seeds))
    models = {
        name: Wrong(np.stack([outcomes(name, task, seed, ERRORS[name]) for seed in range(seeds)]), levels)
        for name in names
    }
    return Panel(task, LABELS, models, "top1", clusters)


def test_the_interval_is_the_closed_form_over_seeds_and_images(world, table):
    found = lines(world, table)
    panels = [panel(task, ["mini.bad", "mini.dense"]) for task in ("a", "b")]
    expected = relative_error_interval(panels, "mini.bad", "mini.dense")
    got = found["mini.bad"]
    assert got["scope"] == "seeds and test images"
    assert [got[f"relative_error{end}"] for end in ("", "_low", "_high")] == pytest.approx(
        [expected.value, expected.low, expected.high]
    )
    assert math.isnan(got["image_bound"])
    parts = components(relative_error_increases(panels, {"mini.bad": "mini.dense"}), random_tasks=True)
    assert got["tasks_high"] == pytest.approx(interval(parts).high)
    assert got["seeds_high"] - got["seeds_low"] < got["images_high"] - got["images_low"]
    assert found["mini.dense"]["relative_error_high"] == 0.0


def test_ranks_are_intervals_that_hold_the_order(world, table):
    found = lines(world, table)
    ends = {name: (line["rank_low"], line["rank_high"]) for name, line in found.items()}
    assert ends["mini.good"][0] == 1
    assert ends["mini.bad"] == (4, 4)
    assert ends["mini.same"][1] == 3
    assert ends["mini.dense"][1] == 3
    assert {line["ranked"] for line in found.values()} == {4}


def test_only_entries_of_one_scope_are_ranked_together(world, table):
    world.add("mini.lone", 0.3, keep=False)
    world.add("mini.other", 0.3, keep=False)
    found = lines(world, table)
    assert found["mini.lone"]["scope"] == "seeds"
    assert found["mini.lone"]["image_bound"] > 0
    assert {name: line["ranked"] for name, line in found.items()} == {
        "mini.lone": 2, "mini.other": 2, "mini.bad": 4, "mini.good": 4, "mini.same": 4, "mini.dense": 4,
    }  # fmt: skip
    text = markdown(build_tables(aggregate(table(*world.parts), predictions=world.read)))
    assert "Interval over" in text
    assert "± " in text


def test_a_deterministic_probe_has_an_interval_over_images(rows, table):
    world = World(rows)
    for name in ("mini.dense", "mini.bad"):
        world.add(name, ERRORS[name], seeds=1)
    got = lines(world, table)["mini.bad"]
    assert got["scope"] == "test images"
    assert got["relative_error_low"] < got["relative_error"] < got["relative_error_high"]
    assert math.isnan(got["seeds_low"])


def test_predictions_that_are_not_of_the_accuracy_do_not_count(world, table):
    frame = table(*world.parts)
    shifted = frame["checkpoint"] == "mini.bad"
    frame.loc[shifted, "accuracy"] += 0.01  # as a few-shot accuracy, which is a mean over draws
    found = {line["checkpoint"]: line for line in aggregate(frame, predictions=world.read).lines}
    assert found["mini.bad"]["scope"] == "seeds"
    assert found["mini.good"]["scope"] == "seeds and test images"


def test_declared_clusters_are_the_unit(world, table, suites):
    plain = lines(world, table)["mini.bad"]
    suites.tasks["a"] = Task(id="a", loader="x", clusters=Clusters(pattern=r"a/(\d+)/\d+"))
    try:
        clustered = lines(world, table)["mini.bad"]
    finally:
        suites.tasks.clear()
    units = np.arange(N) // 3
    panels = [panel("a", ["mini.bad", "mini.dense"], clusters=units), panel("b", ["mini.bad", "mini.dense"])]
    expected = relative_error_interval(panels, "mini.bad", "mini.dense")
    assert clustered["relative_error_low"] == pytest.approx(expected.low)
    assert clustered["relative_error_low"] != pytest.approx(plain["relative_error_low"], rel=1e-3)


def replicated(world, count=3, **changes):
    for replicate in range(1, count):
        for name in ("mini.dense", "mini.bad"):
            reference = None if "dense" in name else f"mini.dense_r{replicate}"
            world.add(f"{name}_r{replicate}", ERRORS[name], replicate=replicate, reference=reference, **changes)


def test_replicates_are_one_entry_compared_with_their_own_reference(world, table):
    replicated(world)
    found = lines(world, table)
    assert found.keys() == ERRORS.keys()
    bad = found["mini.bad"]
    assert bad["replicates"] == "0 1 2"
    assert bad["scope"] == "seeds, test images and upstream replicates"
    assert bad["note"] == "upstream replicates 0, 1, 2"
    assert found["mini.good"]["replicates"] == "0"
    assert found["mini.good"]["scope"] == "seeds and test images"
    assert bad["ranked"] == 2, "with dense, whose replicates it is compared with"
    names = ["", "_r1", "_r2"]
    levels = tuple((r, s) for r in range(3) for s in range(SEEDS))
    panels = []
    for task in ("a", "b"):
        models = {
            base: Wrong(
                np.stack([outcomes(base + end, task, s, ERRORS[base]) for end in names for s in range(SEEDS)]), levels
            )
            for base in ("mini.dense", "mini.bad")
        }
        panels.append(Panel(task, LABELS, models))
    expected = relative_error_interval(panels, "mini.bad", "mini.dense")
    assert (bad["relative_error"], bad["relative_error_high"]) == pytest.approx((expected.value, expected.high))
    alone = np.mean([outcomes("mini.good", task, s, 0.12).mean() for task in ("a", "b") for s in range(SEEDS)])
    assert found["mini.good"]["mean_accuracy"] == pytest.approx(1 - alone)


def test_a_replicate_alone_keeps_its_entry_and_says_so(rows, table):
    world = World(rows)
    world.add("mini.bad_r1", 0.4, replicate=1, reference="mini.dense_r1")
    world.add("mini.dense_r1", 0.2, replicate=1)
    found = lines(world, table)
    assert found["mini.bad"]["note"] == "upstream replicates 1"
    assert found["mini.bad"]["relative_error"] == pytest.approx(1.0, abs=0.3)
    assert found["mini.bad"]["scope"] == "seeds and test images"


def test_a_replicate_without_its_reference_counts_for_accuracy_alone(world, table):
    world.add("mini.bad_r1", 0.4, replicate=1, reference="mini.dense_r1")
    plain = World(world._rows)
    plain.parts, plain.kept = world.parts[:-1], world.kept
    with_it, without = lines(world, table)["mini.bad"], lines(plain, table)["mini.bad"]
    assert with_it["relative_error"] == without["relative_error"]
    assert with_it["mean_accuracy"] != without["mean_accuracy"]


def test_the_leaderboard_is_the_same_bytes_in_any_order(world, table):
    replicated(world)
    frame = table(*world.parts)
    first = to_csv(leaderboard(frame, world.read))
    again = to_csv(leaderboard(frame.sample(frac=1.0, random_state=1), lambda keys: reversed(list(world.read(keys)))))
    assert first == again
    assert "seeds, test images and upstream replicates" in first


def test_the_table_after_a_run_shows_the_entry_of_a_replicate(rows, table):
    world = World(rows)
    world.add("mini.bad_r1", 0.4, replicate=1, reference="mini.dense_r1")
    world.add("mini.dense_r1", 0.2, replicate=1)
    frame = table(*world.parts)
    keys = set(frame.loc[frame["checkpoint"] == "mini.bad_r1", "record_key"])
    text = render_terminal(frame, keys=keys, width=120, predictions=world.read)
    assert "mini.bad *" in text
    assert "mini.bad: upstream replicates 1" in text
    assert "95 % interval over seeds and test images" in text
