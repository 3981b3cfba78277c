"""What the rows of a table need is measured once, and read off where they say."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.models.hyperparameters import Hyperparameters
from pipeline.stages import evaluate
from pipeline.stages.configurations import parse_grid
from pipeline.stages.reproducing.config import ReproduceConfig
from pipeline.stages.reproducing.published import Protocol, Row, load_published
from pipeline.stages.reproducing.runner import Measured
from pipeline.stages.reproducing.runners import CrossValidateRunner
from pipeline.stages.stage import Sampling
from pipeline.tasks.registry import get_variant
from pipeline.tracking.port import RunRecord
from pipeline.training.compute import Compute
from pipeline.tuning import space_file
from tests.memory import MemoryRun, MemoryTracker
from tests.stages.reproducing.small import Impatient, made_runner, measure, nothing_trained, table_of
from tests.stages.runs import runs_with
from tests.stages.silent import Silent

LINEAR = "linear_digits"
WHOLE, EARLY, BEST, SHORT = (
    Row(label="Whole", model=LINEAR, changes="epochs=5"),
    Row(label="Early", model=LINEAR, changes="epochs=5 dropout=0", epoch=2),  # dropout is 0 in the preset too
    Row(label="Best", model=LINEAR, changes="epochs=5", epoch="best"),
    Row(label="Short", model=LINEAR, changes="epochs=2"),
)
OWN_BEST = Row(label="Best of each", model=LINEAR, changes="epochs=5", epoch="best of each round")
BEST_DIGITS = replace(OWN_BEST, label="Best of each by digits", by="digit_error")
EVALUATED = table_of(WHOLE, EARLY, BEST, SHORT, OWN_BEST, BEST_DIGITS)


@pytest.fixture(scope="module")
def few(sampling: Sampling) -> Sampling:
    return replace(sampling, samples=40)


@dataclass
class Done:
    """A table that was measured in an empty store."""

    tracker: MemoryTracker
    rows: dict[str, Measured]

    def run(self, label: str) -> MemoryRun:
        """What a row was read off."""
        return next(run for run in self.tracker.runs if run.id == source(self.rows[label]).id)


def source(measured: Measured) -> RunRecord:
    """The run that a row was read off."""
    assert measured.run is not None
    return measured.run


@pytest.fixture(scope="module")
def evaluated(few: Sampling) -> Done:
    tracker = MemoryTracker()
    return Done(tracker, {each.row.label: each for each in measure(made_runner(few, EVALUATED, tracker))})


def means(rows: Sequence[Measured]) -> list[tuple[dict[str, float], list[float]]]:
    """All that is measured but time."""
    return [
        ({name: each.mean for name, each in row.figures.items() if "seconds" not in name}, list(row.errors_R))
        for row in rows
    ]


def test_rows_of_one_configuration_are_one_training_below_the_table(evaluated: Done) -> None:
    first, short = runs_with(evaluated.tracker, "evaluate")
    [table] = runs_with(evaluated.tracker, "reproduce")
    assert [source(each).id for each in evaluated.rows.values()] == [*[first.id] * 3, short.id, *[first.id] * 2]
    assert (first.parent, short.parent) == (table.id, table.id)
    assert (first.params["epochs"], short.params["epochs"]) == ("5", "2")


@pytest.mark.parametrize("label", ["Whole", "Short"])
def test_without_an_epoch_figures_are_those_of_the_last(evaluated: Done, label: str) -> None:
    row, run = evaluated.rows[label], evaluated.run(label)
    assert row.errors_R == [run.metrics["round/test_error", number] for number in (0, 1)]
    for name in ("train_error", "test_error", "test_digit_error"):
        first, second = (100 * run.metrics[f"round/{name}", number] for number in (0, 1))
        figure = row.figures[name]
        assert figure.n == 2
        assert figure.mean == pytest.approx((first + second) / 2)
        assert figure.std == pytest.approx(abs(first - second) / math.sqrt(2))
        assert figure.standard_error == pytest.approx(abs(first - second) / 2)
        if "digit" not in name:
            assert row.figures[f"{name}_min"].mean == pytest.approx(min(first, second))
            assert row.figures[f"{name}_max"].mean == pytest.approx(max(first, second))
    assert row.figures["parameters"].mean == get_variant(LINEAR).parameters
    assert row.figures["seconds"].mean == pytest.approx(run.metrics["seconds_per_epoch", 0] * int(run.params["epochs"]))
    assert row.seconds == pytest.approx(2 * row.figures["seconds"].mean)


def by_epoch(run: MemoryRun, path: str = "rounds_by_epoch.csv") -> list[list[float]]:
    """The test error, or that of another file, of every round after every epoch."""
    rows = list(csv.reader(run.texts[path].splitlines()))[1:]
    assert [row[0] for row in rows] == [str(epoch) for epoch in range(1, len(rows) + 1)]
    return [[float(error) for error in row[1:]] for row in rows]


@pytest.mark.parametrize("label", ["Early", "Best"])
def test_with_an_epoch_figures_are_those_of_that_epoch(evaluated: Done, label: str) -> None:
    row, run = evaluated.rows[label], evaluated.run(label)
    errors = by_epoch(run)
    epoch = 2 if label == "Early" else 1 + min(range(5), key=lambda index: (sum(errors[index]), index))
    expected = [100 * error for error in errors[epoch - 1]]
    assert [100 * error for error in row.errors_R] == expected
    figures = row.figures
    assert figures["test_error"].mean == pytest.approx(np.mean(expected))
    assert figures["test_error"].std == pytest.approx(np.std(expected, ddof=1))
    assert (figures["test_error_min"].mean, figures["test_error_max"].mean) == (min(expected), max(expected))
    assert figures["test_digit_error"].mean == pytest.approx(100 * run.metrics["test_digit_error", epoch], abs=1e-4)
    assert figures["test_digit_error"].std == pytest.approx(100 * run.metrics["test_digit_error_std", epoch], abs=1e-4)
    if epoch == len(errors):
        assert figures["train_error"].mean == pytest.approx(100 * run.metrics["final_train_error", 0])
    else:
        assert not {"train_error", "train_error_min"} & figures.keys()  # which are not measured by epoch


@pytest.mark.parametrize("wanted", [OWN_BEST, BEST_DIGITS], ids=["by the first metric", "by digits"])
def test_each_round_is_read_at_its_own_best_epoch(evaluated: Done, wanted: Row) -> None:
    row, run = evaluated.rows[wanted.label], evaluated.run(wanted.label)
    errors, digits = by_epoch(run), by_epoch(run, "digit_rounds_by_epoch.csv")
    best = np.argmin(digits if wanted.by else errors, axis=0)
    assert row.errors_R == [errors[epoch][number] for number, epoch in enumerate(best)]
    assert row.figures["test_error"].mean == pytest.approx(100 * np.mean(row.errors_R))
    expected = [digits[epoch][number] for number, epoch in enumerate(best)]
    assert row.figures["test_digit_error"].mean == pytest.approx(100 * np.mean(expected))
    assert not {"train_error", "train_error_min"} & row.figures.keys()


def test_a_row_of_an_earlier_epoch_is_not_that_of_the_last(evaluated: Done) -> None:
    assert evaluated.rows["Early"].figures["test_error"] != evaluated.rows["Whole"].figures["test_error"]
    assert evaluated.rows["Best"].figures["test_error"].mean <= min(
        evaluated.rows[label].figures["test_error"].mean for label in ("Early", "Whole")
    )


@pytest.mark.parametrize("label", ["Whole", "Early", "Best"])
def test_accuracy_is_what_error_leaves(evaluated: Done, label: str) -> None:
    error, accuracy = (evaluated.rows[label].figures[name] for name in ("test_error", "test_accuracy"))
    assert accuracy == replace(error, mean=100 - error.mean)


def test_what_was_measured_is_not_measured_again(evaluated: Done, few: Sampling) -> None:
    with nothing_trained(evaluated.tracker):
        again = measure(made_runner(few, EVALUATED, evaluated.tracker))
    assert {each.row.label: source(each).id for each in again} == {
        label: source(each).id for label, each in evaluated.rows.items()
    }
    assert means(again) == means(list(evaluated.rows.values()))


def test_an_evaluation_that_was_made_by_hand_counts(few: Sampling) -> None:
    tracker, compute = MemoryTracker(), Compute(workers=1)
    config = evaluate.EvaluateConfig(
        sampling=few, model=LINEAR, preset="report", rounds=2, changes="epochs=2", compute=compute
    )
    by_hand = evaluate.run(config, tracker, Silent()).run_id
    with nothing_trained(tracker):
        [row] = measure(made_runner(few, table_of(SHORT), tracker))
    assert source(row).id == by_hand


OTHERWISE: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "pairs": ({"samples": 41}, {}),
    "test pairs": ({"test_samples": 20}, {}),
    "seed": ({"seed": 1}, {}),
    "rounds": ({}, {"rounds": 3}),
    "fewer rounds": ({}, {"rounds": 1}),
}


@pytest.mark.parametrize(("settings", "options"), OTHERWISE.values(), ids=OTHERWISE.keys())
def test_what_was_measured_otherwise_does_not_count(
    evaluated: Done, few: Sampling, settings: dict[str, Any], options: dict[str, Any]
) -> None:
    used = made_runner(replace(few, **settings), EVALUATED, evaluated.tracker, **options)
    assert [used.found(row) for row in EVALUATED.rows] == [None] * len(EVALUATED.rows)


def test_what_was_measured_on_other_data_does_not_count(evaluated: Done, few: Sampling) -> None:
    pooled = table_of(*EVALUATED.rows, protocol=Protocol(stage="evaluate", rounds=2, data={"pooling": "max"}))
    assert made_runner(few, pooled, evaluated.tracker).found(WHOLE) is None
    changed = [replace(run, tags={**run.tags, "dataset_digest": "of others"}) for run in evaluated.tracker.runs]
    assert made_runner(few, EVALUATED, holding(changed)).found(WHOLE) is None


@pytest.mark.parametrize("changes", ["epochs=4", "epochs=5 dropout=0.5", "epochs=5 lr=0.01"])
def test_another_configuration_does_not_count(evaluated: Done, few: Sampling, changes: str) -> None:
    row = Row(label="Other", model=LINEAR, changes=changes)
    assert made_runner(few, EVALUATED, evaluated.tracker).found(row) is None


@pytest.mark.parametrize("status", ["RUNNING", "KILLED", "FAILED"])
def test_a_run_that_is_not_finished_does_not_count(evaluated: Done, few: Sampling, status: str) -> None:
    used = made_runner(few, EVALUATED, holding([replace(run, status=status) for run in evaluated.tracker.runs]))
    assert used.found(WHOLE) is None


def holding(runs: list[MemoryRun]) -> MemoryTracker:
    tracker = MemoryTracker()
    tracker.runs = runs
    return tracker


def test_an_interrupted_table_goes_on_where_it_was(evaluated: Done, few: Sampling) -> None:
    tracker = MemoryTracker()
    with pytest.raises(KeyboardInterrupt):
        measure(made_runner(few, EVALUATED, tracker), Impatient("2 of 2, Short"))
    [first] = runs_with(tracker, "evaluate")
    assert [run.status for run in runs_with(tracker, "reproduce")] == ["KILLED"]
    rows = measure(made_runner(few, EVALUATED, tracker))
    assert [run.params["epochs"] for run in runs_with(tracker, "evaluate")] == ["5", "2"]
    assert [source(each).id for each in rows[:3]] == [first.id] * 3
    assert means(rows) == means(list(evaluated.rows.values()))


def test_a_plan_tells_what_is_then_trained(few: Sampling) -> None:
    tracker, table = MemoryTracker(), table_of(SHORT, replace(SHORT, label="Early", epoch=1))
    [work] = made_runner(few, table, tracker).plan(set())
    assert (work.what, work.replica_epochs, work.data) == ("007/table-1: Short", 2 * 2, few.data)
    assert tracker.runs == []
    [row, _] = measure(made_runner(few, table, tracker))
    [done] = made_runner(few, table, tracker).plan(set())
    assert (list(done.jobs), done.done) == ([], f"run {source(row).id}")


def test_one_round_has_no_spread_and_no_standard_error(few: Sampling) -> None:
    [row] = measure(made_runner(few, table_of(replace(SHORT, epoch=1)), MemoryTracker(), rounds=1))
    assert math.isnan(row.figures["test_error"].std)
    assert math.isnan(row.figures["test_error"].standard_error)
    assert len(row.errors_R) == 1


FOLDED = Protocol(stage="cross_validate", rounds=1, folds=2)
CELLS = [
    Row(label=f"{epochs} epochs batch {size}", model="mlp_ws", changes=f"epochs={epochs} batch_size={size}")
    for epochs in (2, 3)
    for size in (10, 20)
]
CROSS_VALIDATED = table_of(*CELLS, protocol=FOLDED)


@pytest.fixture(scope="module")
def cross_validated(few: Sampling) -> Done:
    tracker = MemoryTracker()
    return Done(tracker, {each.row.label: each for each in measure(made_runner(few, CROSS_VALIDATED, tracker))})


def test_the_cells_of_a_variant_share_one_cross_validation_and_its_trainings(cross_validated: Done) -> None:
    [run] = runs_with(cross_validated.tracker, "cross_validate")
    trained = [name for chunk in json.loads(run.texts["chunks.json"])["chunks"] for name in chunk["replicas"]]
    assert len(trained) == 2 * 2  # 2 batch sizes x 2 folds; those of 2 epochs are read off
    assert [cross_validated.run(row.label).parent for row in CELLS] == [run.id] * 4
    for row in CELLS:
        config = source(cross_validated.rows[row.label]).config
        assert config is not None
        assert (config.epochs, config.batch_size) == (row.hyper.epochs, row.hyper.batch_size)


@pytest.mark.parametrize("label", [row.label for row in CELLS])
def test_errors_of_folds_have_the_standard_error_of_samples_that_are_shared(cross_validated: Done, label: str) -> None:
    row, run = cross_validated.rows[label], cross_validated.run(label)
    first, second = row.errors_R
    assert [first, second] == [run.metrics["fold/validation_error", number] for number in (0, 1)]
    error = row.figures["validation_error"]
    assert (error.n, error.overlap) == (2, 1.0)
    assert error.mean == pytest.approx(50 * (first + second))
    assert error.std == pytest.approx(100 * abs(first - second) / math.sqrt(2))
    # One round of two folds: a fold's validation samples are as many as its training samples.
    assert error.standard_error == pytest.approx(error.std * math.sqrt(1 / 2 + 1 / 1))
    assert row.figures["train_error"].mean == pytest.approx(100 * run.metrics["cv_train_error", 0])
    of_all = row.figures["validation_error_of_all"]  # the wrong answers in a fold over the pairs of both
    assert (of_all.mean, of_all.std) == pytest.approx((error.mean / 2, error.std / 2))


def test_cells_that_were_measured_are_not_measured_again(cross_validated: Done, few: Sampling) -> None:
    with nothing_trained(cross_validated.tracker):
        again = measure(made_runner(few, CROSS_VALIDATED, cross_validated.tracker))
    assert means(again) == means(list(cross_validated.rows.values()))


@pytest.mark.parametrize("protocol", [replace(FOLDED, folds=4), replace(FOLDED, rounds=2)], ids=["folds", "rounds"])
def test_cells_of_other_folds_do_not_count(cross_validated: Done, few: Sampling, protocol: Protocol) -> None:
    used = made_runner(few, table_of(*CELLS, protocol=protocol), cross_validated.tracker)
    assert [used.found(row) for row in CELLS] == [None] * 4


def test_the_missing_cells_alone_are_measured(few: Sampling) -> None:
    tracker = MemoryTracker()
    [alone] = measure(made_runner(few, table_of(CELLS[0], protocol=FOLDED), tracker))
    assert source(alone).tags["role"] == "cross_validate"  # one cell is its run
    assert [
        bool(work.jobs) for work in made_runner(few, table_of(*CELLS[:2], protocol=FOLDED), tracker).plan(set())
    ] == [
        False,
        True,
    ]
    both = measure(made_runner(few, table_of(*CELLS[:2], protocol=FOLDED), tracker))
    assert source(both[0]).id == source(alone).id
    assert [run.params["grid"] for run in runs_with(tracker, "cross_validate")] == [
        "epochs=2 batch_size=10",
        "epochs=2 batch_size=20",
    ]


def test_rows_that_change_other_hyperparameters_are_grids_of_their_own(few: Sampling) -> None:
    tracker, plain = MemoryTracker(), CELLS[0]
    grey = [replace(row, label=f"{row.label} grey", changes=f"{row.changes} inputs=grey") for row in CELLS[:2]]
    rows = measure(made_runner(few, table_of(plain, *grey, protocol=FOLDED), tracker))
    assert [run.params["grid"] for run in runs_with(tracker, "cross_validate")] == [
        "epochs=2 batch_size=10",
        "epochs=2 batch_size=10,20 inputs=grey",
    ]
    assert len({source(each).id for each in rows}) == 3


def test_the_grid_of_a_published_table_holds_all_its_cells(few: Sampling) -> None:
    tables = [table for table in load_published().values() if table.protocol.stage == "cross_validate"]
    for table in tables:
        used = made_runner(few, table, MemoryTracker())
        assert isinstance(used, CrossValidateRunner)
        for row in used.rows:
            cells = parse_grid(used._config(row).grid, get_variant(row.model))
            assert row.hyper.canonical in {cell.canonical for cell in cells}
    assert tables


SEARCHED = table_of(
    Row(label="MLP", model="mlp3"),
    protocol=Protocol(stage="search", rounds=1, folds=2, sampler="two-step"),
)


@pytest.fixture(scope="module")
def searched(few: Sampling, tmp_path_factory: pytest.TempPathFactory) -> Done:
    folder, tracker = tmp_path_factory.mktemp("searched"), MemoryTracker()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)  # the study's files
        rows = measure(made_runner(few, SEARCHED, tracker, storage=f"sqlite:///{folder / 'optuna.db'}"))
    return Done(tracker, {each.row.label: each for each in rows})


def test_the_row_of_a_search_shows_what_it_chose(searched: Done) -> None:
    [found] = runs_with(searched.tracker, "search")
    row, chosen = searched.rows["MLP"], json.loads(found.tags["config"])
    assert source(row).id == found.id
    assert {name: row.figures[name].mean for name in ("lr", "batch_size", "alpha")} == {
        name: chosen[name] for name in ("lr", "batch_size", "alpha")
    }
    assert row.figures["parameters"].mean == 73_314
    assert row.seconds == pytest.approx(found.metrics["search_seconds", 0])  # of one worker
    assert list(row.errors_R) == []
    tried = {(trial.params["lr"], trial.params["batch_size"]) for trial in runs_with(searched.tracker, "trial")}
    assert len(tried) > 1


def test_a_finished_search_is_not_made_again(searched: Done, few: Sampling) -> None:
    with nothing_trained(searched.tracker):
        measure(made_runner(few, SEARCHED, searched.tracker))
    [work] = made_runner(few, SEARCHED, searched.tracker).plan(set())
    assert work.done == f"run {source(searched.rows['MLP']).id}"


@pytest.mark.parametrize("part", [{"folds": 4}, {"rounds": 2}, {"sampler": "tpe"}], ids=["folds", "rounds", "sampler"])
def test_another_search_does_not_count(searched: Done, few: Sampling, part: dict[str, Any]) -> None:
    table = replace(SEARCHED, protocol=replace(SEARCHED.protocol, **part))
    assert made_runner(few, table, searched.tracker).found(table.rows[0]) is None


def test_the_plan_of_a_search_counts_its_trials(few: Sampling, tmp_path: Path) -> None:
    works = made_runner(few, SEARCHED, MemoryTracker(), storage=f"sqlite:///{tmp_path / 'optuna.db'}").plan(set())
    assert {work.what for work in works} == {"007/table-1: MLP"}
    assert sum(work.replica_epochs for work in works) > 0
    assert list(tmp_path.iterdir()) == []


TRIED = Row(label="Searched", model=LINEAR, changes="epochs=3", trials=2)


def test_a_row_of_a_search_is_measured_with_what_that_found(
    few: Sampling, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker, store = MemoryTracker(), f"sqlite:///{tmp_path / 'optuna.db'}"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)  # the study's files
        preset, row = measure(made_runner(few, table_of(SHORT, experiments=(TRIED,)), tracker, storage=store))
    [found], [first, second] = runs_with(tracker, "search"), runs_with(tracker, "evaluate")
    assert (source(preset).id, source(row).id) == (first.id, second.id)
    assert (second.tags["config_from"], second.params["search_wanted"]) == (found.id, "2")
    assert source(row).config == replace(Hyperparameters.of(json.loads(found.tags["config"])), epochs=3)
    with nothing_trained(tracker):
        measure(made_runner(few, table_of(TRIED), tracker, storage=store))
    for longer in (replace(TRIED, trials=3), replace(TRIED, search_rounds=2)):
        more = made_runner(few, table_of(SHORT, longer), tracker, storage=store)
        assert [each and each.id for each in map(more.found, more.rows)] == [first.id, None]
    monkeypatch.setattr(space_file, "SPACES", tmp_path)
    (tmp_path / f"{LINEAR}.yaml").write_text("epochs: {type: int, low: 10, high: 50, step: 5}")
    other = made_runner(few, table_of(SHORT, TRIED), tracker, storage=store)
    assert [each and each.id for each in map(other.found, other.rows)] == [first.id, None]


def test_the_setting_of_a_row_is_that_of_its_protocol_unless_it_says_otherwise(few: Sampling) -> None:
    config = ReproduceConfig(sampling=few, tables=("all",))
    settings = {
        (table.id, row.label): config.sampling_of(table, row)
        for table in config.chosen
        for row in (*table.rows, replace(table.rows[0], label="Pooled", data={"pooling": "max"}))
    }
    assert settings["002/figure-1", "WS"].data == replace(few.data, options={"pooling": "max"})
    assert settings["000/table-2", "MLP"] == few
    assert settings["000/table-2", "Pooled"].data == replace(few.data, options={"pooling": "max"})
    assert settings["004/disc", "Best model"].data.dataset == "disc"
    assert {(each.samples, each.data.cache_dir) for each in settings.values()} == {(40, few.data.cache_dir)}


def test_an_experiment_is_measured_beside_the_rows_on_data_of_its_own(few: Sampling) -> None:
    tracker = MemoryTracker()
    pooled = replace(SHORT, label="Short pooled", data={"pooling": "max"})
    rows = measure(made_runner(few, table_of(SHORT, experiments=(pooled,)), tracker))
    assert [(each.row.label, source(each).params["pooling"]) for each in rows] == [
        ("Short", "average"),
        ("Short pooled", "max"),
    ]
    assert len({source(each).tags["dataset_digest"] for each in rows}) == 2
    assert rows[0].errors_R != rows[1].errors_R
    with nothing_trained(tracker):
        again = measure(made_runner(few, table_of(pooled), tracker))  # without the row that it was tried beside
    assert source(again[0]).id == source(rows[1]).id


def test_a_row_that_diverges_is_left_out_and_the_others_are_measured(few: Sampling) -> None:
    tracker, wild = MemoryTracker(), Row(label="Wild", model="mlp", changes="lr=100 optimiser=sgd inputs=grey epochs=9")
    first, second = measure(made_runner(few, table_of(wild, SHORT), tracker))
    assert (first.run, first.figures, first.errors_R) == (None, {}, ())
    assert second.figures["test_error"].n == 2
    assert [run.status for run in runs_with(tracker, "evaluate")] == ["FAILED", "FINISHED"]
