"""Pruning: Optuna's pruners as stop rules of the engine.

All folds of a trial train together, so the mean of its searched metric is known after every epoch; a rule compares it
with the trials that had finished before the trial's batch. It needs nothing but that data, so it runs in the
worker and its answer does not depend on how fast other workers are.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import optuna
from optuna.pruners import BasePruner
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from pipeline.training.plan import StopRule
from pipeline.tuning.trials import TrialRecord

STARTUP_TRIALS = 5
"""Complete trials that there must be before any is stopped."""
WARMUP_EPOCHS = 5
"""No trial is stopped earlier; the first rung of successive halving."""
REDUCTION = 3
"""One of so many trials passes a rung; the next rung takes so many times the epochs."""
P_VALUE = 0.1
"""From which on Wilcoxon's test says that a trial is worse than the best."""
LEAST_FOLDS = 4
"""With fewer no outcome of the test is so unlikely."""
LATEST = 200
"""Earlier trials that a trial is compared with, so that a rule takes as long at the end of a study as at its start."""


PRUNERS = ("median", "halving", "hyperband", "wilcoxon", "none")
REASONS = {
    "median": "worse than the median of earlier trials",
    "halving": "not among the best third of earlier trials",
    "hyperband": "not among the best third of earlier trials of its bracket",
    "wilcoxon": "worse than the best trial over folds",
}
"""Why a trial was stopped, by the pruner."""


@dataclass(frozen=True)
class MedianRule:
    """Stop what is worse than the median of earlier trials at the same epoch."""

    earlier: tuple[FrozenTrial, ...]

    @cached_property
    def _study(self) -> optuna.Study:
        study = optuna.create_study()
        study.add_trials(self.earlier)
        return study

    def __call__(self, held_out_FE: Sequence[Sequence[float]], /) -> bool:
        """Whether Optuna's MedianPruner says so of the best error so far; the first epochs are never stopped."""
        mean_E = np.mean(held_out_FE, axis=0).tolist()
        if len(mean_E) <= WARMUP_EPOCHS:
            return False
        pruner = optuna.pruners.MedianPruner(n_startup_trials=STARTUP_TRIALS, n_warmup_steps=WARMUP_EPOCHS)
        trial = create_trial(state=TrialState.RUNNING, intermediate_values=dict(enumerate(mean_E, start=1)))
        return pruner.prune(self._study, trial)


@dataclass(frozen=True)
class RungRule:
    """Stop what is not among the best of all that came to the same epoch: successive halving, or Hyperband."""

    pruner: str
    earlier: Mapping[int, tuple[float, ...]]
    """Mean errors by epoch of the trials before, by number."""
    number: int
    """Of the trial that the rule is for: Hyperband's bracket follows from it."""
    epochs: int
    """The most that any trial trains."""

    @cached_property
    def _trial(self) -> Trial:
        rungs: BasePruner
        if self.pruner == "halving":
            rungs = optuna.pruners.SuccessiveHalvingPruner(min_resource=WARMUP_EPOCHS, reduction_factor=REDUCTION)
        else:
            rungs = optuna.pruners.HyperbandPruner(
                min_resource=WARMUP_EPOCHS, max_resource=max(self.epochs, WARMUP_EPOCHS), reduction_factor=REDUCTION
            )
        sampler = optuna.samplers.RandomSampler(seed=0)
        study = optuna.create_study(study_name="pruning", pruner=rungs, sampler=sampler)
        for number in range(self.number):
            if number not in self.earlier:  # it failed, or was asked for together with this one
                study.add_trial(_UNKNOWN)
                continue
            trial = study.ask()
            for epoch in self._rung_epochs(len(self.earlier[number])):
                trial.report(self.earlier[number][epoch - 1], epoch)
                trial.should_prune()  # by which the pruner takes note of it
            study.tell(trial, state=TrialState.PRUNED)
        return study.ask()

    def _rung_epochs(self, trained: int) -> list[int]:
        epochs, epoch = [], WARMUP_EPOCHS
        while epoch <= trained:
            epochs.append(epoch)
            epoch *= REDUCTION
        return epochs

    def __call__(self, held_out_FE: Sequence[Sequence[float]], /) -> bool:
        """Whether Optuna's pruner says so, asked at the epochs of its rungs."""
        epochs = len(held_out_FE[0])
        return epochs in self._rung_epochs(epochs) and _prunes(self._trial, held_out_FE)


def _prunes(trial: Trial, error_FE: Sequence[Sequence[float]]) -> bool:
    mean_E = np.mean(error_FE, axis=0)
    trial.report(float(mean_E[-1]), len(mean_E))
    return trial.should_prune()


@dataclass(frozen=True)
class FoldsRule:
    """Wilcoxon's signed-rank test against the best trial, over folds, after the same epoch."""

    best_error_FE: tuple[tuple[float, ...], ...]

    def __call__(self, held_out_FE: Sequence[Sequence[float]], /) -> bool:
        """Whether Optuna's WilcoxonPruner says so; the first epochs are never stopped."""
        epoch = len(held_out_FE[0])
        if epoch <= WARMUP_EPOCHS:
            return False
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            pruner = optuna.pruners.WilcoxonPruner(p_threshold=P_VALUE)
        best = [errors[min(epoch, len(errors)) - 1] for errors in self.best_error_FE]
        study = optuna.create_study()
        study.add_trial(create_trial(value=float(np.mean(best)), intermediate_values=dict(enumerate(best))))
        now = dict(enumerate(errors[-1] for errors in held_out_FE))
        return pruner.prune(study, create_trial(state=TrialState.RUNNING, intermediate_values=now))


_UNKNOWN = create_trial(state=TrialState.FAIL)


def stop_rules(pruner: str, earlier: Sequence[TrialRecord], epochs: int) -> Callable[[int], StopRule | None]:
    """The rule for each trial, by number, of a batch that is asked for after `earlier`.

    None while too few of the earlier ones are complete, and for the pruner `none`; no trial has more than `epochs`.
    """
    complete = [record for record in earlier if record.state == "complete"]
    if pruner == "none" or len(complete) < STARTUP_TRIALS:
        return lambda _: None
    if pruner == "median":
        frozen = tuple(map(_frozen, complete[-LATEST:]))
        return lambda _: MedianRule(frozen)
    if pruner == "wilcoxon":
        best = min(complete, key=lambda record: (record.score, record.number))
        errors = tuple(map(tuple, best.fold_errors))
        return lambda _: FoldsRule(errors)
    known = [record for record in earlier[-LATEST:] if record.state != "failed"]
    curves = {record.number: tuple(record.searched) for record in known}
    return lambda number: RungRule(pruner, curves, number, epochs)


def _frozen(record: TrialRecord) -> FrozenTrial:
    errors = record.searched
    return create_trial(value=errors[-1], intermediate_values=dict(enumerate(errors, start=1)))
