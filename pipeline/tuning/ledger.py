"""The ledger: an Optuna study as the record of a search, from which everything else can be made again.

A search proceeds in *generations*: trial 0, the preset, alone; then `population` trials at a time, asked for together,
trained together and told in the order of their numbers. Each proposal comes from a sampler seeded with the name of its
trial, and pruning compares with earlier generations only. So a search that is killed anywhere and started again asks
for the same configurations as one that ran through: trials that were running are taken up under their own numbers.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, Trial, TrialState

from pipeline.errors import InputError
from pipeline.models.variant import Hyperparameters
from pipeline.seeds import derive
from pipeline.tuning.pruning import MedianStop, median_stop
from pipeline.tuning.space import Space

PRUNERS = ("median", "none")
State = Literal["complete", "pruned", "failed"]
STATES: dict[TrialState, State] = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}
DECIMALS = 6


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A configuration to be tried."""

    number: int
    hyper: Hyperparameters
    stop: MedianStop | None
    generation: int
    """The first number of its generation."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What trying it gave: mean curves over folds by name, and every fold's validation error."""

    curves: Mapping[str, Sequence[float]]
    """Series name -> one value an epoch; `validation_error` is the one that is minimised."""
    fold_errors: Sequence[Sequence[float]]
    """(F, E) validation error of every fold after every epoch."""
    state: State
    reason: str = ""
    read_off: int | None = None
    """The trial whose longer training this one was read off; None if it was trained itself."""


@dataclass(frozen=True, kw_only=True)
class TrialRecord:
    """A finished trial as the ledger has it."""

    number: int
    state: State
    reason: str
    error: float | None
    """Mean validation error over folds after the last epoch; None unless complete."""
    hyper: Hyperparameters
    curves: Mapping[str, Sequence[float]]
    fold_errors: Sequence[Sequence[float]]
    read_off: int | None
    started: datetime
    ended: datetime


class _TrialSampler(optuna.samplers.TPESampler):
    """TPE whose every draw belongs to a trial and a hyperparameter, so that a trial half proposed can be completed."""

    def __init__(self, seed: int, number: int) -> None:
        super().__init__(seed=_sampler_seed(seed, number))
        self._root, self._number = seed, number

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Draw with a generator of this hyperparameter's own."""
        sampler = optuna.samplers.TPESampler(seed=_sampler_seed(self._root, self._number, param_name))
        return sampler.sample_independent(study, trial, param_name, param_distribution)


def _sampler_seed(seed: int, number: int, *name: str) -> int:
    return derive(seed, "sampler", "trial", number, *name) % 2**32


