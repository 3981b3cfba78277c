"""Every figure leads to what it rests on, and back: by links in descriptions, and by tags."""

from __future__ import annotations

import re

import pytest

from pipeline.stages import compare, evaluate, search
from pipeline.stages.compare import CompareConfig
from pipeline.stages.evaluate import EvaluateConfig
from pipeline.stages.searching.config import SearchConfig
from pipeline.stages.stage import Sampling, StageResult
from pipeline.tuning.storage import open_storage
from tests.memory import MemoryRun, MemoryTracker
from tests.stages.runs import Make, run_of, runs_with, trials_of
from tests.stages.silent import Silent

SPACE = "epochs: {type: choice, values: [1, 2], default: 1}\n"
STUDY = re.compile(r"\]\((http://127\.0\.0\.1:8080/dashboard/studies/\d+)\)")


@pytest.fixture
def config(make: Make) -> SearchConfig:
    return make(SPACE, n_trials=2)


@pytest.fixture
def tracker() -> MemoryTracker:
    return MemoryTracker()


def leads_to(run: MemoryRun, other: MemoryRun | StageResult) -> bool:
    name = other.run_id if isinstance(other, StageResult) else other.id
    return f"](memory:{name})" in run.description


def test_a_searched_configuration_leads_from_the_comparison_to_the_study_and_back(
    config: SearchConfig, tracker: MemoryTracker
) -> None:
    found = search.run(config, tracker, Silent())
    evaluation = EvaluateConfig(sampling=config.sampling, model=config.model, rounds=2, compute=config.compute)
    measured = evaluate.run(evaluation, tracker, Silent())
    compared = compare.run(CompareConfig(), tracker, Silent())
    searched, evaluated, comparison = (run_of(tracker, result) for result in (found, measured, compared))
    best = trials_of(tracker)[int(searched.tags["best_trial"])]
    [summary] = runs_with(tracker, "summary")

    assert leads_to(comparison, measured)
    assert leads_to(summary, compared)
    assert leads_to(summary, measured)
    for other in (found, best):
        assert leads_to(evaluated, other)
    for other in (measured, best):
        assert leads_to(searched, other)
    [study] = {STUDY.findall(run.description)[0] for run in (searched, evaluated)}
    assert searched.tags["dashboard"] == study
    assert f"]({study}/trials?numbers={best.tags['trial']})" in best.description

    assert comparison.tags["evaluate_runs"] == evaluated.id
    assert (summary.tags["evaluate_run"], summary.tags["compare_run"]) == (evaluated.id, comparison.id)
    assert evaluated.tags["config_from"] == searched.id
    for name in ("study", "trial"):
        assert evaluated.tags[name] == best.tags[name]

    storage = open_storage(config.storage)
    [kept] = storage.get_all_studies()
    notes = {key: str(value) for key, value in storage.get_study_system_attrs(kept._study_id).items()}
    for run in (searched, *trials_of(tracker)):
        assert any(f"](memory:{run.id})" in note for note in notes.values())


def test_the_configuration_of_a_report_leads_nowhere(sampling: Sampling, tracker: MemoryTracker) -> None:
    evaluation = EvaluateConfig(sampling=sampling, model="mlp", rounds=2, preset="report")
    evaluated = run_of(tracker, evaluate.run(evaluation, tracker, Silent()))
    assert evaluated.tags["config_from"] == ""
    assert "](" not in evaluated.description
    assert not {"study", "trial"} & evaluated.tags.keys()
