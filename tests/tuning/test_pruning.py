"""Every rule says what Optuna's pruner says of the same trials, and needs nothing but their errors."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.base.seeds import numpy_generator
from pipeline.training.plan import StopRule
from pipeline.tuning.pruning import PRUNERS, REASONS, STARTUP_TRIALS, WARMUP_EPOCHS, stop_rules
from pipeline.tuning.trials import TrialRecord
from tests.tuning.results import record

EPOCHS, FOLDS = 16, 5
RULES = tuple(pruner for pruner in PRUNERS if pruner != "none")
Errors = NDArray[np.float64]


def curves(seed: int, count: int) -> list[Errors]:
    """(FOLDS, EPOCHS) errors of so many trials, which fall and cross one another."""
    generator = numpy_generator(seed, "curves")
    level_T = generator.uniform(0.1, 0.5, count)
    noise_TFE = generator.normal(0, 0.05, (count, FOLDS, EPOCHS))
    return [
        level + 0.5 / np.arange(1, EPOCHS + 1) + noise_FE for level, noise_FE in zip(level_T, noise_TFE, strict=True)
    ]


def finished(number: int, error_FE: Errors, *, state: str = "complete") -> TrialRecord:
    folds = [float(errors[-1]) for errors in error_FE]
    mean_E = error_FE.mean(0).tolist()
    base = record(number, mean_E[-1], folds=folds)
    base = replace(base, curves={"validation_error": mean_E}, fold_errors=error_FE.tolist())
    return base if state == "complete" else replace(base, state=state, error=None, score=None)  # type: ignore[arg-type]


def earlier(seed: int, count: int = STARTUP_TRIALS + 3) -> list[TrialRecord]:
    return [finished(number, error_FE) for number, error_FE in enumerate(curves(seed, count))]


def rule_of(pruner: str, records: Sequence[TrialRecord], number: int | None = None) -> StopRule:
    rule = stop_rules(pruner, records, EPOCHS)(len(records) if number is None else number)
    assert rule is not None
    return rule


def stops_after(rule: StopRule | None, error_FE: Errors) -> int:
    """The epoch after which a trial is stopped; 0 for never."""
    epochs = (epoch for epoch in range(1, EPOCHS + 1) if rule is not None and rule(error_FE[:, :epoch].tolist()))
    return next(epochs, 0)


BAD = np.full((FOLDS, EPOCHS), 5.0)
GOOD = np.zeros((FOLDS, EPOCHS))


@pytest.mark.parametrize("pruner", RULES)
def test_nothing_is_stopped_before_enough_trials_are_complete(pruner: str) -> None:
    records = earlier(0)
    few = [*records[: STARTUP_TRIALS - 1], *(replace(each, state="pruned", score=None) for each in records[4:])]
    assert stop_rules(pruner, few, EPOCHS)(len(few)) is None
    failed = [record(number, None) for number in range(4, 12)]
    assert stop_rules(pruner, [*records[:4], *failed], EPOCHS)(12) is None
    assert stop_rules(pruner, records[:STARTUP_TRIALS], EPOCHS)(STARTUP_TRIALS) is not None


def test_without_a_pruner_nothing_is_stopped() -> None:
    assert stop_rules("none", earlier(0), EPOCHS)(8) is None


@pytest.mark.parametrize("pruner", RULES)
def test_a_clearly_worse_trial_is_stopped_but_not_in_its_first_epochs(pruner: str) -> None:
    first = WARMUP_EPOCHS if pruner in ("halving", "hyperband") else WARMUP_EPOCHS + 1
    numbers = range(8, 20)  # of which Hyperband puts some in the bracket that goes on to the next rung
    stopped = {stops_after(rule_of(pruner, earlier(0), number), BAD) for number in numbers}
    assert stopped == ({first, 3 * first} if pruner == "hyperband" else {first})


@pytest.mark.parametrize("pruner", RULES)
def test_a_clearly_better_trial_goes_on(pruner: str) -> None:
    assert {stops_after(rule_of(pruner, earlier(0), number), GOOD) for number in range(8, 20)} == {0}


@given(seed=st.integers(0, 10_000), count=st.integers(STARTUP_TRIALS, 12))
@settings(max_examples=15)
def test_the_median_rule_says_what_optunas_median_pruner_says(seed: int, count: int) -> None:
    *before, error_FE = curves(seed, count + 1)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=STARTUP_TRIALS, n_warmup_steps=WARMUP_EPOCHS)
    study = optuna.create_study(pruner=pruner)
    for other_FE in before:
        tell(study, study.ask(), other_FE)
    rule = rule_of("median", [finished(number, other_FE) for number, other_FE in enumerate(before)])
    trial = study.ask()
    for epoch, error in enumerate(error_FE.mean(0).tolist(), start=1):
        trial.report(error, epoch)
        assert rule(error_FE[:, :epoch].tolist()) == (epoch > WARMUP_EPOCHS and trial.should_prune())


def tell(study: optuna.Study, trial: optuna.Trial, error_FE: Errors) -> None:
    for epoch, error in enumerate(error_FE.mean(0).tolist(), start=1):
        trial.report(error, epoch)
    study.tell(trial, float(error_FE[:, -1].mean()))


def test_a_trial_that_was_better_once_is_not_worse_than_the_median() -> None:
    once = np.concatenate([GOOD[:, :1], BAD[:, 1:]], axis=1)
    assert stops_after(rule_of("median", earlier(0)), once) == 0


@pytest.mark.parametrize(
    ("name", "pruner"),
    [
        ("halving", optuna.pruners.SuccessiveHalvingPruner(min_resource=WARMUP_EPOCHS, reduction_factor=3)),
        ("hyperband", optuna.pruners.HyperbandPruner(WARMUP_EPOCHS, EPOCHS, reduction_factor=3)),
    ],
)
@pytest.mark.parametrize("seed", range(3))
def test_trials_one_after_another_are_stopped_as_by_optuna(
    name: str, pruner: optuna.pruners.BasePruner, seed: int
) -> None:
    study = optuna.create_study(study_name="pruning", pruner=pruner)
    records: list[TrialRecord] = []
    stopped = []
    for number, error_FE in enumerate(curves(seed, 25)):
        rule = stop_rules(name, records, EPOCHS)(number)
        trial, last = study.ask(), EPOCHS
        for epoch, error in enumerate(error_FE.mean(0).tolist(), start=1):
            trial.report(error, epoch)
            if trial.should_prune() and rule is not None:  # the first ones go on here too
                last = epoch
                break
        pruned = last < EPOCHS
        assert stops_after(rule, error_FE) == (last if pruned else 0)
        study.tell(trial, None if pruned else 0.5, state=optuna.trial.TrialState.PRUNED if pruned else None)
        records.append(finished(number, error_FE[:, :last], state="pruned" if pruned else "complete"))
        stopped.append(last)
    assert set(stopped) == {WARMUP_EPOCHS, 3 * WARMUP_EPOCHS, EPOCHS}


@pytest.mark.parametrize("seed", range(3))
def test_about_a_third_passes_a_rung(seed: int) -> None:
    records: list[TrialRecord] = earlier(seed, STARTUP_TRIALS)
    for number, error_FE in enumerate(curves(seed + 100, 90), start=STARTUP_TRIALS):
        last = stops_after(rule_of("halving", records, number), error_FE) or EPOCHS
        records.append(finished(number, error_FE[:, :last], state="complete" if last == EPOCHS else "pruned"))
    lengths = [len(each.curves["validation_error"]) for each in records[STARTUP_TRIALS:]]
    assert 0.2 < np.mean(np.array(lengths) > WARMUP_EPOCHS) < 0.5
    best = sorted(records, key=lambda each: each.curves["validation_error"][WARMUP_EPOCHS - 1])[:5]
    assert all(len(each.curves["validation_error"]) > WARMUP_EPOCHS for each in best)


@given(seed=st.integers(0, 10_000), worse=st.floats(1e-3, 1.0))
@settings(max_examples=15)
def test_what_is_worse_than_the_best_on_every_fold_is_stopped_by_wilcoxon(seed: int, worse: float) -> None:
    records = earlier(seed)
    best = min(records, key=lambda each: each.score or 0.0)
    error_FE = np.array(best.fold_errors)
    assert stops_after(rule_of("wilcoxon", records), error_FE + worse) == WARMUP_EPOCHS + 1
    one_better_FE = error_FE + worse * np.where(np.arange(FOLDS) == seed % FOLDS, -20, 1)[:, None]
    assert stops_after(rule_of("wilcoxon", records), one_better_FE) == 0


@given(seed=st.integers(0, 10_000), outlier=st.floats(0, 50))
@settings(max_examples=15)
def test_what_is_better_on_average_is_never_stopped_by_wilcoxon(seed: int, outlier: float) -> None:
    records = earlier(seed)
    best_FE = np.array(min(records, key=lambda each: each.score or 0.0).fold_errors)
    gain_FE = numpy_generator(seed, "gain").normal(0, 0.1, (FOLDS, EPOCHS))
    gain_FE[0] -= outlier
    better_FE = best_FE + gain_FE - np.maximum(gain_FE.mean(0), 0) - 1e-9
    assert stops_after(rule_of("wilcoxon", records), better_FE) == 0


def test_wilcoxon_compares_after_the_same_epoch() -> None:
    records = [finished(number, np.tile(np.linspace(1, 0.1, EPOCHS), (FOLDS, 1))) for number in range(STARTUP_TRIALS)]
    assert stops_after(rule_of("wilcoxon", records), np.full((FOLDS, EPOCHS), 0.55)) == 9


@pytest.mark.parametrize("pruner", RULES)
@pytest.mark.parametrize("used", [False, True])
def test_a_rule_can_be_sent_to_another_process(pruner: str, used: bool) -> None:
    records = earlier(1)
    trials = curves(2, 12)
    expected = [stops_after(rule_of(pruner, records, 8 + number), each) for number, each in enumerate(trials)]
    sent = []
    for number, error_FE in enumerate(trials):
        rule = rule_of(pruner, records, 8 + number)
        if used:
            rule(error_FE[:, :1].tolist())
        sent.append(stops_after(pickle.loads(pickle.dumps(rule)), error_FE))
    assert sent == expected
    assert len(set(expected)) > 1


@pytest.mark.parametrize("pruner", RULES)
def test_rules_with_the_same_data_give_the_same_answers(pruner: str) -> None:
    records, trials = earlier(1), curves(2, 12)
    answers = [
        [stops_after(rule_of(pruner, records, 8 + number), each) for number, each in enumerate(trials)]
        for _ in range(2)
    ]
    assert answers[0] == answers[1]


def test_every_pruner_says_why() -> None:
    assert set(REASONS) == set(RULES)
