"""Rounds that are all tested on the same samples: what is kept of them, and what verdicts make of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

from pipeline.base.errors import InputError
from pipeline.base.seeds import numpy_generator
from pipeline.data.arrays import arrays
from pipeline.data.config import DataConfig
from pipeline.data.dataset import LabelledDataset
from pipeline.models.own.definition import definitions_of
from pipeline.reports.contrasts import Contrast, judge
from pipeline.stages import compare, evaluate, search
from pipeline.stages.compare import CompareConfig
from pipeline.stages.comparing.evaluations import Evaluation, newest_evaluations
from pipeline.stages.comparing.shared_samples import FILE, by_group, from_csv, to_csv
from pipeline.stages.evaluate import EvaluateConfig
from pipeline.stages.searching.config import SearchConfig
from pipeline.stages.stage import Sampling
from pipeline.tasks.subjects import kept
from pipeline.training.compute import Compute
from tests.memory import MemoryTracker
from tests.stages.runs import run_of
from tests.stages.silent import Silent

MODEL = """
from torch import nn


def net(in_features: int, num_classes: int, width: int = {width}) -> nn.Module:
    return nn.Sequential(nn.Linear(in_features, width), nn.Tanh(), nn.Linear(width, num_classes))
"""


def narrow(in_features: int, out_features: int, width: int = 2) -> nn.Module:
    return nn.Sequential(nn.Linear(in_features, width), nn.Tanh(), nn.Linear(width, out_features))


def wide(in_features: int, out_features: int, width: int = 16) -> nn.Module:
    return nn.Sequential(nn.Linear(in_features, width), nn.Tanh(), nn.Linear(width, out_features))


def sampling_of(folder: Path, *, grouped: bool = False, values: bool = False, samples: int = 0) -> Sampling:
    draws = numpy_generator(0, "shared samples")
    x_ND = draws.normal(size=(120, 3))
    target_N = x_ND[:, 0] + 0.5 * draws.normal(size=120)
    group_N = np.arange(120) // 4 if grouped else None
    given = arrays(x_ND, target_N if values else target_N > 0, group=group_N, name="blobs")
    return Sampling(data=DataConfig(dataset="blobs", cache_dir=folder, given=given), samples=samples)


def evaluated(tracker: MemoryTracker, sampling: Sampling, make: Any = narrow, **options: Any) -> Evaluation:
    [model] = definitions_of(make)
    config = EvaluateConfig(
        **{
            "sampling": sampling,
            "model": model,
            "rounds": 3,
            "preset": "default",
            "changes": "epochs=3",
            "compute": Compute(workers=1, device="cpu"),
            **options,
        }
    )
    result = evaluate.run(config, tracker, Silent())
    return Evaluation(run=tracker.get(result.run_id), tracker=tracker)


@pytest.mark.parametrize("values", [False, True], ids=["classes", "values"])
@pytest.mark.parametrize("grouped", [False, True], ids=["alone", "in groups"])
def test_what_test_samples_add_is_kept_and_adds_up_to_the_errors(
    tmp_path: Path, *, values: bool, grouped: bool
) -> None:
    sampling = sampling_of(tmp_path, grouped=grouped, values=values)
    found = evaluated(MemoryTracker(), sampling)
    losses_RN = found.losses_RN
    assert losses_RN is not None
    with kept():
        test = evaluate.inputs(EvaluateConfig(sampling=sampling, model=definitions_of(narrow)[0])).splits.test
    assert isinstance(test, LabelledDataset)
    assert losses_RN.shape == (3, len(np.unique(test.group_N)) if grouped else len(test))
    assert losses_RN.mean(1) == pytest.approx(found.test_R, abs=1e-7)
    assert (found.run.tags["train_draw"], found.run.tags["test_draw"]) == ("all", "all")
    assert "no training set other than this one" in found.reading
    assert found.test.low < min(found.test_R)  # of few test samples it is wider than rounds alone say


def test_a_draw_of_training_samples_is_tested_on_all(tmp_path: Path) -> None:
    found = evaluated(MemoryTracker(), sampling_of(tmp_path, samples=40))
    assert (found.run.tags["train_draw"], found.run.tags["test_draw"]) == ("fresh", "all")
    assert found.run.params["test_pairs"] == "all"
    assert found.losses_RN is not None
    assert "which training samples were drawn" in found.reading
    assert "which test samples were held out" in found.reading


def test_pairs_that_are_drawn_anew_keep_nothing(sampling: Sampling) -> None:
    tracker = MemoryTracker()
    config = EvaluateConfig(
        sampling=sampling, model="mlp_ws", rounds=2, preset="report", changes="epochs=1", compute=Compute(workers=1)
    )
    result = evaluate.run(config, tracker, Silent())
    assert FILE not in run_of(tracker, result).texts
    assert "which test samples were drawn" in " ".join(result.notes)


def test_a_comparison_covers_the_test_samples_and_says_so(tmp_path: Path) -> None:
    tracker, sampling = MemoryTracker(), sampling_of(tmp_path)
    for make in (narrow, wide):
        evaluated(tracker, sampling, make)
    result = compare.run(CompareConfig(contrast="wide:narrow"), tracker, Silent())
    both = newest_evaluations(tracker, "", "all")
    errors = {entry.model: entry.test_R for entry in both}
    losses = {entry.model: entry.losses_RN for entry in both if entry.losses_RN is not None}
    contrast = Contrast(name="", family="", weights={"wide": 1.0, "narrow": -1.0})
    [verdict], [over_rounds] = judge([contrast], errors, losses=losses), judge([contrast], errors)
    shown = result.more[0].rows[0]
    unit = both[0].variant.metric.unit
    assert shown[4] == f"[{unit.difference(verdict.low)}, {unit.difference(verdict.high)}]"
    assert (verdict.low, verdict.high) != (over_rounds.low, over_rounds.high)
    assert any("which test samples were held out" in note for note in result.notes)
    assert any("crossed random effects" in note for note in result.notes)

    evaluated(tracker, sampling, wide, resampling="bootstrap")
    with pytest.raises(InputError, match="resampling differ"):
        compare.run(CompareConfig(), tracker, Silent())
    allowed = compare.run(CompareConfig(allow_unequal=True), tracker, Silent())
    assert any("Not comparable: resampling differ" in note for note in allowed.notes)
    assert any("imitated by drawing again from this one" in note for note in allowed.notes)
    assert allowed.more == []


def test_the_best_of_a_search_is_that_of_the_same_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models.py").write_text(MODEL.format(width=3))
    tracker, sampling = MemoryTracker(), sampling_of(tmp_path)
    searched = SearchConfig(
        sampling=sampling,
        model="models.py:net",
        space={"lr": [0.01, 0.02], "width": [-1, 3]},
        n_trials=3,
        folds=2,
        recheck=0,
        sampler="grid",
        storage=f"sqlite:///{tmp_path / 'optuna.db'}",
        artifacts=str(tmp_path / "artifacts"),
        compute=Compute(workers=1, device="cpu"),
    )
    tracker_of_search = search.run(searched, tracker, Silent())
    trials = [run for run in tracker.runs if run.tags["role"] == "trial"]
    failed = [run for run in trials if run.tags["state"] == "failed"]
    assert failed
    assert all("width=-1" in run.description for run in failed)  # it has failed alone, and says why
    config = EvaluateConfig(
        sampling=sampling, model="models.py:net", rounds=2, changes="epochs=1", compute=Compute(workers=1)
    )
    evaluate.run(config, tracker, Silent())
    (tmp_path / "models.py").write_text(MODEL.format(width=4))
    with pytest.raises(InputError, match=f"another version of its code; .* --from-run {tracker_of_search.run_id}"):
        evaluate.run(config, tracker, Silent())
    evaluate.run(replace(config, preset="default"), tracker, Silent())


def test_tables_of_losses_are_read_as_they_were_written() -> None:
    losses_RN = np.array([[0.0, 1.0, 0.25], [1.5, 0.0, 1 / 3]])
    assert from_csv(to_csv(losses_RN)) == pytest.approx(losses_RN, rel=1e-8)
    groups = by_group(losses_RN, np.array([5, 2, 5]))
    assert groups == pytest.approx(np.array([[2 / 3, 2 / 3 * 0.25], [0, 2 / 3 * (1.5 + 1 / 3)]]))
    assert groups.mean(1) == pytest.approx(losses_RN.mean(1))
