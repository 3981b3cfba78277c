"""Published tables from start to end: what is logged, shown and written."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.base.errors import InputError, UnknownNameError
from pipeline.stages import reproduce
from pipeline.stages.planning import Work
from pipeline.stages.reproducing.config import SCALES, ReproduceConfig
from pipeline.stages.reproducing.published import load_published
from pipeline.stages.stage import Answer, Reporter, Sampling
from pipeline.training.compute import Compute
from tests.memory import MemoryRun, MemoryTracker
from tests.stages.reproducing.small import Impatient, nothing_trained
from tests.stages.runs import runs_with
from tests.stages.silent import Silent

LINEAR, DISC = "001/table-3", "004/disc"
TABLE = load_published()[LINEAR]
TRAINED = list({row.hyper.canonical: row.hyper for row in (*TABLE.rows, *TABLE.experiments)}.values())
"""The configurations of its rows; some are read at two epochs."""
PAGES = {f"{name}.{suffix}" for name in ("figures", "experiments", "conclusions") for suffix in ("md", "csv", "tex")}


@dataclass
class Lab:
    """A store, and starts of reproduce that share it."""

    sampling: Sampling
    tracker: MemoryTracker = field(default_factory=MemoryTracker)
    shown: list[Answer] = field(default_factory=list)

    def config(self, *tables: str, **options: Any) -> ReproduceConfig:
        given = {"rounds": 2, "compute": Compute(workers=1), **options}
        return ReproduceConfig(sampling=self.sampling, tables=tables, **given)

    def start(self, *tables: str, reporter: Reporter | None = None, **options: Any) -> None:
        reproduce.run(self.config(*tables, **options), self.tracker, reporter or Silent(), self.shown.append)

    def plan(self, *tables: str, **options: Any) -> list[Work]:
        return reproduce.plan(self.config(*tables, **options), self.tracker)

    def tables(self) -> list[MemoryRun]:
        return runs_with(self.tracker, "reproduce")


@pytest.fixture(scope="module")
def few(sampling: Sampling) -> Sampling:
    return replace(sampling, samples=40)


@pytest.fixture(scope="module")
def lab(few: Sampling, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """After both tables were made once, with a document."""
    lab = Lab(few)
    lab.start(LINEAR, DISC, output=str(tmp_path_factory.mktemp("output") / "reports.md"))
    return lab


def rows_of(run: MemoryRun, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(run.texts[name])))


def test_each_table_is_a_finished_run_that_holds_its_trainings(lab: Lab) -> None:
    linear, disc = lab.tables()[:2]
    assert [(run.name, run.status) for run in (linear, disc)] == [
        ("reproduce 001/table-3", "FINISHED"),
        ("reproduce 004/disc", "FINISHED"),
    ]
    evaluated = runs_with(lab.tracker, "evaluate")
    assert [(run.tags["model"], run.parent) for run in evaluated] == [
        *[("linear_digits", linear.id)] * len(TRAINED),
        ("disc_mlp", disc.id),
    ]
    assert linear.tags["source_runs"] == ",".join(run.id for run in evaluated[:-1])
    assert (linear.params["table"], linear.params["rounds"], linear.params["pairs"]) == (LINEAR, "2", "40")
    assert (linear.tags["dataset"], disc.tags["dataset"]) == ("mnist5k", "disc")


def test_a_table_keeps_figures_conclusions_pictures_and_one_page(lab: Lab) -> None:
    linear, disc = lab.tables()[:2]
    assert linear.texts.keys() == PAGES | {"report.html"}
    assert linear.figures.keys() == set()  # the report draws nothing to this table
    assert disc.texts.keys() == {"figures.md", "figures.csv", "figures.tex", "report.html"}
    assert disc.figures.keys() == {
        f"{name}.{suffix}" for name in ("loss_by_family", "error_by_epoch_00") for suffix in ("png", "svg")
    }
    figures = rows_of(linear, "figures.csv")
    assert [(row["row"], row["figure"], row["report"]) for row in figures] == [
        (row.label, name.replace("_", " "), f"{figure.mean:.2f} ± {figure.std:.2f}")
        for row in load_published()[LINEAR].rows
        for name, figure in row.figures.items()
    ]
    [conclusion] = rows_of(linear, "conclusions.csv")
    # Two rounds can show nothing: their exact test has p >= 1/2.
    assert conclusion["verdict"] == "not refuted"
    assert linear.metrics["conclusions/not_refuted", 0] == 1
    counts = {
        name: linear.metrics[name, 0]
        for name in ("figures", "figures_agree", "figures_differ", "figures_without_spread")
    }
    verdicts = [row["verdict"] for row in figures]
    assert counts == {
        "figures": 6,
        "figures_agree": verdicts.count("agrees"),
        "figures_differ": verdicts.count("differs"),
        "figures_without_spread": 0,
    }


def test_fewer_rounds_are_marked_where_people_look(lab: Lab) -> None:
    reduced = "2 rounds (reduced: the report has 20), mnist5k, average pooling"
    linear = lab.tables()[0]
    assert f"({reduced})" in lab.shown[0].headline
    assert f"({reduced})" in linear.description
    assert reduced in linear.texts["report.html"]
    assert "the report has 10" in lab.shown[1].headline


def test_tables_are_shown_as_they_come_and_then_all_together(lab: Lab) -> None:
    first, second, last = lab.shown[:3]
    assert first.headline.startswith("001/table-3, The linear network with and without dropout: ")
    assert second.headline.startswith("004/disc, ")
    assert last.headline.startswith("2 table(s): of 12 figures ")
    assert [row[0] for row in last.table.rows] == [LINEAR, DISC]


def test_a_second_start_trains_nothing_and_says_the_same(lab: Lab) -> None:
    before = [(answer.headline, answer.table.rows) for answer in lab.shown[:2]]
    count = len(lab.shown)
    with nothing_trained(lab.tracker):
        lab.start(f"{LINEAR},{DISC}")
    assert [(answer.headline, answer.table.rows) for answer in lab.shown[count : count + 2]] == before
    assert lab.tables()[-1].tags["source_runs"] == lab.tables()[1].tags["source_runs"]


def test_a_plan_of_what_is_there_trains_nothing_and_leaves_nothing(lab: Lab) -> None:
    runs = len(lab.tracker.runs)
    works = lab.plan(LINEAR, DISC)
    evaluated = runs_with(lab.tracker, "evaluate")
    assert [work.done for work in works] == [f"run {run.id}" for run in evaluated]
    assert sum(work.replica_epochs for work in works) == 0
    assert len(lab.tracker.runs) == runs
    # Other rounds are another measurement.
    assert [work.replica_epochs for work in lab.plan(LINEAR, rounds=3)] == [3 * 25] * len(TRAINED)


def test_an_interrupted_table_trains_what_is_missing_and_ends_alike(lab: Lab, few: Sampling) -> None:
    other = Lab(few)
    with pytest.raises(KeyboardInterrupt):
        other.start(LINEAR, reporter=Impatient(f"2 of {len(TRAINED)}, Linear with dropout"))
    assert [run.status for run in other.tables()] == ["KILLED"]
    [first] = runs_with(other.tracker, "evaluate")
    assert [bool(work.jobs) for work in other.plan(LINEAR)] == [False, *[True] * (len(TRAINED) - 1)]
    other.start(LINEAR)
    evaluated = runs_with(other.tracker, "evaluate")
    assert evaluated[0] is first
    assert [float(run.params["dropout"]) for run in evaluated] == [
        dict(hyper.structure)["dropout"] for hyper in TRAINED
    ]
    through, resumed = lab.tables()[0], other.tables()[-1]
    for name in PAGES:
        assert resumed.texts[name] == through.texts[name]


def test_what_is_missing_can_be_left_out(few: Sampling, tmp_path: Path) -> None:
    other = Lab(few)
    with pytest.raises(KeyboardInterrupt):
        other.start(LINEAR, reporter=Impatient(f"2 of {len(TRAINED)}"))
    output = tmp_path / "reports.md"
    with nothing_trained(other.tracker):
        other.start(LINEAR, DISC, missing="leave", output=str(output))
    half, nothing = other.tables()[-2:]
    assert (half.status, nothing.status) == ("FINISHED", "FINISHED")
    errors = [row for row in rows_of(half, "figures.csv") if row["figure"] == "test error"]
    assert [row["row"] for row in errors if row["variantlab"] == "-"] == ["Linear with dropout"]
    assert {row["verdict"] for row in rows_of(half, "conclusions.csv")} == {"not tested"}
    assert {row["variantlab"] for row in rows_of(nothing, "figures.csv")} == {"-"}
    page = output.read_text()
    assert "- 001/table-3: 2 of 20 rounds; not measured: Linear with dropout\n" in page
    assert "- 004/disc: 2 of 10 rounds; not measured: Best model\n" in page
    assert "2 rounds (reduced: the report has 20), mnist5k, average pooling, 1 of 2 rows not measured" in page
    assert page.startswith(
        "# The reports' tables beside ours\n\n"
        f"Made by `variantlab reproduce {LINEAR} {DISC} --rounds 2 --missing leave`; not edited by hand."
    )
    assert all(work.done for work in other.plan(LINEAR, DISC, missing="leave"))


def test_one_round_makes_a_table_too(few: Sampling) -> None:
    other = Lab(few)
    other.start(DISC, rounds=1)
    [table] = other.tables()
    assert {row["verdict"] for row in rows_of(table, "figures.csv")} == {"not compared", "report gives no spread"}
    assert "error_by_epoch_00.png" in table.figures


def test_the_document_holds_what_was_shown(lab: Lab, tmp_path: Path) -> None:
    output = tmp_path / "reports.md"
    output.write_text("what was there before\n" * 10_000)
    lab.start(DISC, LINEAR, output=str(output))
    text = output.read_text()
    assert text.startswith("# The reports' tables beside ours\n")
    for answer in lab.shown[-3:]:
        assert answer.table.markdown() in text
    assert text.index("## 004/disc") < text.index("## 001/table-3")
    for run in runs_with(lab.tracker, "evaluate"):
        assert f"| {run.id} " in text
    assert "(reduced: the report has 20)" in text
    assert [path.name for path in tmp_path.iterdir()] == ["reports.md"]


def test_a_document_stays_as_it_was_when_the_tables_are_interrupted(few: Sampling, tmp_path: Path) -> None:
    output = tmp_path / "reports.md"
    output.write_text("what was there before")
    with pytest.raises(KeyboardInterrupt):
        Lab(few).start(LINEAR, reporter=Impatient(f"1 of {len(TRAINED)}"), output=str(output))
    assert output.read_text() == "what was there before"
    assert list(tmp_path.iterdir()) == [output]


@pytest.mark.parametrize("place", ["missing/reports.md", "."], ids=["in no folder", "a folder"])
def test_an_output_that_cannot_be_written_is_refused_before_anything_is_measured(
    few: Sampling, tmp_path: Path, place: str
) -> None:
    other = Lab(few)
    with pytest.raises(
        InputError, match=re.escape("--output must be a file that can be written in a folder that exists, but ")
    ):
        other.start(LINEAR, output=str(tmp_path / place))
    assert other.tracker.runs == []


@pytest.mark.parametrize("call", [Lab.start, Lab.plan], ids=["run", "plan"])
@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ((LINEAR, "001/table-33"), "unknown table '001/table-33'; did you mean 001/table-3"),
        (("000/tabel-2",), "unknown table '000/tabel-2'; did you mean 000/table-2"),
        ((f"{LINEAR},al",), "unknown table 'al'; did you mean all"),
        (("",), "unknown table ''; choose from: 000/figures"),
        (("all", "7"), "unknown table '7'"),
    ],
)
def test_an_unknown_table_is_refused_with_the_nearest_before_anything_is_measured(
    few: Sampling, call: Callable[..., object], tables: tuple[str, ...], message: str
) -> None:
    other = Lab(few)
    with pytest.raises(UnknownNameError, match=re.escape(message)):
        call(other, *tables)
    assert other.tracker.runs == []


@pytest.mark.parametrize(
    ("tables", "chosen"),
    [
        (("004/disc", "000/table-2"), ["004/disc", "000/table-2"]),
        (("004/disc, 000/table-2,004/disc",), ["004/disc", "000/table-2"]),
        (("004/disc", "all"), ["004/disc", *(name for name in load_published() if name != "004/disc")]),
        (("all", "004/disc"), list(load_published())),
        (("004/disc:2", "000/table-2:3,004/disc"), ["004/disc", "000/table-2"]),
    ],
)
def test_tables_are_chosen_once_in_the_order_in_which_they_are_named(
    few: Sampling, tables: tuple[str, ...], chosen: list[str]
) -> None:
    assert [table.id for table in Lab(few).config(*tables).chosen] == chosen


@pytest.mark.parametrize(
    ("rounds", "scale", "expected"),
    [(0, "full", None), (0, "quick", 3), (7, "full", 7), (7, "quick", 3), (2, "quick", 2), (50, "full", 50)],
)
def test_rounds_are_those_of_the_report_unless_fewer_or_others_are_wanted(
    few: Sampling, rounds: int, scale: str, expected: int | None
) -> None:
    config = Lab(few).config("all", rounds=rounds, scale=scale)
    for table in config.chosen:
        least = min(table.protocol.rounds, SCALES["quick"]) if rounds == 0 and scale == "quick" else expected
        assert config.rounds_of(table) == (least or table.protocol.rounds)


@pytest.mark.parametrize(
    ("tables", "disc", "others"),
    [
        (("all",), 4, 4),
        (("004/disc:7", "all"), 7, 4),
        (("all", "004/disc:7"), 7, 4),
        (("all:2", "004/disc:7"), 7, 2),
        (("004/disc:7", "all:2"), 7, 2),
        (("004/disc:7,004/disc:1", "all:2"), 1, 2),
    ],
)
def test_rounds_of_one_table_beat_those_of_all(few: Sampling, tables: tuple[str, ...], disc: int, others: int) -> None:
    config = Lab(few).config(*tables, rounds=4)
    rounds = {table.id: config.rounds_of(table) for table in config.chosen}
    assert rounds.pop(DISC) == disc
    assert set(rounds.values()) == {others}


@pytest.mark.parametrize("rounds", ["0", "-1", "1001", "many", "", "1:2"])
def test_rounds_of_a_table_that_are_none_are_refused(few: Sampling, rounds: str) -> None:
    with pytest.raises(
        InputError, match=f"the rounds of a table are a number from 1 to 1000, but got '{DISC}:{rounds}'"
    ):
        Lab(few).start(f"{DISC}:{rounds}")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale": "quik"}, "unknown scale 'quik'; did you mean quick"),
        ({"missing": "skip"}, "unknown --missing 'skip'"),
        ({"rounds": -1}, "--rounds must be between 0 (the report's) and 1000, but got -1"),
        ({"rounds": 1001}, "but got 1001"),
    ],
)
def test_bad_options_are_refused(few: Sampling, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        Lab(few).config(LINEAR, **options)
