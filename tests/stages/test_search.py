from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import optuna
import pytest
from numpy.typing import NDArray
from sqlalchemy import update

from pipeline.base.errors import InputError, StageError
from pipeline.data.dataset import Splits
from pipeline.stages import search
from pipeline.stages.replicas import fold_replicas
from pipeline.stages.searching import batches
from pipeline.stages.searching.batches import result_of
from pipeline.stages.searching.config import SearchConfig, inputs
from pipeline.stages.stage import Sampling
from pipeline.tasks.digit_pairs.dataset import DigitSet
from pipeline.tasks.registry import get_variant
from pipeline.training.compute import Compute
from pipeline.training.machine import this_machine
from pipeline.training.plan import Job, Outcome
from pipeline.training.pool import Trainer
from pipeline.tuning.lease import LeaseLostError, leases
from pipeline.tuning.storage import LEASES, open_storage
from pipeline.tuning.trials import TrialResult
from tests.memory import MemoryTracker
from tests.stages.runs import run_of, table_of, trained_in, trials_of, without_finite_digits
from tests.stages.silent import Silent


@pytest.fixture
def config(sampling: Sampling, space_file: str, storage: str, artifacts: str) -> SearchConfig:
    return SearchConfig(
        sampling=sampling,
        model="mlp_ws_al",
        space=space_file,
        storage=storage,
        artifacts=artifacts,
        n_trials=5,
        folds=2,
        population=2,
        recheck=0,
    )


def test_every_trial_has_a_run_with_its_folds_curves_and_the_best_is_the_searchs_configuration(
    config: SearchConfig,
) -> None:
    tracker = MemoryTracker()
    result = search.run(config, tracker, Silent())
    stage = tracker.get(result.run_id)
    trials = trials_of(tracker)
    assert [run.tags["trial"] for run in trials] == ["0", "1", "2", "3", "4"]
    assert all(run.parent == stage.id and run.status == "FINISHED" for run in trials)
    for run in trials:
        epochs = int(run.params["epochs"])
        for name in ("train_loss", "validation_error", "fold_00/validation_error", "fold_01/validation_error"):
            assert sorted(step for metric, step in run.metrics if metric == name) == list(range(1, epochs + 1))
        folds = [run.metrics[f"fold_{fold:02d}/validation_error", epochs] for fold in (0, 1)]
        assert run.metrics["cv_validation_error", 0] == pytest.approx(np.mean(folds), abs=1e-5)
    best = min(trials, key=lambda run: run.metrics["cv_validation_error", 0])
    assert stage.tags["config"] == best.tags["config"]
    assert stage.metrics["cv_validation_error"] == best.metrics["cv_validation_error", 0]
    assert 0 < stage.metrics["tracking_share"] < 1
    assert {name: stage.params[name] for name in ("trained_on", "precision", "compile")} == Compute().params
    trained = [run.tags["trial"] for run in trials if "source" not in run.tags]
    assert trained_in(run_of(tracker, result)) == sorted(
        f"trial/{trial}/round/0/fold/{fold}" for trial in trained for fold in (0, 1)
    )


def test_the_reports_configuration_is_tried_first(config: SearchConfig) -> None:
    tracker = MemoryTracker()
    search.run(replace(config, n_trials=1), tracker, Silent())
    [trial] = trials_of(tracker)
    assert tracker.get(trial.id).config == get_variant("mlp_ws_al").preset


def test_the_result_says_whether_the_reports_configuration_was_beaten(config: SearchConfig) -> None:
    alone = search.run(replace(config, n_trials=1), MemoryTracker(), Silent())
    assert "no other beat it" in alone.headline


def test_other_test_samples_are_no_other_search(config: SearchConfig) -> None:
    tracker = MemoryTracker()
    for test_samples in (0, 7):
        sampling = replace(config.sampling, test_samples=test_samples)
        search.run(replace(config, n_trials=1, sampling=sampling), tracker, Silent())
    assert len(trials_of(tracker)) == 1


def test_started_again_it_adds_nothing_and_a_larger_total_adds_the_rest(config: SearchConfig) -> None:
    tracker = MemoryTracker()
    first = search.run(replace(config, n_trials=3), tracker, Silent())
    search.run(replace(config, n_trials=3), tracker, Silent())
    assert len(trials_of(tracker)) == 3
    more = search.run(replace(config, n_trials=5), tracker, Silent())
    assert [run.parent for run in trials_of(tracker)] == [first.run_id] * 3 + [more.run_id] * 2
    at_once = MemoryTracker()
    search.run(replace(config, n_trials=5, study="another"), at_once, Silent())
    assert table_of(tracker) == table_of(at_once)


