"""The tidy table: one row per run, and the same again from a file."""

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsebench.schema import ResultsError, Scores
from sparsebench.store import COLUMNS, Store, frame, read_results, write_curated


def same(one, other):
    pd.testing.assert_frame_equal(one, other, check_exact=True)


def test_a_row_says_what_the_record_says(ok, failed):
    record = ok(0.5, mode="full", metric="mean_per_class", variant="erk_5x", protocol={"lr": 0.1})
    table = frame([record, failed("disk\nfull", seed=3)])
    assert tuple(table.columns) == COLUMNS
    bad, good = (table.iloc[i] for i in table["status"].argsort())
    assert good["accuracy"] == good["mean_per_class"] == 0.25
    assert good["top1"] == 0.5
    assert (good["run_id"], good["protocol"], good["variant"]) == (record.run_id, "published-full", "erk_5x")
    assert pd.isna(good["probe"])
    assert (good["masked"], good["masked_nonzero"], good["threads"], good["device"]) == (900, 0, 1, "cpu")
    assert len(good["protocol_sha256"]) == 64
    assert pd.isna(bad["accuracy"])
    assert bad["error"] == "OSError: disk\nfull"
    assert bad["seed"] == 3


def test_types_are_fixed_even_of_nothing(ok):
    for table in (frame([]), frame([ok()])):
        assert table["seed"].dtype == "Int64"
        assert table["accuracy"].dtype == "float64"
        assert table["probe"].dtype == "string"


def test_columns_are_the_documented_ones():
    assert COLUMNS[:7] == ("run_id", "record_key", "status", "checkpoint", "method", "variant", "arch")
    assert COLUMNS[-4:] == ("protocol_sha256", "started", "error", "verdict")
    assert len(COLUMNS) == len(set(COLUMNS)) == 59


text = st.text(st.characters(exclude_categories=("C", "Z"), include_characters=" "), max_size=6)
fractions = st.floats(0, 1)
optional_numbers = st.none() | st.floats(allow_nan=False)


@st.composite
def records(draw, make):
    spec = {
        "checkpoint": draw(text.filter(bool)),
        "task": draw(text.filter(bool)),
        "variant": draw(st.none() | text),
        "mode": draw(st.sampled_from(["linear", "full"])),
        "seed": draw(st.integers(0, 2**40)),
        "sparsity": draw(fractions),
    }
    record = make(draw(fractions), **spec)
    scores = Scores(
        **record.scores.model_dump() | {"train_loss": draw(optional_numbers), "val_top1": draw(st.none() | fractions)}
    )
    return record.model_copy(update={"scores": scores, "seconds": draw(optional_numbers)})


@settings(max_examples=12)
@given(st.data())
def test_round_trip_is_exact_and_order_does_not_matter(tmp_path_factory, ok, failed, data):
    rows = [*data.draw(st.lists(records(ok), min_size=1, max_size=4)), failed(data.draw(text))]
    table = frame(rows)
    same(table, frame(data.draw(st.permutations(rows))))
    file = tmp_path_factory.mktemp("curated") / "runs.csv"
    write_curated(table, file)
    first = file.read_bytes()
    same(read_results(file), table)
    write_curated(table.sample(frac=1.0, random_state=1), file)
    assert file.read_bytes() == first


def test_one_reader_for_all(tmp_path, ok, failed):
    runs = [ok(seed=0), ok(seed=1), failed(seed=2)]
    store = Store(tmp_path / "runs")
    for run in runs:
        store.write(run)
    table = frame(runs)
    same(read_results(tmp_path / "runs"), table)
    curated = tmp_path / "curated"
    write_curated(frame(runs[:2]), curated / "first.csv")
    write_curated(frame(runs[1:]), curated / "second.csv")
    (curated / "leaderboard.csv").write_text("rank,checkpoint\n1,x\n")
    same(read_results(str(curated)), table)
    # what a report writes beside its records doesn't count twice
    write_curated(table, tmp_path / "runs" / "runs.csv")
    same(read_results(tmp_path / "runs"), table)
    write_curated(frame([ok(0.1, seed=0)]), curated / "third.csv")
    with pytest.raises(ResultsError, match=f"holds the run {runs[0].record_key} twice"):
        read_results(curated)


def test_a_sparse_curated_file_is_filled_up(tmp_path):
    file = tmp_path / "published.csv"
    file.write_text(
        "checkpoint,method,arch,sparsity,task,mode,protocol,seed,accuracy,source\n"
        "resnet50.dense,dense,resnet50,0,aircraft,linear,cvpr22-linear,21,0.4923,a file\n"
    )
    table = read_results(file)
    assert tuple(table.columns) == COLUMNS
    row = table.iloc[0]
    assert (row["status"], row["metric"], row["accuracy"], row["seed"]) == ("ok", "top1", 0.4923, 21)
    assert pd.isna(row["run_id"])


HEADER = "checkpoint,method,arch,sparsity,task,mode,protocol,seed,accuracy\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("a,b\n1,2\n", "lacks the columns checkpoint, method"),
        (HEADER + "c,acdc,mini,0.9,t,linear,p,0\n", "row 2: 8 fields for 9 columns"),
        (HEADER + "c,acdc,mini,0.9,t,linear,p,0,85.4\n", "accuracy is 85.4, not between 0 and 1"),
        (HEADER + "c,acdc,mini,0.9,t,linear,p,first,0.5\n", "seed is 'first', not a number"),
        (HEADER + "c,acdc,mini,0.9,t,lineal,p,0,0.5\n", "mode is 'lineal', not one of linear, full"),
        (HEADER + "c,acdc,mini,0.9,,linear,p,0,0.5\n", "task is empty"),
        (HEADER + '"c,acdc\n', "not a CSV file"),
        (HEADER.replace("seed", "seed,seed") + "c,acdc,mini,0.9,t,linear,p,0,0,0.5\n", "names a column twice"),
        ("\udcff", "not a CSV file"),
    ],
)
def test_what_is_no_curated_file(tmp_path, content, message):
    file = tmp_path / "x.csv"
    file.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(ResultsError, match=message) as caught:
        read_results(file)
    assert str(file) in caught.value.message


def test_where_there_are_no_results(tmp_path):
    with pytest.raises(ResultsError, match="no results at"):
        read_results(tmp_path / "nowhere")
    with pytest.raises(ResultsError, match="neither records nor a tidy CSV"):
        read_results(tmp_path)
    (tmp_path / "records").mkdir()
    with pytest.raises(ResultsError, match="holds no record"):
        read_results(tmp_path)


def test_a_curated_file_that_cannot_be_written(tmp_path, ok):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ResultsError, match="can't write"):
        write_curated(frame([ok()]), tmp_path / "file" / "runs.csv")


@pytest.mark.parametrize("name", ["=HYPERLINK(1)", "+cmd", "-x", "@sum", "'=1", "''-y"])
def test_a_formula_is_written_as_text_and_read_back(tmp_path, ok, name):
    table = frame([ok(checkpoint=name)])
    write_curated(table, tmp_path / "runs.csv")
    assert f",'{name}," in (tmp_path / "runs.csv").read_text().replace('"', "")
    assert read_results(tmp_path / "runs.csv")["checkpoint"].tolist() == [name]


def test_control_characters_are_spelled_out(tmp_path, ok):
    write_curated(frame([ok(checkpoint="a\x1b[31m\x00\nb")]), tmp_path / "runs.csv")
    assert b"a\\x1b[31m\\x00\\nb" in (tmp_path / "runs.csv").read_bytes()
    assert b"\x1b" not in (tmp_path / "runs.csv").read_bytes()
