from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pipeline.base.errors import InputError
from pipeline.models.hyperparameters import Hyperparameters
from pipeline.models.metrics import SHARE, Unit
from pipeline.stages import cross_validate, evaluate, prepare, search
from pipeline.stages import main as whole
from pipeline.stages.compare import CompareConfig
from pipeline.stages.cross_validate import CrossValidateConfig
from pipeline.stages.evaluate import EvaluateConfig
from pipeline.stages.prepare import PrepareConfig
from pipeline.stages.replicas import fold_replicas, round_replicas
from pipeline.stages.searching.config import SearchConfig
from pipeline.stages.stage import Sampling, StageResult
from pipeline.tasks.registry import get_variant
from pipeline.training.compute import Compute
from tests.memory import MemoryTracker
from tests.stages.runs import run_of
from tests.stages.silent import Silent


def test_prepare_logs_digest_balance_and_a_picture(sampling: Sampling) -> None:
    tracker = MemoryTracker()
    run = run_of(tracker, prepare.run(PrepareConfig(sampling=sampling), tracker, Silent()))
    assert run.status == "FINISHED"
    assert run.params["digest"] == run.tags["dataset_digest"]
    assert run.metrics["train_digits", 0] == run.metrics["test_digits", 0] == 2500
    assert 0.4 < run.metrics["train_lesser_or_equal", 0] < 0.7  # 0.55 of all pairs
    assert "train,250,250,250,250,250,250,250,250,250,250,2500" in run.texts["classes.csv"]
    assert set(run.figures) == {"sample_pairs.png"}


def test_prepare_shows_points_and_how_many_are_inside(disc: Sampling) -> None:
    tracker = MemoryTracker()
    run = run_of(tracker, prepare.run(PrepareConfig(sampling=disc), tracker, Silent()))
    assert run.status == "FINISHED"
    assert run.metrics["train_points", 0] == run.metrics["test_points", 0] == 50_000
    assert 0.35 < run.metrics["train_inside", 0] < 0.65  # the disc covers half of the square
    header, *rows = [line.split(",") for line in run.texts["classes.csv"].splitlines()]
    assert header == ["pool", "outside", "inside", "all"]
    assert [row[0] for row in rows] == ["train", "test"]
    for _, *counts in rows:
        outside, inside, both = map(int, counts)
        assert outside + inside == both == 50_000
        assert inside == pytest.approx(25_000, abs=500)
    assert set(run.figures) == {"sample_points.png"}
    assert "of the training points and" in run.description
    assert "pooling" not in run.description


def test_rounds_and_folds_are_the_same_pairs_for_every_variant_and_configuration(sampling: Sampling) -> None:
    splits = prepare.inputs(PrepareConfig(sampling=sampling))[0].splits
    slow, fast = Hyperparameters(lr=1e-4, batch_size=10, epochs=9), Hyperparameters(lr=1e-2, batch_size=50, epochs=2)
    for one, other in zip(
        [*round_replicas(splits, sampling, slow, rounds=2), *fold_replicas(splits, sampling, slow, rounds=2, folds=5)],
        [*round_replicas(splits, sampling, fast, rounds=2), *fold_replicas(splits, sampling, fast, rounds=2, folds=5)],
        strict=True,
    ):
        np.testing.assert_array_equal(one.train, other.train)
        np.testing.assert_array_equal(one.held_out, other.held_out)


def test_folds_validate_each_training_pair_of_a_round_once(sampling: Sampling) -> None:
    splits = prepare.inputs(PrepareConfig(sampling=sampling))[0].splits
    preset = get_variant("mlp").preset
    [first_round] = round_replicas(splits, sampling, preset, rounds=1)
    folds = fold_replicas(splits, sampling, preset, rounds=1, folds=4)
    validated = np.concatenate([replica.held_out for replica in folds])
    assert sorted(map(tuple, validated)) == sorted(map(tuple, first_round.train))


def test_a_round_of_all_pairs_uses_every_digit_once(all_of_few: Sampling) -> None:
    splits = prepare.inputs(PrepareConfig(sampling=all_of_few))[0].splits
    for replica in round_replicas(splits, all_of_few, get_variant("mlp").preset, rounds=2):
        assert sorted(replica.train.flatten()) == list(range(40))
        assert sorted(replica.held_out.flatten()) == list(range(20))


