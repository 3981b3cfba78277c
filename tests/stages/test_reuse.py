"""What a configuration that was tried before is read off, and what it adds to where it is tried again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.stages.stage import Sampling
from tests.memory import MemoryRun
from tests.stages.runs import Make, searched, trained_in, trials_of

TWO = "lr: {type: choice, values: [0.001, 0.005]}\nepochs: {type: choice, values: [2]}\n"
FOUR = "lr: {type: choice, values: [0.005, 0.001, 0.002]}\nepochs: {type: choice, values: [1, 2]}\n"
ONE = "lr: {type: choice, values: [0.001]}\nepochs: {type: choice, values: [2], default: 2}\n"


def folds_of(run: MemoryRun, epoch: int = 2) -> list[float]:
    """A trial's validation error of every fold."""
    return [error for (name, step), error in sorted(run.metrics.items()) if name.startswith("fold_") and step == epoch]


def test_an_equal_proposal_is_not_trained_again(make: Make) -> None:
    space = TWO.replace("[2]", "[2], default: 2")
    tracker, run = searched(make(space, n_trials=6, sampler="random"))
    trials = trials_of(tracker)
    first: dict[str, MemoryRun] = {}
    for trial in trials:
        source = first.setdefault(trial.tags["config"], trial)
        if source is not trial:
            assert trial.tags["source"] == f"read off trial {source.tags['trial']}"
            assert folds_of(trial) == folds_of(source)
            assert trial.metrics["replica_epochs", 0] == 0
    assert len(first) == 2
    assert trained_in(run) == sorted(
        f"trial/{trial.tags['trial']}/round/0/fold/{fold}" for trial in first.values() for fold in (0, 1)
    )
    assert run.metrics["saved_by_reuse", 0] == pytest.approx(4 / 6)


def test_a_second_study_is_read_off_the_first(make: Make) -> None:
    former = make(TWO, sampler="grid", study="the former")
    before, _ = searched(former)
    tracker, run = searched(make(FOUR, sampler="grid", reuse="storage", storage=former.storage))
    sources = {
        (trial.params["lr"], trial.params["epochs"]): trial.tags.get("source", "") for trial in trials_of(tracker)
    }
    of_first, of_second = (f"read off trial {number} of study the former" for number in (0, 1))
    assert sources == {
        ("0.005", "1"): of_second,
        ("0.005", "2"): of_second,
        ("0.001", "1"): of_first,
        ("0.001", "2"): of_first,
        ("0.002", "1"): "read off trial 5",
        ("0.002", "2"): "",
    }
    assert trained_in(run) == ["trial/5/round/0/fold/0", "trial/5/round/0/fold/1"]
    for number, other, epoch in ((1, 1, 2), (3, 0, 2), (2, 0, 1)):
        assert folds_of(trials_of(tracker)[number], epoch) == folds_of(trials_of(before)[other], epoch)


def test_what_was_measured_otherwise_is_not_read_off(make: Make, sampling: Sampling) -> None:
    former = make(TWO, sampler="grid", study="the former")
    searched(former)
    for study, change in {
        "folds": {"folds": 3, "reuse": "storage"},
        "pairs": {"sampling": replace(sampling, samples=40), "reuse": "storage"},
        "reuse": {"reuse": "study"},
    }.items():
        tracker, _ = searched(replace(former, study=study, **change))  # type: ignore[arg-type]
        assert ["source" in trial.tags for trial in trials_of(tracker)] == [False, False]


def test_tried_again_it_is_on_another_draw_and_all_draws_count_together(make: Make) -> None:
    tracker, run = searched(make(ONE, n_trials=4, sampler="random", reuse="none", population=2))
    trials = trials_of(tracker)
    assert len({trial.tags["config"] for trial in trials}) == 1
    assert [trial.tags.get("source") for trial in trials] == [None, *(f"adds to trial {number}" for number in range(3))]
    assert trained_in(run) == sorted(
        f"trial/{number}/round/{number}/fold/{fold}" for number in range(4) for fold in (0, 1)
    )
    last = folds_of(trials[-1])
    assert len(last) == 8
    for number, trial in enumerate(trials):
        assert folds_of(trial) == last[: 2 * number + 2]
        assert trial.metrics["cv_validation_error", 0] == pytest.approx(np.mean(folds_of(trial)), abs=1e-5)
    assert run.metrics["cv_validation_error", 0] == trials[-1].metrics["cv_validation_error", 0]
    assert run.metrics["saved_by_reuse", 0] == 0


def test_a_configuration_is_ranked_by_all_of_its_draws(make: Make) -> None:
    space = TWO.replace("[2]", "[2], default: 2")
    tracker, run = searched(make(space, n_trials=8, sampler="random", reuse="none"))
    latest = {trial.tags["config"]: trial.metrics["cv_validation_error", 0] for trial in trials_of(tracker)}
    assert len(latest) == 2
    assert run.metrics["cv_best", 0] == min(latest.values())
    assert run.tags["config"] == min(latest, key=lambda config: latest[config])
    singles = [trial.metrics["cv_validation_error", 0] for trial in trials_of(tracker) if "source" not in trial.tags]
    assert min(singles) != run.metrics["cv_best", 0]
