from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pipeline.base.errors import InputError, StageError
from pipeline.models.hyperparameters import Value
from pipeline.stages import evaluate, search
from pipeline.stages.evaluate import EvaluateConfig
from pipeline.stages.searching.config import SearchConfig
from pipeline.stages.stage import Sampling
from pipeline.tasks.registry import get_variant
from pipeline.training.compute import Compute
from tests.memory import MemoryRun, MemoryTracker
from tests.stages.runs import Make, rows_of, run_of, searched, trained_in, without_finite_digits, wrong_by_model
from tests.stages.silent import Silent


def evaluated(sampling: Sampling, model: str, **options: Any) -> MemoryRun:
    """The run of an evaluation of the preset, with changes."""
    tracker = MemoryTracker()
    config = EvaluateConfig(**{"sampling": sampling, "model": model, "rounds": 3, "preset": "report", **options})
    return run_of(tracker, evaluate.run(config, tracker, Silent()))


def rounds_of(run: MemoryRun, name: str, rounds: int = 3) -> list[float]:
    """What each round gave."""
    return [run.metrics[f"round/{name}", number] for number in range(rounds)]


@pytest.fixture(scope="module")
def mlp_ws(sampling: Sampling) -> MemoryRun:
    return evaluated(sampling, "mlp_ws", changes="epochs=6")


@pytest.fixture(scope="module")
def linear_digits(sampling: Sampling) -> MemoryRun:
    return evaluated(sampling, "linear_digits", changes="epochs=6")


@pytest.fixture(scope="module")
def disc_mlp(disc: Sampling) -> MemoryRun:
    return evaluated(disc, "disc_mlp", changes="epochs=6")


every_task = pytest.mark.parametrize("task", ["mlp_ws", "linear_digits", "disc_mlp"])


def test_an_evaluation_is_of_the_reports_configuration_with_its_size(sampling: Sampling) -> None:
    run = evaluated(sampling, "mlp_ws", rounds=1)
    assert json.loads(run.tags["config"]) == get_variant("mlp_ws").preset.as_dict()
    assert run.metrics["parameters", 0] == 86_920
    assert trained_in(run) == ["round/0"]
    assert {name: run.params[name] for name in ("trained_on", "precision", "compile")} == Compute().params


@every_task
def test_the_errors_of_the_rounds_are_summed_up(request: pytest.FixtureRequest, task: str) -> None:
    run = request.getfixturevalue(task)
    for name in ("test_error", "train_error"):
        values = rounds_of(run, name)
        assert run.metrics[f"final_{name}", 0] == pytest.approx(np.mean(values))
        assert run.metrics[f"final_{name}_std", 0] == pytest.approx(np.std(values, ddof=1))
        assert run.metrics[f"final_{name}_min", 0] == min(values)
        low, high = (run.metrics[f"final_{name}_{end}", 0] for end in ("low", "high"))
        assert low <= run.metrics[f"final_{name}", 0] <= high
    assert run.metrics["test_error", 6] == pytest.approx(run.metrics["final_test_error", 0])
    least = f"{100 * run.metrics['final_test_error_min', 0]:.2f} %"
    assert f"| {least} " in run.description
    rows = rows_of(run, "rounds.csv")
    assert [float(row["test error"]) for row in rows] == pytest.approx(rounds_of(run, "test_error"), abs=1e-4)
    assert trained_in(run) == ["round/0", "round/1", "round/2"]


def test_the_digit_errors_of_a_digit_model_are_summed_up_too(linear_digits: MemoryRun) -> None:
    run = linear_digits
    for part in ("test", "train"):
        digits, pairs = rounds_of(run, f"{part}_digit_error"), rounds_of(run, f"{part}_error")
        assert run.metrics[f"final_{part}_digit_error", 0] == pytest.approx(np.mean(digits))
        assert run.metrics[f"final_{part}_digit_error_std", 0] == pytest.approx(np.std(digits, ddof=1))
        assert run.metrics[f"final_{part}_digit_error_min", 0] == min(digits)
        assert all(pair <= 2 * digit for pair, digit in zip(pairs, digits, strict=True))
    assert run.metrics["final_train_digit_error", 0] < run.metrics["final_test_digit_error", 0] < 0.7
    assert run.metrics["test_digit_error", 6] == pytest.approx(run.metrics["final_test_digit_error", 0])
    rows = rows_of(run, "rounds.csv")
    errors = rounds_of(run, "test_digit_error")
    assert [float(row["test digit error"]) for row in rows] == pytest.approx(errors, abs=1e-4)
    assert "| test digit error " in run.description


