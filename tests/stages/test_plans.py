"""What a stage says that it would do is what it then does; saying it leaves no trace."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.base.errors import InputError
from pipeline.stages import compare, cross_validate, evaluate, planning, prepare
from pipeline.stages import main as whole
from pipeline.stages.compare import CompareConfig
from pipeline.stages.cross_validate import CrossValidateConfig
from pipeline.stages.evaluate import EvaluateConfig
from pipeline.stages.planning import Work, answer
from pipeline.stages.prepare import PrepareConfig
from pipeline.stages.searching.config import SearchConfig
from pipeline.stages.searching.plan import plan
from pipeline.stages.stage import Sampling
from pipeline.training.compute import Compute
from tests.memory import MemoryTracker
from tests.stages.runs import Make, searched, trained_in
from tests.stages.silent import Silent

CELLS = """
lr: {type: choice, values: [0.001, 0.005]}
batch_size: {type: choice, values: [10, 20]}
epochs: {type: choice, values: [1, 3]}
"""
ONE = Compute(workers=1)


@dataclass
class Stages:
    """What all stages are told, in an empty folder."""

    sampling: Sampling
    folder: Path

    @property
    def search(self) -> SearchConfig:
        (self.folder / "space.yaml").write_text(CELLS)
        return SearchConfig(
            sampling=self.sampling,
            model="mlp_ws",
            space=str(self.folder / "space.yaml"),
            sampler="grid",
            folds=2,
            storage=f"sqlite:///{self.folder / 'optuna.db'}",
            artifacts=str(self.folder / "artifacts"),
            recheck=8,
        )

    @property
    def cross_validate(self) -> CrossValidateConfig:
        return CrossValidateConfig(
            sampling=self.sampling, model="mlp_ws", grid="epochs=1,3 batch_size=10,20", folds=2, rounds=2
        )

    @property
    def evaluate(self) -> EvaluateConfig:
        return EvaluateConfig(sampling=self.sampling, model="mlp_ws", preset="report", rounds=3)

    @property
    def main(self) -> whole.MainConfig:
        return whole.MainConfig(
            prepare=PrepareConfig(sampling=self.sampling),
            cross_validate=self.cross_validate,
            search=self.search,
            evaluate=self.evaluate,
            compare=CompareConfig(),
        )


PLANS: dict[str, tuple[Callable[[Stages, MemoryTracker], list[Work]], float]] = {
    "prepare": (lambda stages, _: prepare.plan(PrepareConfig(sampling=stages.sampling)), 0),
    "cross_validate": (lambda stages, _: cross_validate.plan(stages.cross_validate), 2 * 4 * 3),
    "search": (lambda stages, _: plan(stages.search), 4 * 2 * 3 + 2 * 4 * (1 + 3)),
    "evaluate": (lambda stages, tracker: evaluate.plan(stages.evaluate, tracker), 3 * 25),
    "main": (lambda stages, tracker: whole.plan(stages.main, tracker), 24 + 56 + 75),
}
"""Stage -> how it plans, and the replica-epochs that it plans."""


@pytest.mark.parametrize("stage", PLANS)
def test_a_plan_counts_what_would_be_trained_and_leaves_nothing(stage: str, sampling: Sampling, tmp_path: Path) -> None:
    make_plan, expected = PLANS[stage]
    stages, tracker = Stages(replace(sampling, samples=60), tmp_path), MemoryTracker()
    works = make_plan(stages, tracker)
    shown = answer(works, stages.sampling, ONE, Silent())
    assert sum(work.replica_epochs for work in works) == expected
    assert str(expected) in shown.headline if expected else shown.headline == "Would train nothing"
    assert [row[0] for row in shown.table.rows] == [work.what for work in works]
    assert tracker.runs == []
    assert [path.name for path in tmp_path.iterdir() if path.name != "space.yaml"] == []


def test_a_plan_of_folds_needs_no_more_test_digits_than_there_are(all_of_few: Sampling) -> None:
    config = CrossValidateConfig(sampling=all_of_few, model="mlp_ws", grid="epochs=2", folds=2)
    assert answer(cross_validate.plan(config), all_of_few, ONE, Silent()).headline.startswith("Would train 4 ")


def test_a_plan_without_time_says_what_is_computed_and_how_well(
    sampling: Sampling, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "TIMING_SECONDS", 0.0)
    config = CrossValidateConfig(
        sampling=replace(sampling, samples=60), model="mlp_ws", grid="epochs=1 batch_size=10,20,30", folds=2
    )
    shown = answer(cross_validate.plan(config), sampling, ONE, Silent())
    assert shown.notes[-1].startswith("1 of 3 kinds of training were timed, those that take longest; the time of")


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.0, "0.0 s"), (7.64, "7.6 s"), (252.0, "4 min 10 s"), (15_234.0, "4 h 10 min"), (319_980.0, "89 h")],
)
def test_a_planned_time_has_no_more_digits_than_are_known(seconds: float, shown: str) -> None:
    assert planning._about(seconds) == shown


def test_the_plan_of_compare_names_the_evaluations_that_it_reads(sampling: Sampling) -> None:
    tracker = MemoryTracker()
    with pytest.raises(InputError, match="run evaluate first"):
        compare.plan(CompareConfig(), tracker)
    config = EvaluateConfig(sampling=sampling, model="mlp_ws", preset="report", rounds=2, changes="epochs=1")
    result = evaluate.run(config, tracker, Silent())
    [work] = compare.plan(CompareConfig(), tracker)
    assert work.done == f"run {result.run_id}, 2 rounds"
    assert answer([work], None, None, Silent()).headline == "Would train nothing"
    assert len(tracker.runs) == 1


def test_a_grid_then_trains_as_many_replica_epochs_as_were_planned(make: Make) -> None:
    config = make(CELLS, model="mlp_ws", sampler="grid")
    [work] = plan(config)
    _, run = searched(config)
    assert work.replica_epochs == run.metrics["replica_epochs", 0] == 4 * 2 * 3
    assert work.done == "4 read off others"
    assert sum(len(job.replicas) for job in work.jobs) == len(trained_in(run))
    [left] = plan(config)
    assert left.replica_epochs == 0
    assert "8 trials" in left.done


def test_a_recheck_of_cells_that_train_alike_is_planned_exactly(make: Make) -> None:
    config = make(CELLS.replace("[1, 3]", "[2]"), model="mlp_ws", sampler="grid", recheck=3)
    planned = sum(work.replica_epochs for work in plan(config))
    _, run = searched(config)
    assert planned == run.metrics["replica_epochs", 0] == (4 + 3) * 2 * 2


def test_what_is_left_of_a_study_is_planned(make: Make) -> None:
    space = "lr: {type: float, low: 1e-4, high: 1e-2, log: true}\nepochs: {type: choice, values: [2], default: 2}\n"
    config = make(space, n_trials=3)
    searched(config)
    [work] = plan(replace(config, n_trials=10))
    assert (work.trainings, work.done, work.replica_epochs) == ("7 trials x 2 folds", "3 trials", 7 * 2 * 2)
    notes: dict[str, Any] = {"budget": 60.0, "timeout": 60.0}
    [limited] = plan(replace(config, n_trials=10, **notes))
    assert "--budget ends it earlier" in limited.note
    assert "--timeout ends it earlier" in limited.note