def test_the_runs_can_be_made_again_from_the_study_alone(config: SearchConfig) -> None:
    first, second = MemoryTracker(), MemoryTracker()
    search.run(config, first, Silent())
    search.run(config, second, Silent())
    assert table_of(first) == table_of(second)


def test_studies_of_one_name_in_two_databases_have_runs_of_their_own(config: SearchConfig, tmp_path: Path) -> None:
    tracker = MemoryTracker()
    one = search.run(replace(config, n_trials=2), tracker, Silent())
    other_storage = f"sqlite:///{tmp_path / 'other.db'}"
    other = search.run(replace(config, n_trials=2, storage=other_storage), tracker, Silent())
    assert [run.parent for run in tracker.runs if run.tags["role"] == "trial"] == [one.run_id] * 2 + [other.run_id] * 2


class Trap(DigitSet):
    """Digits that may not be sent to a worker, neither in shared memory nor with a chunk."""

    digest = "trap"
    is_set: ClassVar[bool] = False

    @property
    def arrays(self) -> tuple[NDArray[np.generic], ...]:
        if self.is_set:
            raise AssertionError("the test digits entered a search")
        return super().arrays

    def __reduce__(self) -> str:
        raise AssertionError("the test digits entered a search")


def test_a_search_that_has_ended_leaves_a_database_of_one_file(config: SearchConfig, tmp_path: Path) -> None:
    """Which people copy: what is in a file beside it would be missing."""
    search.run(replace(config, n_trials=2), MemoryTracker(), Silent())
    [path] = tmp_path.glob("*.db*")
    copy = shutil.copy(path, tmp_path / "copied")
    storage = f"sqlite:///{copy}"
    [name] = optuna.get_all_study_names(storage)
    assert len(optuna.load_study(study_name=name, storage=storage).trials) == 2