@pytest.mark.parametrize("task", ["mlp_ws", "disc_mlp"])
def test_there_are_no_digit_errors_of_a_model_that_names_none(request: pytest.FixtureRequest, task: str) -> None:
    run = request.getfixturevalue(task)
    assert not [name for name, _ in run.metrics if "digit" in name]
    assert "digit error" not in run.texts["rounds.csv"] + run.texts["epochs.csv"] + run.description


@every_task
def test_the_table_by_epoch_agrees_with_the_curves(request: pytest.FixtureRequest, task: str) -> None:
    run = request.getfixturevalue(task)
    rows = rows_of(run, "epochs.csv")
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4", "5", "6"]
    columns = {"train error while learning": "train_error", "mean test error": "test_error"}
    if task == "linear_digits":
        columns["mean test digit error"] = "test_digit_error"
    for column, metric in columns.items():
        shown = [float(row[column]) for row in rows]
        assert shown == pytest.approx([run.metrics[metric, epoch] for epoch in range(1, 7)], abs=1e-4)
    assert all(float(row["minimum"]) <= float(row["mean test error"]) for row in rows)
    last = rounds_of(run, "test_error")
    assert float(rows[-1]["minimum"]) == pytest.approx(min(last), abs=1e-4)
    assert float(rows[-1]["std"]) == pytest.approx(np.std(last, ddof=1), abs=1e-4)
    assert set(rows[0]) == {"epoch", *columns, "minimum", "std"}


@every_task
def test_every_round_is_kept_after_every_epoch(request: pytest.FixtureRequest, task: str) -> None:
    run = request.getfixturevalue(task)
    rows = rows_of(run, "rounds_by_epoch.csv")
    assert [list(row) for row in rows] == [["epoch", "round 0", "round 1", "round 2"]] * 6
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4", "5", "6"]
    error_ER = np.array([[float(row[f"round {number}"]) for number in range(3)] for row in rows])
    for name, expected_E in {
        "test_error": error_ER.mean(axis=1),
        "test_error_std": error_ER.std(axis=1, ddof=1),
        "test_error_min": error_ER.min(axis=1),
    }.items():
        assert [run.metrics[name, epoch] for epoch in range(1, 7)] == pytest.approx(expected_E.tolist(), abs=1e-6)
    assert error_ER[-1].tolist() == pytest.approx(rounds_of(run, "test_error"), abs=1e-6)
    names_digits = ("test_digit_error", 1) in run.metrics
    assert ("digit_rounds_by_epoch.csv" in run.texts) == names_digits
    if names_digits:
        means = [
            np.mean([float(error) for name, error in row.items() if name != "epoch"])
            for row in rows_of(run, "digit_rounds_by_epoch.csv")
        ]
        assert means == pytest.approx([run.metrics["test_digit_error", epoch] for epoch in range(1, 7)], abs=1e-6)


@every_task
def test_every_curve_has_its_spread_and_its_least_over_rounds(request: pytest.FixtureRequest, task: str) -> None:
    run = request.getfixturevalue(task)
    names = {f"{part}_{kind}" for part in ("train", "test") for kind in ("loss", "error")}
    names |= {"test_digit_error"} if task == "linear_digits" else set()
    assert {name for name, step in run.metrics if step == 6} == {
        f"{name}{end}" for name in names for end in ("", "_std", "_min")
    }
    for name in names:
        for epoch in range(1, 7):
            mean, spread, least = (run.metrics[f"{name}{end}", epoch] for end in ("", "_std", "_min"))
            # The spread of three values with this mean and this least one.
            assert math.sqrt(0.75) * (mean - least) <= spread + 1e-9
            assert spread <= math.sqrt(3) * (mean - least) + 1e-9


@every_task
def test_the_logged_model_is_that_of_the_median_round(
    request: pytest.FixtureRequest, sampling: Sampling, disc: Sampling, task: str
) -> None:
    run = request.getfixturevalue(task)
    errors = rounds_of(run, "test_error")
    median = errors.index(sorted(errors)[1])
    config = EvaluateConfig(sampling=disc if task == "disc_mlp" else sampling, model=task, rounds=3)
    wrong = wrong_by_model(run.models[0], config, median)
    assert np.mean(wrong) == pytest.approx(errors[median])
    assert f"The logged model is that of round {median}, the median" in run.description


@pytest.mark.parametrize("task", ["mlp_ws", "linear_digits"])
def test_wrong_answers_are_counted_by_digit_pair(request: pytest.FixtureRequest, sampling: Sampling, task: str) -> None:
    run = request.getfixturevalue(task)
    rows = rows_of(run, "confusion_by_digit_pair.csv")
    assert len(rows) == 100
    assert sum(int(row["pairs"]) for row in rows) == 3 * sampling.samples
    wrong = sum(int(row["wrong"]) for row in rows)
    assert wrong == pytest.approx(sampling.samples * sum(rounds_of(run, "test_error")))
    assert set(run.figures) == {"curves.png", "error_by_epoch.png", "confusion_by_digit_pair.png"}


