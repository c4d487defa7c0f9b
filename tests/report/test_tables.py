"""Tables for papers and for the terminal."""

import re

import pytest

from sparsebench.report import aggregate, render_terminal
from sparsebench.report.tables import build_tables, latex, markdown


def test_markdown(small):
    text = markdown(build_tables(aggregate(small)))
    assert text.count("### ") == 2
    assert "### linear · sgd · cvpr22-linear · suite mini · arch mini" in text
    line = next(row for row in text.splitlines() if "acdc\\_s90" in row)
    assert [part.strip() for part in line.strip("|").split("|")][:5] == [
        "mini.acdc\\_s90",
        "90",
        "70.00 ± 1.41",
        "**80.00 ± 0.00**",
        "**75.00**",
    ]
    rows = [row for row in text.splitlines() if row.startswith("|")]
    assert len({row.replace("\\|", "").count("|") for row in rows}) == 1
    assert "the pruned backbone stays the same" in text


def test_best_of_relative_error_is_the_least(small):
    table = build_tables(aggregate(small))[0]
    column = table.header.index("Relative error % [95 % over seeds]")
    best = [row for row in table.rows if row[column].best]
    assert [row[0].text for row in best] == ["mini.acdc_twin"]
    assert best[0][column].text.startswith("−3.8 [")


def test_a_lone_row_has_nothing_to_be_best_of(rows, table):
    text = markdown(build_tables(aggregate(table(rows("mini.dense", "dense", {"a": [0.5]})))))
    assert "**" not in text
    assert "50.00 ±" not in text, "one seed has no spread"


def test_incomplete_rows_are_marked_and_never_best(rows, table):
    dense = rows("mini.dense", "dense", {"a": [0.5, 0.5], "b": [0.5, 0.5]})
    half = rows("mini.x", "gmp", {"a": [0.9, 0.9], "b": [None, None]})
    built = build_tables(aggregate(table(dense, half)))[0]
    last = built.rows[-1]
    assert last[0].text == "mini.x *"
    assert last[built.header.index("b")].text == "–"
    assert not last[built.header.index("Mean")].best
    assert built.notes[-1] == "* mini.x: missing b; 2 failed."


def test_latex_is_escaped_and_balanced(rows, table):
    odd = {"50%_a&b": [0.5, 0.6], "x^~\\{}$#": [0.5, 0.6]}
    text = latex(build_tables(aggregate(table(rows("mini.dense", "dense", odd), rows("mini.x_y", "gmp", odd)))))
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == 1
    assert r"50\%\_a\&b" in text
    assert r"x\textasciicircum{}\textasciitilde{}\textbackslash{}\{\}\$\#" in text
    body = text[text.index(r"\toprule") : text.index(r"\bottomrule")]
    columns = re.search(r"begin\{tabular\}\{(\w+)\}", text).group(1)
    for row in body.splitlines():
        if row.endswith(r"\\"):
            assert len(re.findall(r"(?<!\\)&", row)) == len(columns) - 1
    assert text.isascii()


def test_terminal_says_accuracy_mean_and_relative_error(small):
    text = render_terminal(small, width=120)
    line = next(row for row in text.splitlines() if "mini.acdc_s90" in row)
    assert re.search(r"70\.00 ± 1\.41\s+80\.00 ± 0\.00\s+75\.00\s+0\.0 \[−31\.8, \+31\.8\]", line)
    assert "\x1b" not in text
    assert "\x1b[1m" in render_terminal(small, width=120, colour=True)
    assert text.index("linear") < text.index("full")


@pytest.mark.parametrize("width", [30, 60, 90, 200])
def test_terminal_fits(small, width):
    text = render_terminal(small, width=width)
    tables = text[: text.index("Percent, mean")]
    assert all(len(row) <= max(width, 48) for row in tables.splitlines() if not row.startswith(("linear", "full")))
    assert tables.count("70.00 ± 1.41") == 2


def test_terminal_names_the_command_for_a_missing_reference(small):
    shown = small[~((small["checkpoint"] == "mini.dense") & (small["mode"] == "full"))]
    command = "sparsebench run --checkpoint mini.dense"
    text = render_terminal(shown, commands={"mini.dense": command}, width=120)
    assert text.count(command) == 1
    assert "mini.acdc_s90, mini.acdc_twin: the reference mini.dense has not run here" in text.replace(
        "mini.acdc_twin, mini.acdc_s90", "mini.acdc_s90, mini.acdc_twin"
    )
    assert render_terminal(shown, commands=lambda reference: f"run {reference}", width=120).count("run mini.dense") == 1
    assert "Run it with" not in render_terminal(shown, width=120)


def test_terminal_shows_what_was_asked_for_against_all_that_ran(small):
    wanted = small[(small["checkpoint"] == "mini.acdc_s90") & (small["mode"] == "linear") & (small["task"] == "a")]
    small = small.assign(record_key=small["run_id"])
    text = render_terminal(small, keys=list(wanted["run_id"]), width=120)
    assert "+50.0" in text, "compared with the reference, on this task alone"
    assert text.count("mini.dense") == 1
    assert "Relative error: against mini.dense." in text
    assert "full" not in text
    assert "80.00" not in text
    assert render_terminal(small, keys=[], width=120) == "No results yet.\n"


def test_an_underfit_head_is_marked_and_explained(rows, table):
    cells = {"a": [0.5, 0.6], "b": [0.7, 0.8]}
    frame = table(rows("mini.dense", "dense", cells), rows("mini.lth_s95", "lth", cells))
    late = (frame["checkpoint"] == "mini.lth_s95") & (frame["task"] == "b") & (frame["seed"] == 1)
    frame["relative_gap"] = late.map({True: 0.3, False: 0.001})
    statistics = aggregate(frame)
    assert statistics.summary.set_index("checkpoint")["underfit"].to_dict() == {"mini.dense": "", "mini.lth_s95": "b"}
    for text in (markdown(build_tables(statistics)).replace("\\", ""), render_terminal(frame, width=200)):
        assert "mini.lth_s95 *" in text
        assert "mini.lth_s95: underfit on b" in text
        assert text.count("Underfit: ") == 1
    frame["relative_gap"] = 0.001
    assert "nderfit" not in render_terminal(frame)


def test_what_a_spread_over_seeds_is_about_depends_on_the_probe(rows, table):
    cells = {"a": [0.5, 0.6]}
    few = table(rows("mini.dense", "dense", cells, probe="fewshot", protocol="fewshot-linear"))
    for text in (render_terminal(few), markdown(build_tables(aggregate(few)))):
        assert "mean over many random draws" in text
        assert "order of the data" not in text
    assert "order of the data" in render_terminal(table(rows("mini.dense", "dense", cells)))


def test_names_from_strangers_reach_no_output_with_control_characters(rows, table):
    frame = table(rows("evil\x1b]0;pwned\x07", "acdc", {"a\x00b": [0.5, 0.6]}))
    statistics = aggregate(frame)
    tables = build_tables(statistics)
    for text in (markdown(tables), latex(tables), render_terminal(frame)):
        assert "pwned" in text
        assert not {"\x1b", "\x07", "\x00"} & set(text)
