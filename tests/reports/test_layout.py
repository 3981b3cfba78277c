"""What fits a terminal has all that was to be shown, and no broken words."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.reports.layout import Part, fit, fit_table, fit_text, markdown
from pipeline.reports.tables import Table

FOUND = Table(
    ["model", "test error", "95 % interval", "parameters", "found with"],
    [
        ["mlp_ws_al", "7.69 ± 1.25 %", "[7.10, 8.27]", 86920, "lr=0.001 batch_size=25 epochs=25 alpha=1"],
        ["convnet", "12.02 ± 1.10 %", "[11.50, 12.54]", 144684, "lr=0.001 batch_size=100 epochs=50"],
    ],
)
FIGURES = [str(cell) for row in FOUND.rows for cell in row[:4]]


def test_a_table_that_fits_is_markdown() -> None:
    width = len(FOUND.markdown().splitlines()[0])
    assert fit_table(FOUND, width) + "\n" == FOUND.markdown()
    assert fit_table(FOUND, width - 1) != fit_table(FOUND, width)


def test_a_wide_table_has_cells_of_several_lines() -> None:
    assert fit_table(FOUND, 90).splitlines() == [
        "| model     | test error     | 95 % interval  | parameters | found with                  |",
        "|-----------|----------------|----------------|------------|-----------------------------|",
        "| mlp_ws_al | 7.69 ± 1.25 %  | [7.10, 8.27]   | 86920      | lr=0.001 batch_size=25      |",
        "|           |                |                |            | epochs=25 alpha=1           |",
        "| convnet   | 12.02 ± 1.10 % | [11.50, 12.54] | 144684     | lr=0.001 batch_size=100     |",
        "|           |                |                |            | epochs=50                   |",
    ]


def test_a_table_that_is_wider_than_its_words_has_a_block_for_each_row() -> None:
    assert fit_table(FOUND, 40).splitlines()[:7] == [
        "model          mlp_ws_al",
        "test error     7.69 ± 1.25 %",
        "95 % interval  [7.10, 8.27]",
        "parameters     86920",
        "found with     lr=0.001 batch_size=25",
        "               epochs=25 alpha=1",
        "",
    ]


@pytest.mark.parametrize("width", range(20, 130, 3))
def test_no_figure_is_lost_or_broken_at_any_width(width: int) -> None:
    text = fit_table(FOUND, width)
    for figure in FIGURES:
        assert figure in text
    assert all(len(line) <= max(width, 29) for line in text.splitlines())


def test_rows_whose_first_cells_go_on_below_are_divided() -> None:
    table = Table(["what is done"], [["evaluate one model"], ["compare all"]])
    lines = fit_table(table, 14).splitlines()
    assert lines.count("|------------|") == 2
    assert [line.strip("| ") for line in lines if "-" not in line] == [
        "what is",
        "done",
        "evaluate",
        "one model",
        "compare",
        "all",
    ]


WORDS = st.text("abcxyz0123456789.%±", min_size=1, max_size=12)
CELLS = st.lists(WORDS, max_size=6).map(" ".join)
TABLES = st.integers(1, 5).flatmap(
    lambda columns: st.lists(st.lists(CELLS, min_size=columns, max_size=columns), min_size=1, max_size=4)
)


@given(rows=TABLES, width=st.integers(10, 120))
@example(rows=[[""], [""]], width=10)
def test_all_words_of_a_table_are_shown_and_none_is_broken(rows: list[list[str]], width: int) -> None:
    text = fit_table(Table(rows[0], rows[1:]), width)
    wanted = sorted(word for row in rows[1:] for cell in row for word in cell.split())
    shown = [word for line in text.splitlines() for word in line.replace("|", " ").split()]
    for word, group in itertools.groupby(wanted):
        assert shown.count(word) >= len(list(group))
    longest = max(len(part) for row in rows for cell in row for part in (cell[:24], *cell.split()))
    assert max(map(len, text.splitlines()), default=0) <= max(width, 2 * longest + 2)


PROSE = "A search that was killed goes on where it was,\nand ends in the same table."


@pytest.mark.parametrize(
    ("text", "width", "expected"),
    [
        (PROSE, 80, PROSE),
        (PROSE, 30, "A search that was killed goes\non where it was, and ends in\nthe same table."),
        ("  one note\n  another that is longer", 20, "  one note\n  another that is\n  longer"),
        ("title:\n    lr: 0.001", 5, "title:\n    lr:\n    0.001"),
        ("first\n\nsecond", 80, "first\n\nsecond"),
        ("/a/very/long/path/to/a/file", 10, "/a/very/long/path/to/a/file"),
    ],
)
def test_texts_end_lines_between_words_and_keep_their_indentation(text: str, width: int, expected: str) -> None:
    assert fit_text(text, width) == expected


def test_parts_stand_below_each_other() -> None:
    parts: list[Part] = ["headline", Table(["a"], [[1]]), "  note"]
    expected = "headline\n\n| a |\n|---|\n| 1 |\n\n  note"
    assert markdown(parts) == fit(parts, 80) == expected