class Ledger:
    """One study. Every method that changes it leaves it in a state that a new process can go on from."""

    def __init__(self, storage: RDBStorage, study: optuna.Study, space: Space, *, seed: int, pruner: str) -> None:
        self._storage = storage
        self._study = study
        self._space = space
        self._seed = seed
        self._pruner = pruner
        self._records: dict[int, TrialRecord] = {}

    @classmethod
    def open(
        cls, storage: RDBStorage, name: str, protocol: Mapping[str, Any], space: Space, *, seed: int, pruner: str
    ) -> Ledger:
        """Create the study, or go on with it if it was made under the same protocol.

        `protocol` is everything that the numbers depend on. Raises InputError, naming the differences, when the study
        of this name was made under another one.
        """
        study = optuna.create_study(storage=storage, study_name=name, direction="minimize", load_if_exists=True)
        recorded = study.user_attrs.get("protocol")
        if recorded is None:
            if study.get_trials(deepcopy=False):
                raise InputError(f"the study {name!r} was not made by this program; choose another --study")
            study.set_user_attr("id", uuid.uuid4().hex)
            study.set_user_attr("protocol", dict(protocol))
            recorded = protocol
        differences = [
            f"{key} was {recorded.get(key)!r} and is now {protocol.get(key)!r}"
            for key in sorted({*recorded, *protocol})
            if recorded.get(key) != protocol.get(key)
        ]
        if differences:
            raise InputError(
                f"a study goes on under the protocol that it began with, but in {name!r} {'; '.join(differences)}; "
                f"choose another --study"
            )
        return cls(storage, study, space, seed=seed, pruner=pruner)

    @property
    def name(self) -> str:
        """The study's name."""
        return self._study.study_name

    @property
    def id(self) -> str:
        """What tells the study from others of the same name in other databases."""
        return str(self._study.user_attrs["id"])

    def next_generation(self, n_trials: int, population: int) -> list[Asked]:
        """The configurations to try next, so that the study has `n_trials` in all; empty when it has them."""
        trials = self._study.get_trials(deepcopy=False)
        running = [trial for trial in trials if not trial.state.is_finished()]
        first = running[0].number if running else len(trials)
        # Trial 0 is a generation of its own; the others begin at 1, 1 + population, ...
        start = 0 if first == 0 else 1 + (first - 1) // population * population
        end = 1 if first == 0 else min(start + population, n_trials)
        stop = None
        if self._pruner == "median":
            stop = median_stop([trial for trial in trials if trial.number < start])
        numbers = [trial.number for trial in running] + list(range(len(trials), min(end, n_trials)))
        return [
            Asked(number=number, hyper=self._ask(number), stop=stop, generation=start) for number in sorted(numbers)
        ]

    def _ask(self, number: int) -> Hyperparameters:
        """Propose the configuration of a trial, creating the trial if there is none of that number."""
        self._study.sampler = _TrialSampler(self._seed, number)
        if number == 0 and not self._study.get_trials(deepcopy=False):
            self._study.enqueue_trial(self._space.preset_parameters)
        try:
            trial_id = self._trial_id(number)
        except KeyError:
            trial = self._study.ask()
        else:
            frozen = self._storage.get_trial(trial_id)
            # A trial that waits is handed out by `ask`; one that was running when its process died is taken up.
            trial = self._study.ask() if frozen.state is TrialState.WAITING else Trial(self._study, trial_id)
        return self._space.suggest(trial)

    def _trial_id(self, number: int) -> int:
        study_id = self._storage.get_study_id_from_name(self.name)
        return self._storage.get_trial_id_from_study_id_trial_number(study_id, number)

    def tell(self, number: int, finding: Finding) -> None:
        """Acknowledge a trial: once this returns, nothing of it can be lost."""
        trial_id = self._trial_id(number)
        trial = Trial(self._study, trial_id)
        rounded = {name: np.round(curve, DECIMALS).tolist() for name, curve in finding.curves.items()}
        folds = [np.round(errors, DECIMALS).tolist() for errors in finding.fold_errors]
        trial.set_user_attr("curves", json.dumps({**rounded, "fold_errors": folds}))
        if finding.reason:
            trial.set_user_attr("reason", finding.reason)
        if finding.read_off is not None:
            trial.set_user_attr("read_off", finding.read_off)
        if finding.state == "failed":
            self._study.tell(number, state=TrialState.FAIL)
            return
        errors = rounded["validation_error"]
        for epoch, error in enumerate(errors, start=1):
            # Not `trial.report`, which warns of what a process that died here has reported already.
            self._storage.set_trial_intermediate_value(trial_id, epoch, float(error))
        if finding.state == "pruned":
            self._study.tell(number, state=TrialState.PRUNED)
        else:
            self._study.tell(number, float(errors[-1]))

    def records(self) -> list[TrialRecord]:
        """All finished trials by number."""
        for trial in self._study.get_trials(deepcopy=False):
            if trial.state.is_finished() and trial.number not in self._records:
                self._records[trial.number] = self._record(trial)
        return [self._records[number] for number in sorted(self._records)]

    def _record(self, trial: FrozenTrial) -> TrialRecord:
        curves = json.loads(trial.user_attrs.get("curves", '{"fold_errors": []}'))
        assert trial.datetime_start is not None
        assert trial.datetime_complete is not None
        return TrialRecord(
            number=trial.number,
            state=STATES[trial.state],
            reason=trial.user_attrs.get("reason", ""),
            error=trial.value if trial.state is TrialState.COMPLETE else None,
            hyper=Hyperparameters(**{**self._space.preset.as_dict(), **trial.params}),
            fold_errors=curves.pop("fold_errors"),
            curves=curves,
            read_off=trial.user_attrs.get("read_off"),
            started=trial.datetime_start,
            ended=trial.datetime_complete,
        )


def best_of(records: Sequence[TrialRecord]) -> TrialRecord | None:
    """The complete trial with the least error; the earlier one of equals."""
    complete = [record for record in records if record.error is not None]
    return min(complete, key=lambda record: (record.error, record.number), default=None)
