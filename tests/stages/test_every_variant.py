"""Every variant goes through every stage that knows of variants, and gives what it gave before, to the bit."""

from __future__ import annotations

import math
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from pipeline.models.metrics import SHARE
from pipeline.models.variant import Variant
from pipeline.stages import compare
from pipeline.stages.compare import CompareConfig
from pipeline.tasks.registry import task_of
from tests.goldens import VARIANTS, golden
from tests.goldens.runs import Few
from tests.models.networks import every
from tests.stages.runs import error_by_model, run_of, trials_of
from tests.stages.silent import Silent


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With one database for the studies of all variants, whose tables take long to make."""
    return tmp_path_factory.mktemp("few")


@every()
def test_goes_through_every_stage(folder: Path, variant: Variant) -> None:
    few, task = Few(folder, variant.name), task_of(variant)
    tracker, kept = few.tracker, few.kept()
    compared = compare.run(CompareConfig(), tracker, Silent())

    assert {run.status for run in tracker.runs} == {"FINISHED"}
    for result in (few.validated, few.found, few.evaluated, compared):
        assert run_of(tracker, result).description.startswith(result.description)
    for run, metric in product((run_of(tracker, few.validated), *trials_of(tracker)), variant.metrics):
        value = run.metrics[f"cv_validation_{metric.name}", 0]
        assert 0 <= value <= 1 if metric.unit == SHARE else math.isfinite(value)
    assert [run.params["lr"] for run in trials_of(tracker)] == ["0.001", "0.002"]

    measured = run_of(tracker, few.evaluated)
    config = tracker.get(few.found.run_id).config
    assert config is not None
    assert tracker.get(few.evaluated.run_id).config == config
    assert measured.metrics["parameters", 0] == variant.count(config.structure)
    finals = {metric for metric in task.metrics if (f"final_test_{metric.name}", 0) in measured.metrics}
    assert finals == set(variant.metrics)
    [model], first = measured.models, variant.metric.name
    test_R = [measured.metrics[f"round/test_{first}", number] for number in range(2)]
    median = int(np.argmin(test_R))  # the lower one of two
    assert error_by_model(model, few.evaluation, median) == pytest.approx(test_R[median])
    assert [row[1] for row in compared.table.rows] == [variant.name]

    before = (golden(VARIANTS) or {}).get(variant.name)
    if before is not None:
        assert (kept["last"], kept["digest"]) == (before["last"], before["digest"])
        assert before["params"].items() <= kept["params"].items()
        assert before["tags"].items() <= kept["tags"].items()
