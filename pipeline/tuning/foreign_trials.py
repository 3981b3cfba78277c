"""Trials of a study that its search has not made: people enqueue them in optuna-dashboard or by `enqueue_trial`.

One that fits the space is tried instead of one of the sampler's; one that does not is marked as failed, and says why.
What other programs have run besides is no part of the search.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from pipeline.base.errors import InputError, near_misses
from pipeline.models.hyperparameters import Value
from pipeline.tuning.records import BEGUN
from pipeline.tuning.space import Space
from pipeline.tuning.storage import Storage

ENQUEUED = "fixed_params"
"""The attribute of a trial in which Optuna keeps what `enqueue_trial` is given."""
log = logging.getLogger(__name__)


class ForeignTrialError(Exception):
    """Somebody else has added a trial to the study, so that what is asked next has to be found anew."""


class ForeignTrials:
    """Those of one study."""

    def __init__(self, storage: Storage, study: str, space: Space, *, complete: bool) -> None:
        """`complete` says that all combinations are tried, and no others."""
        self._storage, self._study, self._space, self._complete = storage, study, space, complete
        self.left_out: set[int] = set()
        """The trials of which it was said that they are no part of the search."""

    def examine(self, trial: FrozenTrial) -> Mapping[str, Value] | None:
        """What a trial of somebody else is to have; None if it is left out.

        Raises ForeignTrialError once it is marked as failed, where it cannot be tried.
        """
        if trial.state.is_finished():
            log.warning("trial %d of study %s was added by hand, and is left out", trial.number, self._study)
            self.left_out.add(trial.number)
            return None
        wanted = enqueued(trial)
        if reason := self._unfit(wanted):
            self._refuse(trial, reason)
            raise ForeignTrialError
        return wanted or {}

    def _unfit(self, wanted: Mapping[str, Value] | None) -> str:
        """Why it is not tried; empty if it may be."""
        if self._complete:
            return "all combinations are tried, and no others"
        if wanted is None:
            return "it was not enqueued, but begun, by another program"
        dimensions = self._space.dimensions
        for name, value in wanted.items():
            if name not in dimensions:
                return f"{name!r} is not searched; {near_misses(name, sorted(dimensions))}"
            if not isinstance(value, str | int | float) or value not in dimensions[name]:
                return f"{name} is {value!r}, which the space does not have"
        return ""

    def _refuse(self, trial: FrozenTrial, reason: str) -> None:
        """Mark it as failed, and say why, here and where people look at the study."""
        log.warning(
            "trial %d of study %s was added by hand and is marked as failed: %s", trial.number, self._study, reason
        )
        self.left_out.add(trial.number)
        self._storage.retry(lambda: self._storage.set_trial_user_attr(trial._trial_id, "reason", reason))
        fail = partial(self._storage.set_trial_state_values, trial._trial_id, TrialState.FAIL)
        self._storage.retry(fail)

    @contextmanager
    def refusing(self, trial: FrozenTrial) -> Iterator[None]:
        """Mark a trial as failed if what happens inside finds that it cannot be tried, and raise ForeignTrialError."""
        try:
            yield
        except (InputError, ValueError) as error:  # Optuna raises ValueError for another kind of parameter
            self._refuse(trial, str(error))
            raise ForeignTrialError from error

    def adopt(
        self, known: FrozenTrial, parameters: Mapping[str, Value], shown: Mapping[str, Any], begun: Mapping[str, Any]
    ) -> None:
        """Make it one of the search's own: `begun`, which is written last, does that."""
        with self.refusing(known):
            self._storage.retry(lambda: self._adopt(known, parameters, shown, begun))

    def _adopt(
        self, known: FrozenTrial, parameters: Mapping[str, Value], shown: Mapping[str, Any], begun: Mapping[str, Any]
    ) -> None:
        trial = self._storage.get_trial(known._trial_id)
        if is_made_here(trial):  # the answer was lost
            return
        for name, distribution in self._space.distributions(parameters).items():
            if name not in trial.params:
                value = distribution.to_internal_repr(parameters[name])
                self._storage.set_trial_param(trial._trial_id, name, value, distribution)
        for name, value in shown.items():
            self._storage.set_trial_user_attr(trial._trial_id, name, value)
        if trial.state is TrialState.WAITING:
            self._storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING)
        self._storage.set_trial_system_attr(trial._trial_id, BEGUN, dict(begun))


def is_made_here(trial: FrozenTrial) -> bool:
    """Whether a search has made a trial, or has begun one that somebody has enqueued."""
    return trial.system_attrs.get(BEGUN) is not None


def enqueued(trial: FrozenTrial) -> Mapping[str, Value] | None:
    """What a trial that somebody has enqueued is to have; None for others."""
    wanted: Mapping[str, Value] | None = trial.system_attrs.get(ENQUEUED)
    return wanted
