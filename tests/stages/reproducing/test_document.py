"""The page of all tables: complete, and traceable to runs, code, data and seed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.stages.reproducing.document import document, overview
from pipeline.stages.reproducing.published import Figure, Protocol, PublishedTable, Row
from pipeline.stages.reproducing.reproduced import Reproduced
from pipeline.stages.reproducing.runner import Measure, Measured
from pipeline.stages.stage import Sampling
from pipeline.tasks.subjects import load_splits
from tests.memory import MemoryTracker
from tests.stages.reproducing.small import claim, made_runner, measured, table_of

PLAIN = Row(label="Plain", model="mlp", figures={"test_error": Figure(mean=18.3, std=3.3)})
SHARED = Row(label="Shared", model="mlp_ws", figures={"test_error": Figure(mean=14.9, std=0.9)})
LATE = replace(SHARED, label="Shared late", epoch=50, changes="epochs=50")
FIRST = table_of(
    PLAIN,
    SHARED,
    protocol=Protocol(stage="evaluate", rounds=3),
    claims=(claim("lower"), claim("equal", says="Both are alike.")),
    notes=("Weights are left open.",),
)
SECOND = table_of(LATE, id="007/table-2", title="Later", notes=("Read off the drawing.",))
COMMIT, DIRTY = "0123456789abcdef", "fedcba9876543210"


def given(row: Row, error: float, **tags: str) -> Measured:
    figures = {"test_error": Measure(mean=error, std=1.0, n=3)}
    errors = [error / 100 - 0.001, error / 100, error / 100 + 0.001]
    return measured(row=row, figures=figures, errors_R=errors, **tags)


def reproduced(sampling: Sampling, table: PublishedTable, rows: list[Measured], rounds: int = 0) -> Reproduced:
    return Reproduced(runner=made_runner(sampling, table, MemoryTracker(), rounds=rounds), measured=rows)


@pytest.fixture
def both(sampling: Sampling) -> list[Reproduced]:
    rows = [given(PLAIN, 18.0, git_commit=COMMIT), given(SHARED, 12.0, git_commit=DIRTY, git_dirty="true")]
    last = given(LATE, 15.0, git_commit=COMMIT)
    seeded = replace(sampling, seed=17)
    return [reproduced(seeded, FIRST, rows), reproduced(seeded, SECOND, [last], rounds=1)]


def section(text: str, name: str) -> str:
    """Of a table, by its id, or the last one."""
    [found] = [part for part in text.split("\n## ") if part.startswith(name)]
    return found


def test_every_table_has_its_figures_conclusions_and_notes(both: list[Reproduced]) -> None:
    text = document(both, ["How to read it."])
    assert text.startswith("# The reports' tables beside ours\n")
    assert "\nHow to read it.\n" in text
    first, second = (section(text, f"007/table-{number}: ") for number in (1, 2))
    assert first.splitlines()[0] == "007/table-1: Final results"
    assert "Wide networks; Table 1. 3 rounds, mnist5k, average pooling; 2 min" in first
    assert "Of 2 figures 1 agree, 1 differ." in first
    for table in both[0].tables.values():
        assert table.markdown() in first
    assert list(both[0].tables) == ["figures", "conclusions"]
    for words in ("Plain", "18.30 ± 3.30", "18.00 ± 1.00", "Sharing helps.", "Both are alike."):
        assert words in first
    assert "- Weights are left open.\n" in first
    assert "Shared late" in second
    assert "- Read off the drawing.\n" in second
    assert "concludes" not in second


def test_fewer_rounds_than_the_report_has_are_marked(both: list[Reproduced]) -> None:
    text = document(both, [])
    assert "reduced" not in section(text, "007/table-1: ")
    assert "1 round (reduced: the report has 2), mnist5k" in section(text, "007/table-2: ")
    assert "\nReduced, for the time that it takes:\n\n- 007/table-2: 1 of 2 rounds\n\n" in text
    assert "Reduced" not in document(both[:1], [])


def test_an_overview_counts_by_table(both: list[Reproduced]) -> None:
    rows = overview(both).rows
    assert [row[:8] for row in rows] == [
        ["007/table-1", "Final results", 2, 1, 1, 0, 2, 1],
        ["007/table-2", "Later", 1, 1, 0, 0, 0, 0],
    ]
    assert rows[0][9] == "2 min"
    assert overview(both).markdown() in document(both, [])


def test_figures_are_traced_to_runs_code_data_and_seed(both: list[Reproduced], sampling: Sampling) -> None:
    text = section(document(both, []), "Where the figures come from")
    digest = load_splits(sampling.data).digest
    assert "- Code: `0123456789ab`, `fedcba987654 with changes`\n" in text
    assert f"- Seed: 17; data (SHA-256 of all samples):\n  - mnist5k, average pooling: `{digest}`\n" in text
    assert "- Python 3." in text
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if "run-of-" in line]
    assert lines == [
        ["007/table-1", "Plain", "run-of-Plain", "0123456789ab", "2031-05-06 07:08"],
        ["007/table-1", "Shared", "run-of-Shared", "fedcba987654 with changes", "2031-05-06 07:08"],
        ["007/table-2", "Shared late", "run-of-Shared late", "0123456789ab", "2031-05-06 07:08"],
    ]


def test_no_folder_of_the_machine_is_in_it(all_of_few: Sampling, tmp_path: Path) -> None:
    text = document([reproduced(all_of_few, SECOND, [given(LATE, 15.0)])], [])
    assert "- idx, average pooling: `" in text
    for folder in (tmp_path, all_of_few.data.cache_dir, Path(__file__).parents[3]):
        assert str(folder) not in text


def test_experiments_stand_by_themselves_and_do_not_count(sampling: Sampling) -> None:
    tried = replace(PLAIN, label="Plain pooled", data={"pooling": "max"})
    table = table_of(PLAIN, SHARED, experiments=(tried,))
    each = reproduced(sampling, table, [given(PLAIN, 18.0), given(SHARED, 6.0), given(tried, 30.0)])
    assert [cell.measured.row.label for cell in each.cells] == ["Plain", "Shared"]
    assert [cell.measured.row.label for cell in each.tried] == ["Plain pooled"]
    assert list(each.tables) == ["figures", "experiments"]
    assert overview([each]).rows[0][2:5] == [2, 1, 1]
    text = document([each], [])
    assert each.tables["experiments"].markdown() in section(text, "007/table-1: ")
    assert "mnist5k, average pooling: `" in text
    assert "mnist5k, max pooling: `" in text


def test_rows_of_one_run_are_one_line_of_where_figures_come_from(sampling: Sampling) -> None:
    early = given(replace(LATE, label="Early", epoch=3), 20.0)
    same = replace(given(LATE, 15.0), run=early.run)
    other = given(PLAIN, 18.0)
    table = table_of(early.row, other.row, same.row)
    each = reproduced(sampling, table, [early, other, same])
    assert [found.row.label for found in each.trainings] == ["Early", "Plain"]
    assert each.seconds == 2 * 60
    assert document([each], []).count("run-of-Early") == 1


def test_what_differs_stands_beside_the_experiments_that_agree_and_what_does_not_hold_is_listed(
    sampling: Sampling,
) -> None:
    like = replace(SHARED, label="Shared again", changes="epochs=30")
    deeper, wider, other = (
        replace(about, label=f"tried {tries}", changes=f"batch_size={size}", about=about, tries=tries)
        for tries, size, about in (("A", 5, SHARED), ("B", 6, SHARED), ("C", 7, like))
    )
    table = replace(FIRST, rows=(PLAIN, SHARED, like), experiments=(deeper, wider, other))
    errors = (18.0, 19.0, 15.0, 15.0, 20.0, 15.0)
    rows = [given(row, error) for row, error in zip((*table.rows, *table.experiments), errors, strict=True)]
    text = document([reproduced(sampling, table, rows)], [])
    [differing] = [line for line in section(text, "What differs").splitlines() if "Shared " in line]
    assert [cell.strip() for cell in differing.split("|")][-2] == "A"
    refuted = section(text, "What does not hold")
    assert "Sharing helps." in refuted
    untested = document([reproduced(sampling, FIRST, [given(PLAIN, 18.0), Measured(row=SHARED)])], [])
    assert "What does not hold" not in untested
    none_tried = document([reproduced(sampling, FIRST, rows[:2])], [])
    assert "nothing that was tried" in section(none_tried, "What differs")
    holding = document([reproduced(sampling, FIRST, [given(PLAIN, 18.0), given(SHARED, 14.9)])], [])
    assert "What differs" not in holding
