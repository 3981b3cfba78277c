"""The ledger: an Optuna study as the record of a search, from which everything else can be made again.

A search proceeds in the steps of its strategy, and each step in *generations*: `population` trials at a time, asked
for together, trained together and told in the order of their numbers. What the sampler proposes comes from one seeded
with the name of the trial, and pruning compares with earlier generations only. So a search that is killed anywhere and
started again asks for the same configurations as one that ran through: trials that were running are taken up under
their own numbers.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, Trial, TrialState

from pipeline.errors import InputError
from pipeline.models.hyperparameters import Hyperparameters
from pipeline.seeds import derive
from pipeline.tuning.pruning import median_stop
from pipeline.tuning.space import Space
from pipeline.tuning.strategies import Proposal, Strategy
from pipeline.tuning.trials import Asked, Finding, State, TrialRecord, selection_score

PRUNERS = ("median", "none")
STATES: dict[TrialState, State] = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}
DECIMALS = 6


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

    def __init__(
        self,
        storage: RDBStorage,
        study: optuna.Study,
        space: Space,
        strategy: Strategy,
        *,
        seed: int,
        pruner: str,
        select: str,
    ) -> None:
        self._storage = storage
        self._study = study
        self._space = space
        self._strategy = strategy
        self._seed = seed
        self._pruner = pruner
        self._select = select
        self._records: dict[int, TrialRecord] = {}

    @classmethod
    def open(
        cls,
        storage: RDBStorage,
        name: str,
        protocol: Mapping[str, Any],
        space: Space,
        strategy: Strategy,
        *,
        seed: int,
        pruner: str,
        select: str,
    ) -> Ledger:
        """Create the study, or go on with it if it was made under the same protocol.

        `protocol` is everything that the numbers depend on; `select` says what is minimised. Raises InputError, naming
        the differences, when the study of this name was made under another one.
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
        return cls(storage, study, space, strategy, seed=seed, pruner=pruner, select=select)

    @property
    def name(self) -> str:
        """The study's name."""
        return self._study.study_name

    @property
    def id(self) -> str:
        """What tells the study from others of the same name in other databases."""
        return str(self._study.user_attrs["id"])

    @property
    def planned(self) -> int:
        """How many trials the study will have."""
        return self._strategy.total(self._space)

    def next_generation(self, population: int) -> list[Asked]:
        """The configurations to try next; empty when the study has all."""
        trials = self._study.get_trials(deepcopy=False)
        running = [trial for trial in trials if not trial.state.is_finished()]
        first = running[0].number if running else len(trials)
        begin, proposals = 0, []
        for step in self._strategy.steps(self._space, self.records()):
            proposals += step
            if len(proposals) > first:
                break
            begin = len(proposals)
        start = begin + (first - begin) // population * population
        end = min(start + population, len(proposals))
        stop = None
        if self._pruner == "median":
            stop = median_stop([trial for trial in trials if trial.number < start])
        # A search that was made shorter leaves alone what was running beyond its end.
        numbers = [trial.number for trial in running if trial.number < len(proposals)] + list(range(len(trials), end))
        return [
            Asked(
                number=number,
                hyper=self._ask(number, proposals[number]),
                pairs=proposals[number].pairs,
                stop=stop,
                generation=start,
            )
            for number in sorted(numbers)
        ]

    def _ask(self, number: int, proposal: Proposal) -> Hyperparameters:
        """Propose the configuration of a trial, creating the trial if there is none of that number."""
        self._study.sampler = _TrialSampler(self._seed, number)
        if proposal.parameters is not None and len(self._study.get_trials(deepcopy=False)) == number:
            self._study.enqueue_trial(dict(proposal.parameters), user_attrs={"pairs": proposal.pairs})
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
        if digits := rounded.get("validation_digit_error"):
            trial.set_user_attr("validation_digit_error", digits[-1])  # for people; the curve is there as well
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
            score = selection_score([fold[-1] for fold in finding.fold_errors], self._select)
            self._study.tell(number, round(score, DECIMALS))

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
            error=curves["validation_error"][-1] if trial.state is TrialState.COMPLETE else None,
            score=trial.value if trial.state is TrialState.COMPLETE else None,
            hyper=self._space.preset.having(trial.params),
            pairs=trial.user_attrs.get("pairs", 0),
            fold_errors=curves.pop("fold_errors"),
            curves=curves,
            read_off=trial.user_attrs.get("read_off"),
            started=trial.datetime_start,
            ended=trial.datetime_complete,
        )