def test_wrong_points_are_drawn(disc_mlp: MemoryRun, disc: Sampling) -> None:
    assert set(disc_mlp.figures) == {"curves.png", "error_by_epoch.png", "wrong_points.png"}
    wrong = round(disc.samples * sum(rounds_of(disc_mlp, "test_error")))
    [axis] = disc_mlp.figures["wrong_points.png"].axes
    assert axis.get_title() == f"{wrong} of {3 * disc.samples} points classified wrongly"
    assert not [name for name in disc_mlp.texts if "confusion" in name]


def test_changes_are_made_to_the_configuration_and_logged(sampling: Sampling) -> None:
    run = evaluated(sampling, "mlp_ws", rounds=1, changes="optimiser=sgd lr=0.05 batch_norm=on epochs=1")
    changed: dict[str, Value] = {"optimiser": "sgd", "lr": 0.05, "batch_norm": True, "epochs": 1}
    hyper = get_variant("mlp_ws").preset.replaced(changed)
    assert json.loads(run.tags["config"]) == hyper.as_dict()
    assert {name: run.params[name] for name in changed} == {
        "optimiser": "sgd",
        "lr": "0.05",
        "batch_norm": "true",
        "epochs": "1",
    }
    assert run.params["momentum"] == "0.0"  # which has an effect now
    assert run.metrics["parameters", 0] == get_variant("mlp_ws").count(hyper.structure) > 86_920
    assert [step for name, step in run.metrics if name == "train_loss"] == [1]


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ("optimser=sgd", "unknown hyperparameter 'optimser'; did you mean optimiser"),
        ("lr=1,2", "one value is set for each hyperparameter, but lr was given 2"),
        ("batch_norm=on batch_size=1", "batch normalisation needs at least 2 samples a step"),
    ],
)
def test_bad_changes_are_refused_before_any_run(sampling: Sampling, changes: str, rule: str) -> None:
    tracker = MemoryTracker()
    with pytest.raises(InputError, match=rule):
        evaluate.run(
            EvaluateConfig(sampling=sampling, model="mlp_ws", preset="report", changes=changes), tracker, Silent()
        )
    assert tracker.runs == []


def test_one_round_has_no_spread(sampling: Sampling) -> None:
    run = evaluated(sampling, "linear_digits", rounds=1, changes="epochs=1")
    assert {name for name, _ in run.metrics if name.startswith("final_")} == {
        f"final_{part}_{kind}{end}"
        for part in ("test", "train")
        for kind in ("error", "digit_error")
        for end in ("", "_min")
    }
    assert [row["std"] for row in rows_of(run, "epochs.csv")] == ["nan"]
    assert not [name for name, _ in run.metrics if name.endswith("_std")]
    [row] = rows_of(run, "rounds_by_epoch.csv")
    assert float(row["round 0"]) == pytest.approx(run.metrics["round/test_error", 0], abs=1e-6)


def test_evaluate_takes_the_newest_finished_search_of_the_model_on_these_data(
    sampling: Sampling, space_file: str, storage: str, artifacts: str
) -> None:
    tracker = MemoryTracker()
    config = EvaluateConfig(sampling=sampling, model="mlp_ws_al", rounds=1)
    with pytest.raises(InputError, match="there is none; run search first"):
        evaluate.run(config, tracker, Silent())
    found = search.run(
        SearchConfig(
            sampling=sampling,
            model="mlp_ws_al",
            space=space_file,
            storage=storage,
            artifacts=artifacts,
            n_trials=1,
            folds=2,
            recheck=0,
        ),
        tracker,
        Silent(),
    )
    best = tracker.get(found.run_id).config
    assert best is not None
    chosen = evaluate.run(config, tracker, Silent())
    record = tracker.get(chosen.run_id)
    assert record.tags["config_from"] == found.run_id
    assert record.config == best
    changed = evaluate.run(replace(config, from_run=found.run_id, changes="alpha=0.5 epochs=2"), tracker, Silent())
    assert tracker.get(changed.run_id).config == best.replaced({"alpha": 0.5, "epochs": 2})
    assert tracker.get(changed.run_id).tags["config_from"] == found.run_id
    with pytest.raises(InputError, match="one configuration of mlp_al"):
        evaluate.run(replace(config, model="mlp_al", from_run=found.run_id), tracker, Silent())


@pytest.fixture(scope="module")
def tracker_with_search(make: Make) -> tuple[MemoryTracker, MemoryRun]:
    """A search with a recheck of its best."""
    return searched(make("epochs: {type: choice, values: [2, 3], default: 2}\n", model="mlp_ws", n_trials=3, recheck=2))


