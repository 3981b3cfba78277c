"""A search trains the longest of trials that differ in epochs alone, and reads the others off it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.stages import search
from pipeline.stages.searching.config import SearchConfig
from pipeline.stages.stage import Sampling
from pipeline.training.compute import Compute
from tests.memory import MemoryRun, MemoryTracker
from tests.stages.runs import runs_with, search_with_deaths, table_of, trained_in, trials_of
from tests.stages.silent import Silent

SPACE = """
epochs: {type: choice, values: [3, 25]}
optimiser: {type: choice, values: [adam, sgd]}
momentum: {type: choice, values: [0, 0.9]}
"""
SAME = ("lr", "batch_size", "alpha", "optimiser", "momentum", "schedule")


@pytest.fixture(scope="module")
def config(sampling: Sampling, tmp_path_factory: pytest.TempPathFactory) -> SearchConfig:
    folder = tmp_path_factory.mktemp("search")
    (folder / "space.yaml").write_text(SPACE)
    return SearchConfig(
        sampling=sampling,
        model="mlp_ws_al",
        space=str(folder / "space.yaml"),
        storage=f"sqlite:///{folder / 'optuna.db'}",
        artifacts=str(folder / "artifacts"),
        n_trials=13,
        folds=2,
        population=4,
        recheck=3,
        compute=Compute(workers=2),
    )


@pytest.fixture(scope="module")
def whole(config: SearchConfig) -> MemoryTracker:
    """A search that ran through, in two workers."""
    tracker = MemoryTracker()
    search.run(config, tracker, Silent())
    return tracker


def curve(run: MemoryRun, name: str = "validation_error") -> list[float]:
    return [value for (metric, _), value in sorted(run.metrics.items()) if metric == name]


def source_of(run: MemoryRun) -> int:
    """The trial that a trial was read off."""
    return int(run.tags["source"].removeprefix("read off trial "))


def test_some_trials_are_read_off_earlier_ones_and_some_off_longer_ones_of_their_batch(
    whole: MemoryTracker,
) -> None:
    read = [(int(run.tags["trial"]), source_of(run)) for run in trials_of(whole) if "source" in run.tags]
    batches = [(number // 4, source // 4) for number, source in read]
    assert any(batch == source for batch, source in batches)
    assert any(batch > source for batch, source in batches)
    assert {run.status for run in trials_of(whole)} <= {"FINISHED", "KILLED"}


def test_what_was_read_off_is_the_beginning_of_the_training_that_it_names(whole: MemoryTracker) -> None:
    trials = trials_of(whole)
    for run in trials:
        if "source" in run.tags:
            source = trials[source_of(run)]
            assert "source" not in source.tags
            assert [run.params.get(name) for name in SAME] == [source.params.get(name) for name in SAME]
            for name in ("train_loss", "validation_error", "fold_00/validation_error", "fold_01/validation_error"):
                assert curve(run, name) == pytest.approx(curve(source, name)[: len(curve(run, name))], abs=1e-6)
            assert f"read off trial {source.tags['trial']}" in run.description
        if run.status == "FINISHED":
            assert len(curve(run)) == int(run.params["epochs"])
            assert run.metrics["cv_validation_error", 0] == pytest.approx(curve(run)[-1], abs=1e-6)


def test_only_the_others_were_trained(whole: MemoryTracker) -> None:
    [stage] = runs_with(whole, "search")
    trained = [run for run in trials_of(whole) if "source" not in run.tags]
    again = [run for run in trials_of(whole) if ("cv_recheck", 0) in run.metrics]
    assert len(again) == 3
    assert trained_in(stage) == sorted(
        [f"trial/{run.tags['trial']}/round/0/fold/{fold}" for run in trained for fold in (0, 1)]
        + [f"recheck/{run.tags['trial']}/round/1000000/fold/{fold}" for run in again for fold in (0, 1)]
    )
    assert stage.metrics["replica_epochs", 0] == sum(
        [2 * len(curve(run)) for run in trained] + [2 * int(run.params["epochs"]) for run in again]
    )


def test_the_table_shows_all_that_was_searched(whole: MemoryTracker) -> None:
    [stage] = runs_with(whole, "search")
    header, *rows = [line.split(",") for line in stage.texts["trials.csv"].splitlines()]
    assert {"epochs", "optimiser", "momentum"} <= set(header)
    assert {row[header.index("optimiser")] for row in rows} == {"adam", "sgd"}


def test_a_search_that_dies_now_and_then_ends_as_one_that_ran_through(
    config: SearchConfig, whole: MemoryTracker, tmp_path: Path
) -> None:
    mortal = replace(config, storage=f"sqlite:///{tmp_path / 'optuna.db'}")
    assert table_of(search_with_deaths(mortal, after=(150, 100))) == table_of(whole)