def refused(sampling: Sampling, model: str, storage: str, **compute: Any) -> list[str]:
    """What cross_validate, search and evaluate say before they open a run."""
    tracker = MemoryTracker()
    common: dict[str, Any] = {"sampling": sampling, "model": model, "compute": Compute(**compute)}
    messages = []
    with pytest.raises(InputError) as caught:
        cross_validate.run(CrossValidateConfig(**common), tracker, Silent())
    messages.append(str(caught.value))
    with pytest.raises(InputError) as caught:
        search.run(SearchConfig(**common, storage=storage), tracker, Silent())
    messages.append(str(caught.value))
    with pytest.raises(InputError) as caught:
        evaluate.run(EvaluateConfig(**common, preset="report"), tracker, Silent())
    messages.append(str(caught.value))
    assert tracker.runs == []
    return messages


def test_a_model_of_points_learns_from_no_digits(sampling: Sampling, storage: str) -> None:
    assert (
        refused(sampling, "disc_mlp", storage)
        == ["disc_mlp learns from disc, so use --dataset disc, but got --dataset mnist5k"] * 3
    )


@pytest.mark.parametrize("model", ["mlp", "linear_digits"])
def test_a_model_of_digits_learns_from_no_points(disc: Sampling, model: str, storage: str) -> None:
    own = "mnist5k or mnist or idx"
    assert (
        refused(disc, model, storage)
        == [f"{model} learns from {own}, so use --dataset {own}, but got --dataset disc"] * 3
    )


def test_the_model_of_points_is_trained_in_one_precision(disc: Sampling, storage: str) -> None:
    assert (
        refused(disc, "disc_mlp", storage, precision="bfloat16")
        == ["disc_mlp trains in float32 only, but got --precision bfloat16"] * 3
    )


@pytest.mark.parametrize(("name", "option"), [("samples", "--samples"), ("test_samples", "--test-samples")])
def test_a_round_has_at_least_one_sample(sampling: Sampling, name: str, option: str) -> None:
    with pytest.raises(InputError, match=f"at least 1 sample, but got {option} -1"):
        replace(sampling, **{name: -1})  # type: ignore[arg-type]


@pytest.fixture
def found(storage: str, artifacts: str) -> dict[str, Any]:
    """Options of a small search."""
    return {"storage": storage, "artifacts": artifacts, "n_trials": 1, "folds": 2, "recheck": 0}


def main_config(sampling: Sampling, found: dict[str, Any], model: str = "mlp") -> whole.MainConfig:
    return whole.MainConfig(
        prepare=PrepareConfig(sampling=sampling),
        cross_validate=CrossValidateConfig(sampling=sampling, model=model, grid="epochs=2", folds=2),
        search=SearchConfig(sampling=sampling, model=model, **found),
        evaluate=EvaluateConfig(sampling=sampling, model=model, rounds=2, changes="epochs=2"),
        compare=CompareConfig(),
    )


@pytest.mark.parametrize("model", ["mlp", "disc_mlp"])
def test_main_runs_every_stage_below_its_own_run(
    sampling: Sampling, disc: Sampling, found: dict[str, Any], model: str
) -> None:
    tracker = MemoryTracker()
    shown: list[StageResult] = []
    whole.run(main_config(disc if model == "disc_mlp" else sampling, found, model), tracker, Silent(), shown.append)
    root, *others = tracker.runs
    assert root.tags["role"] == "main"
    children = [run.tags["role"] for run in others if run.parent == root.id]
    assert children == ["prepare", "cross_validate", "search", "evaluate", "compare"]
    assert {run.status for run in tracker.runs} == {"FINISHED"}
    assert len(shown) == 5


@pytest.mark.parametrize(
    ("model", "rule"), [("mlp_x", "unknown model"), ("disc_mlp", "disc_mlp learns from disc")], ids=str
)
def test_main_refuses_bad_input_before_any_run(
    sampling: Sampling, found: dict[str, Any], model: str, rule: str
) -> None:
    tracker = MemoryTracker()
    with pytest.raises(InputError, match=rule):
        whole.run(main_config(sampling, found, model), tracker, Silent(), lambda _: None)
    assert tracker.runs == []


def test_what_could_not_be_measured_is_shown_as_a_dash() -> None:
    assert (SHARE.show(0.0989), SHARE.show(math.nan)) == ("9.89 %", "-")
    assert (Unit("mm").show(98.9), Unit("mm").show(math.nan)) == ("98.9 mm", "-")
