from __future__ import annotations

import csv
import io

from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.dataset import Splits
from pipeline.reports.tables import Table, class_table
from tests.synthetic import make_points

TABLE = Table(["model", "test error", "n"], [["mlp", "9.89 ± 1.36 %", 15], ["convnet_ws_al", "2.1, or so", None]])


def test_markdown_is_aligned() -> None:
    assert TABLE.markdown() == (
        "| model         | test error    | n    |\n"
        "|---------------|---------------|------|\n"
        "| mlp           | 9.89 ± 1.36 % | 15   |\n"
        "| convnet_ws_al | 2.1, or so    | None |\n"
    )


def test_csv_quotes_what_needs_it() -> None:
    assert TABLE.csv() == 'model,test error,n\nmlp,9.89 ± 1.36 %,15\nconvnet_ws_al,"2.1, or so",\n'
    assert Table(["a"], [['say "x"'], ["two\nlines"]]).csv() == 'a\n"say ""x"""\n"two\nlines"\n'


def test_a_table_without_rows_has_its_headers() -> None:
    assert Table(["a", "bc"], []).markdown() == "| a | bc |\n|---|----|\n"
    assert Table(["a", "bc"], []).csv() == "a,bc\n"


def test_latex_has_the_rules_of_booktabs_and_escapes_its_text() -> None:
    lines = [" ".join(line.split()) for line in TABLE.latex().splitlines()]
    assert lines[0] == "\\begin{tabular}{lll}"
    assert [lines[number] for number in (1, 3, 6)] == ["\\toprule", "\\midrule", "\\bottomrule"]
    assert lines[4:6] == [
        "mlp & 9.89 ± 1.36 \\% & 15 \\\\",
        "convnet\\_ws\\_al & 2.1, or so & None \\\\",
    ]
    assert "\\textbackslash{}x \\& \\{y\\}" in Table(["a"], [["\\x & {y}"]]).latex()


def test_latex_keeps_numbers_as_they_were_given() -> None:
    table = Table(["a"], [["0.10"], ["1e3"], ["+2.50"], [0.5], ["007"]])
    assert [line.strip(" \\") for line in table.latex().splitlines()[4:-2]] == ["0.10", "1e3", "+2.50", "0.5", "007"]


def test_a_table_without_rows_has_its_headers_in_latex() -> None:
    table = Table(["a", "bc"], [])
    assert "bc" in table.latex()


CELLS = st.text(max_size=8) | st.sampled_from(["<b>", "a & b", '"', "a,b", "two\nlines", "\r", "</td>", "1e3"])
TABLES = st.integers(1, 3).flatmap(lambda width: st.lists(st.lists(CELLS, min_size=width, max_size=width), min_size=1))


@given(rows=TABLES)
def test_csv_reads_back_to_the_same_cells(rows: list[list[str]]) -> None:
    text = Table(rows[0], rows[1:]).csv()
    assert list(csv.reader(io.StringIO(text, newline=""))) == rows


def test_items_of_every_class_are_counted_in_both_parts() -> None:
    splits = Splits(name="disc", source="made up", train=make_points(20, "train"), test=make_points(10, "held out"))
    inside = [int(part.labels.sum()) for part in (splits.train, splits.test)]
    table = class_table(splits, ["outside", "inside", "edge"])
    assert table.headers == ["pool", "outside", "inside", "edge", "all"]
    assert table.rows == [["train", 20 - inside[0], inside[0], 0, 20], ["test", 10 - inside[1], inside[1], 0, 10]]
