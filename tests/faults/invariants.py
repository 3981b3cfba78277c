"""What is true of a study and its runs after every fault."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import mlflow
from mlflow.entities import Run
from optuna.trial import FrozenTrial, TrialState

from tests.functional.conftest import Workplace

STATUS = {TrialState.COMPLETE: "FINISHED", TrialState.PRUNED: "KILLED", TrialState.FAIL: "FAILED"}
Table = list[tuple[Mapping[str, Any], str, Any, Mapping[int, float]]]


def check_whole(workplace: Workplace, n_trials: int, acknowledged: Mapping[int, FrozenTrial] | None = None) -> None:
    """Every acknowledged trial is finished as it was; there are as many trials as were asked for and one run for each,
    with the trial's value and end; nothing is RUNNING; no configuration that did not fail was trained twice."""
    trials, runs = workplace.study().trials, workplace.runs()
    assert [trial.number for trial in trials] == list(range(n_trials))
    assert {trial.state.is_finished() for trial in trials} == {True}
    for number, trial in (acknowledged or {}).items():
        assert (trials[number].state, trials[number].values) == (trial.state, trial.values)
        assert trials[number].datetime_complete == trial.datetime_complete
    check_nothing_runs(workplace)
    of_trials = [run for run in runs if run.data.tags["role"] == "trial"]
    numbers = sorted(int(run.data.tags["trial"]) for run in of_trials)
    assert numbers == list(range(n_trials)), numbers
    client = mlflow.MlflowClient(workplace.tracking_uri)
    for run in of_trials:
        trial = trials[int(run.data.tags["trial"])]
        check_same(trial, run)
        logged = client.get_metric_history(run.info.run_id, "validation_error")
        assert len(logged) == len({each.step for each in logged})
        if trial.state is not TrialState.FAIL:
            assert {each.step: each.value for each in logged} == trial.intermediate_values
    sound = (trial for trial in trials if trial.state is not TrialState.FAIL and "source" not in trial.user_attrs)
    trained = [trial.user_attrs["config_hash"] for trial in sound]
    assert [config for config, times in Counter(trained).items() if times > 1] == []


def check_same(trial: FrozenTrial, run: Run) -> None:
    """The run is the trial's: in configuration, value, curve and end."""
    assert run.data.tags["config_hash"] == trial.user_attrs["config_hash"]
    assert run.data.tags["projected"] == "true"
    assert run.info.status == STATUS[trial.state]
    expected = trial.value if trial.state is TrialState.COMPLETE else None
    assert run.data.metrics.get("cv_validation_error") == expected
    assert trial.datetime_complete is not None
    assert run.info.end_time == math.floor(trial.datetime_complete.timestamp() * 1000)


def check_nothing_runs(workplace: Workplace) -> None:
    """Neither a run nor a trial is left as if somebody were at work on it."""
    assert [run.info.run_name for run in workplace.runs() if run.info.status == "RUNNING"] == []
    assert [trial.number for trial in workplace.study().trials if trial.state is TrialState.RUNNING] == []


def finished_trials(workplace: Workplace) -> dict[int, FrozenTrial]:
    """Those that are acknowledged by now."""
    return {trial.number: trial for trial in workplace.study().trials if trial.state.is_finished()}


def more_trials(workplace: Workplace) -> int:
    """A budget that a search which had an endless one can end with: more than it has asked for."""
    return len(workplace.study().trials) + 1


def table(workplace: Workplace) -> Table:
    """What a search has found, without the times."""
    return [
        (trial.params, trial.state.name, trial.values, trial.intermediate_values) for trial in workplace.study().trials
    ]
