"""Every variant goes through every stage that knows of variants."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from pipeline.models.metrics import SHARE
from pipeline.models.variant import Variant
from pipeline.stages import compare, cross_validate, evaluate, search
from pipeline.stages.compare import CompareConfig
from pipeline.stages.cross_validate import CrossValidateConfig
from pipeline.stages.evaluate import EvaluateConfig
from pipeline.stages.searching.config import SearchConfig
from pipeline.stages.stage import Sampling
from pipeline.tasks.registry import task_of
from pipeline.tracking.memory import MemoryTracker
from pipeline.training.compute import Compute
from tests.models.networks import every
from tests.stages.runs import error_by_model, run_of, trials_of
from tests.stages.silent import Silent

SPACE = "lr: {type: choice, values: [0.001, 0.002]}\nepochs: {type: choice, values: [1]}\n"


@pytest.fixture(scope="module")
def space_and_storage(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Two trials, and one database for the studies of all variants, whose tables take long to make."""
    folder: Path = tmp_path_factory.mktemp("search")
    (folder / "space.yaml").write_text(SPACE)
    return {
        "space": str(folder / "space.yaml"),
        "storage": f"sqlite:///{folder / 'optuna.db'}",
        "artifacts": str(folder / "artifacts"),
    }


@every()
def test_goes_through_every_stage(sampling: Sampling, space_and_storage: dict[str, Any], variant: Variant) -> None:
    tracker, task = MemoryTracker(), task_of(variant)
    few = replace(sampling, data=replace(sampling.data, dataset=next(iter(task.datasets))), samples=20)
    common: dict[str, Any] = {"sampling": few, "model": variant.name, "compute": Compute(workers=1, device="cpu")}
    evaluation = EvaluateConfig(**common, rounds=1)

    validated = cross_validate.run(CrossValidateConfig(**common, grid="epochs=1", folds=2), tracker, Silent())
    found = search.run(SearchConfig(**common, **space_and_storage, sampler="two-step", folds=2), tracker, Silent())
    evaluated = evaluate.run(evaluation, tracker, Silent())
    compared = compare.run(CompareConfig(), tracker, Silent())

    assert {run.status for run in tracker.runs} == {"FINISHED"}
    for result in (validated, found, evaluated, compared):
        assert run_of(tracker, result).description.startswith(result.description)
    for run, metric in product((run_of(tracker, validated), *trials_of(tracker)), variant.metrics):
        value = run.metrics[f"cv_validation_{metric.name}", 0]
        assert 0 <= value <= 1 if metric.unit == SHARE else math.isfinite(value)
    assert [run.params["lr"] for run in trials_of(tracker)] == ["0.001", "0.002"]

    measured = run_of(tracker, evaluated)
    config = tracker.get(found.run_id).config
    assert config is not None
    assert tracker.get(evaluated.run_id).config == config
    assert measured.metrics["parameters", 0] == variant.count(config.structure)
    finals = {metric: measured.metrics.get((f"final_test_{metric.name}", 0)) for metric in task.metrics}
    assert {metric for metric, value in finals.items() if value is not None} == set(variant.metrics)
    [model] = measured.models
    assert error_by_model(model, evaluation, 0) == pytest.approx(finals[variant.metric])
    assert [row[1] for row in compared.table.rows] == [variant.name]