def test_the_test_digits_never_enter_a_search(config: SearchConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    subject, space = inputs(config)
    splits = subject.splits
    assert isinstance(splits.test, DigitSet)
    trap = Trap(images_NHW=np.full_like(splits.test.images_NHW, np.nan), labels_N=splits.test.labels_N)
    poisoned = replace(subject, splits=replace(splits, test=trap))
    monkeypatch.setattr(Trap, "is_set", True)
    monkeypatch.setattr(search, "inputs", lambda _: (poisoned, space))
    changed, original = MemoryTracker(), MemoryTracker()
    search.run(replace(config, study="poisoned"), changed, Silent())
    monkeypatch.undo()
    search.run(replace(config, study="original"), original, Silent())
    assert table_of(changed) == table_of(original)


def test_another_protocol_in_the_same_study_is_refused_with_the_difference(config: SearchConfig) -> None:
    named = replace(config, study="mine", n_trials=1)
    tracker = MemoryTracker()
    search.run(named, tracker, Silent())
    with pytest.raises(InputError, match="folds was 2 and is now 4"):
        search.run(replace(named, folds=4), tracker, Silent())
    with pytest.raises(InputError, match="precision was 'float32' and is now 'bfloat16'"):
        search.run(replace(named, compute=Compute(precision="bfloat16")), tracker, Silent())
    assert [run.status for run in tracker.runs if run.tags["role"] == "search"] == ["FINISHED"]


def test_a_study_that_another_process_has_taken_over_is_left_to_it(
    config: SearchConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when this process was stopped for long, and wakes: what it tells then is discarded."""
    storage = open_storage(config.storage)

    def taken_over(*arguments: Any) -> TrialResult:
        with storage.engine.begin() as connection:
            connection.execute(update(LEASES).values(token=LEASES.c.token + 1, owner="elsewhere:1:a.b.c.1"))
        return result_of(*arguments)

    monkeypatch.setattr(batches, "result_of", taken_over)
    tracker = MemoryTracker()
    with pytest.raises(LeaseLostError, match="what it had not told yet is discarded"):
        search.run(replace(config, study="busy"), tracker, Silent())
    study = optuna.load_study(study_name="busy", storage=config.storage)
    assert {trial.state.name for trial in study.trials} == {"RUNNING"}
    assert leases(storage)["busy"].owner == "elsewhere:1:a.b.c.1"
    assert {run.tags["role"]: run.status for run in tracker.runs} == {"search": "FAILED", "trial": "RUNNING"}


def test_when_every_trial_fails_the_stage_ends_with_one_clear_error(
    config: SearchConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject, space = inputs(config)
    faulty = replace(subject, splits=without_finite_digits(subject.splits))
    monkeypatch.setattr(search, "inputs", lambda _: (faulty, space))
    tracker = MemoryTracker()
    with pytest.raises(StageError, match=r"no trial .* could be completed: the loss became nan in epoch 1"):
        search.run(replace(config, n_trials=2), tracker, Silent())
    assert {run.status for run in tracker.runs} == {"FAILED"}


def outcomes(splits: Splits, sampling: Sampling, lr: float) -> list[Outcome]:
    variant = get_variant("mlp")
    hyper = replace(variant.preset, lr=lr, epochs=2)
    job = Job(variant=variant, replicas=fold_replicas(splits, sampling, hyper, rounds=1, folds=2))
    with Trainer(splits.train, splits.train, Compute(workers=1)) as trainer:
        return trainer.run([job])[0]


def test_a_trial_with_a_diverged_fold_has_failed_and_says_why(config: SearchConfig) -> None:
    subject, _ = inputs(config)
    variant, splits = subject.variant, subject.splits
    good, other = outcomes(splits, config.sampling, 1e-3)
    bad = replace(other, status="diverged", reason="the loss became nan in epoch 2")
    assert result_of([good, other], variant).state == "complete"
    finding = result_of([good, bad], variant)
    assert (finding.state, finding.reason) == ("failed", "fold 1: the loss became nan in epoch 2")


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"n_trials": 0}, "--n-trials must be between 1 and"),
        ({"folds": 1}, "number of folds must lie between 2 and the 100 samples of a round"),
        ({"folds": 3}, "do not divide into 3; choose another --folds, or --pruner none"),
        ({"pruner": "medain"}, "did you mean median"),
        ({"population": 0}, "--population must be between 1 and"),
        ({"model": "mlp_w"}, "did you mean mlp_ws"),
        ({"space": "search_spaces/mlp_w.yaml"}, "unknown search space .* did you mean search_spaces/mlp.yaml"),
        ({"sampler": "two_step"}, "unknown sampler 'two_step'; did you mean two-step"),
        ({"sampler": "forest"}, "unknown sampler 'forest'; choose from: cmaes, gp, grid, nsga2, qmc, random, screen"),
        ({"sampler": "nsga2", "trade_off": "seconds"}, "unknown trade-off 'seconds'; choose from: parameters, time"),
        ({"trade_off": "time"}, "only nsga2 minimises two things, but got --trade-off with --sampler tpe"),
        ({"reuse": "nothing"}, "unknown reuse 'nothing'; choose from: none, storage, study"),
        ({"recheck": -1}, "--recheck must be between 0 and"),
        ({"artifacts": f"{os.devnull}/x"}, "--artifacts must be a folder that can be written"),
        ({"select": "mean-std"}, "unknown selection 'mean-std'; did you mean mean.std"),
        ({"sampler": "screen"}, "--screen-samples 350 and --train-size 100"),
        (
            {"sampler": "screen", "screen_samples": 101},
            "no more samples than .*, but got --screen-samples 101 and --train-size 100",
        ),
        ({"sampler": "screen", "screen_samples": 1}, "cross validation needs at least 2 samples in a round"),
        ({"sampler": "screen", "screen_samples": 50, "keep": 0}, "--keep must be between 1 and"),
        ({"sampler": "two-step"}, "space.yaml:1: lr: all combinations are tried, so give a step, or type: choice"),
        ({"sampler": "screen", "screen_samples": 50, "space": ""}, "no space to screen mlp_ws_al over; give one with"),
        ({"storage": f"sqlite:///{os.devnull}/x.db"}, "--storage must be the URL"),
    ],
)
def test_bad_input_is_refused_before_any_run(config: SearchConfig, change: dict[str, object], rule: str) -> None:
    tracker = MemoryTracker()
    with pytest.raises(InputError, match=rule):
        search.run(replace(config, **change), tracker, Silent())  # type: ignore[arg-type]
    assert tracker.runs == []


def test_a_study_that_was_searched_on_two_kinds_of_machine_says_so(
    config: SearchConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    alike = search.run(replace(config, n_trials=2), MemoryTracker(), Silent())
    assert "computed alike" not in alike.markdown()
    other = {**this_machine(), "processor": "another", "cpu_capability": "AVX1024"}
    monkeypatch.setattr(search, "this_machine", lambda: other)
    tracker = MemoryTracker()
    mixed = search.run(replace(config, n_trials=4), tracker, Silent())
    torch = this_machine()["torch"]
    [note] = [note for note in mixed.notes if "computed alike" in note]
    assert f"AVX1024 and torch {torch}: 2 trials from 2" in note
    assert f"{this_machine()['cpu_capability']} and torch {torch}: 2 trials from 0" in note
    assert [run.tags["cpu_capability"] == "AVX1024" for run in trials_of(tracker)] == [False, False, True, True]
