"""YAML that people write: what is refused, where the error says it is, and what values mean."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsebench.common.paths import root_file
from sparsebench.registry import load_registry, read_task
from sparsebench.runs.executors.cluster import read_cluster
from sparsebench.schema import InputError, RegistryError
from sparsebench.schema.yamlfile import LARGEST, read_mapping, read_value

CHECKPOINT = """\
r.x: {method: gmp, arch: mini, sparsity: 0.9, file: {path: x, url: https://x.y/z}, notes: hello}
r.y:
  method: dense
  arch: mini
  sparsity: 0.0
  file:
    path: y
  preprocess: {mean: [0.1, 0.2, 0.3], std: [1, 1, 1]}
"""
CLUSTER = "partition: gpu\ntime_minutes: 60\nmemory_gb: 16\nsetup: [module load cuda]\nextra: {exclusive: true}\n"
DAMAGE = [
    "null", "true", ".nan", "-.inf", "1e999", "9" * 5000, "0x" + "f" * 5000, "2026-99-99", "!!int abc", "!!float x",
    "!!bool maybe", "!!timestamp foo", '!!binary "aGk="', "!!set {a}", "!!python/name:os.system", "[]", "{}", "-1",
    '"\\0"', '"\\e[31m"', '"\\ud800"', '"~nosuchuser/x"', "*x", "&x [*x]", "&x {a: *x}", "{<<: 3}", "{1: 2}",
    "{? [a] : 1}", "[" * 300 + "]" * 300, "{a: " * 60 + "1" + "}" * 60, "[1, 2", "}", "|\n  x", "@x", "'", "\t", "a\tb",
    "\x00", "\x85", "\ufeff", "[.inf]", "{full: {lr: .nan}}", "<<", "x" * 9000, "018446744073709551616",
]  # fmt: skip


def at(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text)
    return path


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("a: 1\nb: [1, 2\n", 3, "expected ',' or ']'"),
        ("a:\n\tb: 1\n", 2, "holds a tab"),
        ("a: 1\nb: 2\na: 3\n", 3, "key 'a' is given twice"),
        ("a: 1\nb: {c: [.nan]}\n", 2, r"field b\.c\.0: '\.nan' is no finite number"),
        ("a: -.inf\n", 1, "no finite number"),
        ("a: 1e999\n", 1, "no finite number"),
        (f"a: {'9' * 5000}\n", 1, "too large"),
        (f"a: 0x{'f' * 5000}\n", 1, "too large"),
        ("a: 9223372036854775808\n", 1, "too large"),
        ("a: !!int abc\n", 1, "'abc' is no !!int"),
        ("a: !!timestamp foo\n", 1, "!!timestamp can't be used"),
        ("a: !!set {b}\n", 1, "!!set can't be used"),
        ("a: !!python/object/apply:os.getcwd []\n", 1, "python/object/apply:os.getcwd can't be used"),
        ("a: 1\n1: 2\n", 2, "a key must be plain text"),
        ("a:\n  {[b]: 2}\n", 2, "a key must be plain text"),
        ('a: 1\nb: "\\0"\n', 2, r"U\+0000"),
        ('a: "\\e[31m"\n', 1, r"U\+001B"),
        ("a: 1\nb: \x07\n", 2, r"U\+0007"),
        ('a: "\\ud800"\n', 1, "Unicode character"),
        ('"a\\nb": 1\n', 1, "more than one line"),
        (f"? {'a' * 201}\n: 1\n", 1, "too long"),
        ("a: &x\n  b: *x\n", 1, "inside of"),
        ("a: &x [*x]\n", 1, "inside of"),
        ("a: *x\n", 1, "undefined alias"),
        ("a: {<<: 3}\n", 1, "'<<' takes a mapping"),
        ("a: 1\n---\nb: 2\n", 2, "single document|another document"),
        ("a: " + "[" * 60 + "]" * 60, 1, "levels inside each other"),
        ("a: " + "[" * 900 + "]" * 900, 1, "levels inside each other"),
        ("a: " + "[" * 100_000, 1, "nesting|depth"),
        ("a: 1\nb: caf\xe9\n".encode("latin-1"), 2, "not UTF-8"),
    ],
)
def test_what_is_refused_names_file_and_line(tmp_path, text, line, what):
    path = at(tmp_path / "own.yaml", text)
    with pytest.raises(RegistryError, match=what) as caught:
        read_mapping(path)
    assert str(caught.value).startswith(f"{path}, line {line}: ")


def test_aliases_that_grow_are_refused(tmp_path):
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 10)}]" for k in range(1, 30)]
    with pytest.raises(RegistryError, match=r"line 6: field a5: more than 1,000,000 values"):
        read_mapping(at(tmp_path / "own.yaml", "\n".join(rows)))


def test_what_is_no_yaml_file(tmp_path):
    with pytest.raises(RegistryError, match="can't be read: Is a directory"):
        read_mapping(tmp_path)
    with pytest.raises(RegistryError, match="can't be read"):
        read_mapping(Path("a\0b"))
    with (tmp_path / "large.yaml").open("wb") as file:
        file.truncate(LARGEST + 1)
    with pytest.raises(RegistryError, match="larger than 16 MiB"):
        read_mapping(tmp_path / "large.yaml")
    for text in ("", "# nothing\n", "- a\n", "3\n"):
        with pytest.raises(RegistryError, match="must hold a mapping"):
            read_mapping(at(tmp_path / "own.yaml", text))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001), ("5e-4", 0.0005), (".5", 0.5), ("-2", -2), ("0x10", 16), ("true", True), ("~", None),
        ("", None), ("yes", "yes"), ("010", "010"), ("2:4", "2:4"), ("2026-11-30", "2026-11-30"), ("1_000", "1_000"),
        ("[10, 20]", [10, 20]), ("{low: 1.0e-6}", {"low": 1e-6}), ("'0.1'", "0.1"), ("a\tb", "a\tb"),
    ],
)  # fmt: skip
def test_values(text, value):
    found = read_value(text, "x")
    assert found == value
    assert type(found) is type(value)


def test_a_value_that_is_none():
    with pytest.raises(InputError, match=r"--set lr: '\.inf' is no finite number"):
        read_value(".inf", "--set lr")


def test_merge_keys_and_a_byte_order_mark(tmp_path):
    text = "\ufeffbase: &b {x: 1, y: 2}\nother: &o {x: 5, z: 6}\nmine: {<<: [*b, *o], y: 3}\n"
    assert read_mapping(at(tmp_path / "own.yaml", text))["mine"] == {"y": 3, "x": 1, "z": 6}


def test_the_line_is_the_fields(tmp_path):
    text = CHECKPOINT.replace("std: [1, 1, 1]", "\n    std: [1, 0, 1]")
    with pytest.raises(RegistryError, match=r"own\.yaml, line 9: entry 'r\.y', field preprocess\.std"):
        load_registry([at(tmp_path / "own.yaml", text)])
    with pytest.raises(RegistryError, match=r"line 2: entry 'r\.y', field arch: the field is missing"):
        load_registry([at(tmp_path / "own.yaml", CHECKPOINT.replace("  arch: mini\n", ""))])
    with pytest.raises(RegistryError, match=r"line 8: .*field preprocess\.maen: .*did you mean mean"):
        load_registry([at(tmp_path / "own.yaml", CHECKPOINT.replace("mean:", "maen:"))])
    with pytest.raises(RegistryError, match=r"line 7: the path '~nosuchuser/x' can't be used"):
        load_registry([at(tmp_path / "own.yaml", CHECKPOINT.replace("path: y", 'path: "~nosuchuser/x"'))])
    with pytest.raises(RegistryError, match=r"c\.yaml, line 3: entry 'cluster', field memory_gb"):
        read_cluster(at(tmp_path / "c.yaml", CLUSTER.replace("16", "lots")))


def test_links_name_the_line(tmp_path):
    at(tmp_path / "suites.yaml", "mine:\n  tasks:\n  - digits\n  - digit\n  archs: [mini]\n  modes: {}\n")
    with pytest.raises(RegistryError, match=r"suites\.yaml, line 4: suite 'mine': unknown task 'digit'"):
        load_registry([], [tmp_path])


def test_a_tasks_folder(tmp_path):
    with pytest.raises(RegistryError, match="holds no task files"):
        load_registry([], [tmp_path])
    at(tmp_path / "birds.yml", "loader: imagefolder\nroot: birds\n")
    at(tmp_path / "._birds.yml", b"\x00\x05\x16\x07")
    assert load_registry([], [tmp_path]).task("birds").root == str(tmp_path / "birds")


def mutant(text: str, seed: int) -> str:
    """Return ``text`` with one to three lines changed."""
    draw = random.Random(seed)
    lines = text.split("\n")
    for _ in range(draw.choice([1, 1, 1, 2, 3])):
        i = draw.randrange(len(lines))
        line, kind = lines[i], draw.randrange(6)
        cut = draw.randrange(len(line) + 1)
        key, colon, _ = line.partition(":")
        if kind < 2 and colon:
            lines[i] = f"{key}: {draw.choice(DAMAGE)}"
        elif kind == 2:
            lines[i] = line[:cut] + draw.choice(DAMAGE) + line[cut:]
        elif kind == 3:
            lines.insert(i, line)
        elif kind == 4:
            lines[i] = line[:cut] + line[cut + 1 :]
        else:
            lines[i] = draw.choice(["", " ", "\t", "   "]) + line.lstrip()
    return "\n".join(lines)


@given(seed=st.integers(0, 2**32), kind=st.sampled_from(["checkpoints", "task", "suites", "protocols", "cluster"]))
def test_mutants_are_accepted_or_refused_with_file_and_line(tmp_path_factory, seed, kind):
    folder = tmp_path_factory.mktemp("mutants")
    try:
        if kind == "checkpoints":
            load_registry([at(folder / "own.yaml", mutant(CHECKPOINT, seed))])
        elif kind == "cluster":
            read_cluster(at(folder / "own.yaml", mutant(CLUSTER, seed)))
        elif kind == "task":
            read_task(at(folder / "cars.yaml", mutant((root_file("tasks") / "cars.yaml").read_text("utf-8"), seed)))
        else:
            text = (root_file("tasks") / f"{kind}.yaml").read_text("utf-8")
            at(
                folder / f"{kind}.yaml",
                mutant("\n".join(f"own-{r}" if r[:1].isalpha() else r for r in text.split("\n")), seed),
            )
            load_registry([], [folder])
    except RegistryError as error:
        assert str(folder) in error.message  # noqa: PT017 - accepted is right, too
        assert ", line " in error.message or "must hold a mapping" in error.message  # noqa: PT017
        assert error.message.isprintable()  # noqa: PT017
    finally:
        shutil.rmtree(folder)
