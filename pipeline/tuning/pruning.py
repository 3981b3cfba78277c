"""Pruning: Optuna's pruners as stop rules of the engine.

All folds of a trial train together, so its mean validation error is known after every epoch; the rule compares it with
the trials that had finished when the trial was asked for. It needs nothing but that data, so it runs in the worker and
its answer does not depend on how fast other workers are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

STARTUP_TRIALS = 5
WARMUP_EPOCHS = 5


@dataclass(frozen=True)
class MedianStop:
    """Stop a trial whose best error so far is worse than the median of the others at the same epoch."""

    finished: tuple[FrozenTrial, ...]
    """The complete trials to compare with."""

    @cached_property
    def _study(self) -> optuna.Study:
        study = optuna.create_study()
        study.add_trials(self.finished)
        return study

    def __call__(self, held_out_error_E: Sequence[float], /) -> bool:
        """Ask Optuna's MedianPruner; the first epochs are never stopped."""
        if len(held_out_error_E) <= WARMUP_EPOCHS:
            return False
        steps = dict(enumerate(held_out_error_E, start=1))
        trial = create_trial(state=TrialState.RUNNING, intermediate_values=steps)
        pruner = optuna.pruners.MedianPruner(n_startup_trials=STARTUP_TRIALS, n_warmup_steps=WARMUP_EPOCHS)
        return pruner.prune(self._study, trial)


def median_stop(finished: Sequence[FrozenTrial]) -> MedianStop | None:
    """The rule for a trial that is asked for after `finished`, of which only the curves of complete ones are kept.

    None while too few are complete.
    """
    complete = [trial for trial in finished if trial.state is TrialState.COMPLETE]
    if len(complete) < STARTUP_TRIALS:
        return None
    return MedianStop(
        tuple(create_trial(value=trial.value, intermediate_values=trial.intermediate_values) for trial in complete)
    )