def test_an_evaluation_tells_how_optimistic_the_search_was_and_what_it_took(
    sampling: Sampling, tracker_with_search: tuple[MemoryTracker, MemoryRun]
) -> None:
    tracker, found = tracker_with_search
    config = EvaluateConfig(sampling=replace(sampling, samples=60), model="mlp_ws", rounds=2)
    run = run_of(tracker, evaluate.run(config, tracker, Silent()))
    assert run.tags["config"] == found.tags["config"]
    for name in ("cv_best", "cv_recheck"):
        assert run.metrics[name, 0] == found.metrics[name, 0]
    optimism = run.metrics["final_test_error", 0] - run.metrics["cv_best", 0]
    assert run.metrics["cv_optimism", 0] == pytest.approx(optimism)
    assert ("optimism", 0) not in run.metrics  # which has the other sign in runs of older versions
    assert f"an optimism of {100 * optimism:+.2f} points" in run.description
    assert {name: value for name, value in run.params.items() if name.startswith("search_")} == {
        "search_sampler": "tpe",
        "search_space": found.params["space_digest"],
        "search_wanted": "3",
        "search_trials": "3",
        "search_replica_epochs": f"{found.metrics['replica_epochs', 0]:.0f}",
        "search_seconds": f"{found.metrics['search_seconds', 0]:.1f}",
    }


@pytest.mark.parametrize("options", [{"preset": "report"}, {"changes": "epochs=1"}], ids=["report", "changed"])
def test_a_configuration_that_was_not_searched_has_promised_nothing(
    sampling: Sampling, tracker_with_search: tuple[MemoryTracker, MemoryRun], options: dict[str, Any]
) -> None:
    tracker, _ = tracker_with_search
    config = EvaluateConfig(sampling=replace(sampling, samples=60), model="mlp_ws", rounds=1, **options)
    run = run_of(tracker, evaluate.run(config, tracker, Silent()))
    assert {name for name, _ in run.metrics} & {"cv_optimism", "cv_best", "cv_recheck"} == set()
    assert "optimism" not in run.description
    assert ("search_trials" in run.params) == ("changes" in options)


def test_evaluate_refuses_to_average_over_rounds_that_diverged(
    sampling: Sampling, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = EvaluateConfig(sampling=sampling, model="mlp", rounds=2, preset="report")
    subject = evaluate.inputs(config)
    faulty = replace(subject, splits=without_finite_digits(subject.splits))
    monkeypatch.setattr(evaluate, "inputs", lambda _: faulty)
    tracker = MemoryTracker()
    with pytest.raises(StageError, match="2 of 2 did not"):
        evaluate.run(config, tracker, Silent())
    assert [run.status for run in tracker.runs] == ["FAILED"]


def counted(run: MemoryRun) -> int:
    """Test pairs that were answered."""
    return sum(int(row["pairs"]) for row in rows_of(run, "confusion_by_digit_pair.csv"))


def test_test_pairs_may_be_fewer_than_training_pairs(sampling: Sampling) -> None:
    same = {"rounds": 2, "changes": "epochs=2"}
    run = evaluated(replace(sampling, samples=60, test_samples=30), "mlp_ws", **same)
    assert (run.params["pairs"], run.params["test_pairs"]) == ("60", "30")
    assert counted(run) == 2 * 30
    other = evaluated(replace(sampling, samples=60), "mlp_ws", **same)
    assert (other.params["test_pairs"], counted(other)) == ("same", 2 * 60)
    # What is trained does not depend on what is tested.
    for epoch in (1, 2):
        assert run.metrics["train_error", epoch] == other.metrics["train_error", epoch]
    assert rounds_of(run, "train_error", 2) == rounds_of(other, "train_error", 2)


@pytest.mark.parametrize(("test_pairs", "count"), [(0, 10), (7, 7)])
def test_all_pairs_are_all_digits_of_the_pool(all_of_few: Sampling, test_pairs: int, count: int) -> None:
    run = evaluated(replace(all_of_few, test_samples=test_pairs), "mlp_ws", rounds=2, changes="epochs=1")
    assert (run.params["pairs"], run.params["test_pairs"]) == ("all", str(test_pairs or "same"))
    assert counted(run) == 2 * count
    shares = [20 * error for error in rounds_of(run, "train_error", 2)]
    assert shares == pytest.approx([round(share) for share in shares])


def test_more_test_pairs_than_there_are_are_refused(all_of_few: Sampling) -> None:
    tracker = MemoryTracker()
    config = EvaluateConfig(sampling=replace(all_of_few, test_samples=11), model="mlp_ws", preset="report")
    with pytest.raises(InputError, match="the test pool holds 20; ask for at most --test-samples 10"):
        evaluate.run(config, tracker, Silent())
    assert tracker.runs == []
