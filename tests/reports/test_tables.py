from __future__ import annotations

from pipeline.reports.tables import Table

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
