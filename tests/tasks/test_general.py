"""Classification and regression go through search, evaluate and compare as pairs of digits do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics as sklearn_metrics

from pipeline.data.config import DataConfig
from pipeline.models.metrics import (
    Metric,
    OfEach,
    mean_absolute_error_R,
    mean_share_of_wrong_R,
    r2_R,
    root_mean_squared_error_R,
    share_of_wrong_R,
)
from pipeline.stages import compare, evaluate, search
from pipeline.stages.compare import CompareConfig
from pipeline.stages.evaluate import EvaluateConfig
from pipeline.stages.replicas import round_replicas
from pipeline.stages.searching.config import SearchConfig
from pipeline.stages.stage import Sampling
from pipeline.tasks.api import Task
from pipeline.tasks.registry import tasks
from pipeline.training.compute import Compute
from tests.memory import MemoryTracker
from tests.stages.runs import run_of, trials_of
from tests.stages.silent import Silent

SPACE = "lr: {type: choice, values: [0.003, 0.01]}\nepochs: {type: choice, values: [5]}\n"
DATASETS = {"classification": "sklearn_digits", "regression": "diabetes"}


class Lab:
    """Two variants of a task searched, evaluated and compared."""

    def __init__(self, task: Task, folder: Path) -> None:
        self.task, self.tracker = task, MemoryTracker()
        (folder / "space.yaml").write_text(SPACE)
        data = DataConfig(dataset=DATASETS[task.name], cache_dir=folder / "cache")
        common: dict[str, Any] = {
            "sampling": Sampling(data=data, samples=100),
            "compute": Compute(workers=1, device="cpu"),
        }
        stores: dict[str, Any] = {
            "storage": f"sqlite:///{folder / 'studies.db'}",
            "artifacts": str(folder / "artifacts"),
        }
        self.evaluations = []
        for variant in task.variants[:2]:
            space: dict[str, Any] = {
                "model": variant.name,
                "sampler": "grid",
                "folds": 2,
                "recheck": 1,
                "space": str(folder / "space.yaml"),
            }
            found = search.run(SearchConfig(**common, **stores, **space), self.tracker, Silent())
            self.evaluations.append(EvaluateConfig(**common, model=variant.name, rounds=3, from_run=found.run_id))
        self.evaluated = [evaluate.run(config, self.tracker, Silent()) for config in self.evaluations]
        self.compared = compare.run(CompareConfig(), self.tracker, Silent())


@pytest.fixture(scope="module", params=list(DATASETS))
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(tasks()[request.param], tmp_path_factory.mktemp(request.param))


def test_trials_are_ranked_by_the_first_metric_and_have_all(lab: Lab) -> None:
    first = lab.task.metrics[0].name
    trials = trials_of(lab.tracker)
    assert len(trials) == 4
    for trial in trials:
        assert {f"cv_validation_{metric.name}" for metric in lab.task.metrics} < {name for name, _ in trial.metrics}
        steps = [step for name, step in trial.metrics if name == f"validation_{first}"]
        assert steps == [1, 2, 3, 4, 5]


def test_an_evaluation_says_what_its_rounds_gave(lab: Lab) -> None:
    for config, result in zip(lab.evaluations, lab.evaluated, strict=True):
        run = run_of(lab.tracker, result)
        for metric in lab.task.metrics:
            rounds = [run.metrics[f"round/test_{metric.name}", number] for number in range(3)]
            assert run.metrics[f"final_test_{metric.name}", 0] == pytest.approx(np.mean(rounds))
            assert metric.title in result.headline
        assert not any("digit_error" in name for name, _ in run.metrics)
        assert "pooling" not in run.params
        assert (run.tags["metric"], run.tags["unit"]) == (lab.task.metrics[0].name, lab.task.metrics[0].unit.symbol)
        assert {Path(name).stem for name in run.figures} > {"curves", "error_by_epoch"}
        assert run.params["task"] == evaluate.inputs(config).variant.task


def test_the_logged_model_gives_what_was_measured(lab: Lab) -> None:
    for config, result in zip(lab.evaluations, lab.evaluated, strict=True):
        [model] = run_of(lab.tracker, result).models
        subject = evaluate.inputs(config)
        variant, splits = subject.variant, subject.splits
        [measured] = [each.value for each in model.metrics if each.name == f"model_test_{variant.metric.name}"]
        found = []
        for replica in round_replicas(splits, config.sampling, variant.preset, rounds=3):
            samples = splits.test.gather(replica.held_out)
            output = model.network(torch.from_numpy(samples["x"])).detach()
            key = "value" if lab.task.name == "regression" else "answer"
            said = output[:, 0] if key == "value" else output.argmax(-1)
            batch = {"target": torch.from_numpy(samples["target"])[None]}
            found.append(float(variant.metric.value_R({key: said[None]}, batch)))
        assert min(abs(value - measured) for value in found) < 1e-4 * max(1, measured)


def test_they_are_compared_in_the_metric_and_unit_of_their_task(lab: Lab) -> None:
    first, names = lab.task.metrics[0], [variant.name for variant in lab.task.variants[:2]]
    assert f"has the least mean test {first.title}" in lab.compared.headline
    assert sorted(row[1] for row in lab.compared.table.rows) == sorted(names)
    [contrasts] = lab.compared.more
    assert [row[1:3] for row in contrasts.rows] == [["depth 1 or 0", f"{names[1]} - {names[0]}"]]
    shown = [row[2] for row in lab.compared.table.rows]
    assert all(text.endswith("%") == (first.unit.symbol == "%") for text in shown)


def test_a_data_set_of_another_task_is_refused(tmp_path: Path) -> None:
    sampling = Sampling(data=DataConfig(dataset="diabetes", cache_dir=tmp_path), samples=20)
    with pytest.raises(Exception, match="mlp_classifier learns from sklearn_digits, so use --dataset sklearn_digits"):
        evaluate.inputs(EvaluateConfig(sampling=sampling, model="mlp_classifier"))


def classes(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    said, true = torch.randint(0, 4, (2, 3, 50), generator=generator)
    return said, true


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (share_of_wrong_R, sklearn_metrics.zero_one_loss),
        (mean_share_of_wrong_R, lambda true, said: 1 - sklearn_metrics.balanced_accuracy_score(true, said)),
        (OfEach(sklearn_metrics.matthews_corrcoef), sklearn_metrics.matthews_corrcoef),
    ],
)
@pytest.mark.parametrize("seed", range(5))
def test_metrics_of_classes_are_those_of_scikit_learn(
    ours: Callable[..., torch.Tensor], theirs: Callable[..., float], seed: int
) -> None:
    said, true = classes(seed)
    expected = [theirs(*each) for each in zip(true.numpy(), said.numpy(), strict=True)]
    assert ours({"answer": said}, {"target": true}).tolist() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (mean_absolute_error_R, sklearn_metrics.mean_absolute_error),
        (root_mean_squared_error_R, sklearn_metrics.root_mean_squared_error),
        (r2_R, sklearn_metrics.r2_score),
    ],
)
def test_metrics_of_values_are_those_of_scikit_learn(
    ours: Callable[..., torch.Tensor], theirs: Callable[..., float]
) -> None:
    said, true = torch.randn(2, 3, 50, generator=torch.Generator().manual_seed(0)) * 10
    expected = [theirs(*each) for each in zip(true.numpy(), said.numpy(), strict=True)]
    assert ours({"value": said}, {"target": true}).tolist() == pytest.approx(expected, rel=1e-5)


def test_a_task_whose_first_metric_is_better_the_more_it_is_is_refused() -> None:
    task = tasks()["regression"]
    with pytest.raises(ValueError, match="must be better the less it is, but that of regression is r2"):
        Task(name="regression", datasets={}, variants=(), metrics=task.metrics[::-1], views=task.views)


def test_variants_of_a_task_are_ranked_by_its_first_metric() -> None:
    task, other = tasks()["regression"], Metric("other", r2_R)
    with pytest.raises(ValueError, match="linear_regressor must be ranked by other"):
        Task(name="regression", datasets={}, variants=task.variants, metrics=(other,), views=task.views)
