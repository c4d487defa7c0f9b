"""What ``--shift`` may name, and what tasks may call their further test sets."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from sparsebench.registry import read_task
from sparsebench.registry.shifts import select_sets
from sparsebench.schema import FurtherSet, InputError, RegistryError, Task, UnknownNameError

A = Task(
    id="a", loader="digits", tests={"far": {"root": "far"}, "near": {"options": {"size": [1, 2]}, "on_request": True}}
)
B = Task(id="b", loader="digits")


def names(*texts: str, tasks: tuple[Task, ...] = (A, B)) -> dict[str, list[str]]:
    return {
        task: [name for name, (_, asked) in sets.items() if asked] for task, sets in select_sets(texts, tasks).items()
    }


def test_a_corruption_has_one_severity_or_all() -> None:
    assert names("fog:3") == {"a": ["fog:3"], "b": ["fog:3"]}
    assert names("fog")["b"] == [f"fog:{severity}" for severity in range(1, 6)]
    found = select_sets(["fog:3"], [B])["b"]["fog:3"]
    assert found == (FurtherSet(corruption="fog", severity=3), True)


def test_families_and_all_of_them() -> None:
    assert names("noise:2")["a"] == ["gaussian_noise:2", "shot_noise:2", "impulse_noise:2"]
    assert len(names("corruptions:3")["a"]) == 14
    assert len(names("corruptions")["a"]) == 70
    assert names("fog:1", "weather:1")["a"] == ["fog:1", "snow:1", "brightness:1"]


def test_a_test_set_of_a_task_is_that_task_s_alone() -> None:
    assert names("near") == {"a": ["near"], "b": []}
    assert names("tests") == {"a": ["far", "near"], "b": []}


def test_what_is_not_on_request_comes_unasked() -> None:
    assert {name: asked for name, (_, asked) in select_sets([], [A])["a"].items()} == {"far": False}
    assert {name: asked for name, (_, asked) in select_sets(["far"], [A])["a"].items()} == {"far": True}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gausian_noise:3", "unknown corruption or test set 'gausian_noise'; did you mean gaussian_noise"),
        ("nearr", "did you mean near"),
        ("corruption:3", "did you mean corruptions"),
        ("frost:2", "frost is left out; it needs photographs"),
        ("fog:0", "'0' is not a severity; severities are 1 to 5"),
        ("fog:six", "'six' is not a severity"),
        ("fog:", "'' is not a severity"),
        ("near:3", "'near' has no severity; give --shift near"),
    ],
)
def test_what_cannot_be_meant(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        names(text)
    assert message in caught.value.line


def test_no_test_sets_to_name() -> None:
    with pytest.raises(InputError, match="none of the tasks names a test set"):
        names("tests", tasks=(B,))
    with pytest.raises(UnknownNameError):
        names("near", tasks=(B,))


@pytest.mark.parametrize(
    ("tests", "message"),
    [
        ({"tests": {"root": "x"}}, "'tests' is what --shift calls"),
        ({"a:3": {"root": "x"}}, "'a:3' is no name"),
        ({"x": {}}, "it needs a root, a loader, options, or a corruption"),
        ({"x": {"corruption": "fog"}}, "a corruption and a severity from 1 to 5 go together"),
        ({"x": {"corruption": "fog", "severity": 6}}, "less than or equal to 5"),
        (
            {"x": {"corruption": "fog", "severity": 1, "root": "x"}},
            "a corruption is of the task's own images: no 'root'",
        ),
        ({"x": {"rot": "x"}}, "rot"),
    ],
)
def test_mistakes_in_a_task_s_test_sets(tests: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Task(id="a", loader="digits", tests=tests)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("tests", "message"),
    [
        ("fog: {root: x}", "line 4: task 'a', test set 'fog': --shift calls corruptions by this name"),
        ("noise: {root: x}", "test set 'noise': --shift calls corruptions by this name"),
        ("x: {corruption: fogg, severity: 1}", "test set 'x': unknown corruption 'fogg'; did you mean fog"),
    ],
)
def test_mistakes_about_corruptions_in_a_task_file(tests: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(f"id: a\nloader: digits\ntests:\n  {tests}\n")
    with pytest.raises(RegistryError) as caught:
        read_task(file)
    assert message in caught.value.line
