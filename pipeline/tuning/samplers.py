"""Which configuration to try next: Optuna's samplers as functions of a seed and of the trials that have finished.

A sampler works on a study in memory that mirrors the trials before a batch; every proposal has a sampler of its
own, seeded with the name of its trial. So proposals can be made again in another process, to the last bit, and nothing
of a sampler's state is ever stored or loaded.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from pipeline.base.errors import InputError
from pipeline.base.seeds import derive
from pipeline.models.hyperparameters import Value
from pipeline.tuning.space import Space
from pipeline.tuning.trials import TrialRecord, ranking

LATEST, BEST, REFRESH = 200, 50, 50
"""Of a long study a sampler is shown the latest trials, 200 to 249, and the best of those before: so a proposal takes
as long at its end as at its start. What is left out is decided anew every 50 trials."""
ATTEMPTS, RANDOM_ATTEMPTS = 20, 10_000
"""Proposals that may break a constraint before configurations are drawn at random, and before that ends."""
TWO_OBJECTIVES = "nsga2"
"""The sampler that minimises something besides the error."""


def _random(seed: int) -> BaseSampler:
    return optuna.samplers.RandomSampler(seed=seed)


def _tpe(seed: int, _root: int, _population: int) -> BaseSampler:
    return optuna.samplers.TPESampler(seed=seed)


def _gp(seed: int, _root: int, _population: int) -> BaseSampler:
    return optuna.samplers.GPSampler(seed=seed, independent_sampler=_random(seed))


def _qmc(seed: int, root: int, _population: int) -> BaseSampler:
    # One sequence for the whole study: its seed is not that of a trial.
    return optuna.samplers.QMCSampler(
        scramble=True, seed=root, independent_sampler=_random(seed), warn_independent_sampling=False
    )


def _cmaes(seed: int, _root: int, _population: int) -> BaseSampler:
    return optuna.samplers.CmaEsSampler(seed=seed, independent_sampler=_random(seed), warn_independent_sampling=False)


def _nsga2(seed: int, _root: int, population: int) -> BaseSampler:
    return optuna.samplers.NSGAIISampler(seed=seed, population_size=max(2, population))


SAMPLERS: Mapping[str, Callable[[int, int, int], BaseSampler]] = {
    "tpe": _tpe,
    "random": lambda seed, _root, _population: _random(seed),
    "qmc": _qmc,
    "cmaes": _cmaes,
    "gp": _gp,
    "nsga2": _nsga2,
}
"""Name -> what makes it, given the seed of the trial, that of the study, and the size of a batch."""
REMEMBERING = frozenset({"qmc", "cmaes", "nsga2"})
"""Those that go on from what they proposed before, and so have to propose all of it again."""


class Proposer:
    """Proposes the trials of one study, batch by batch."""

    def __init__(self, name: str, space: Space, *, seed: int, population: int, objectives: int = 1) -> None:
        self._name, self._space, self._objectives = name, space, objectives
        self._seed, self._population = seed, population
        self._asked: dict[int, int] = {}
        """Proposals since the last call of `learn` by number, with their numbers in memory."""
        self._told = self._left_out = 0
        self._storage = InMemoryStorage()
        self._study = self._empty_study()

    def learn(self, finished: Sequence[TrialRecord], given: Callable[[int], bool]) -> None:
        """Take note of all trials before the next batch; `given` says of a number whether it was not sampled.

        `finished` are those of the last call and newer ones.
        """
        if self._asked.keys() - {record.number for record in finished[self._told :]}:
            self._forget()  # what was proposed has not ended: it is proposed again
        left_out = 0 if self._name in REMEMBERING else max(0, len(finished) - LATEST) // REFRESH * REFRESH
        if left_out != self._left_out:
            self._forget()
            best = sorted(ranking(finished[:left_out])[:BEST], key=lambda record: record.number)
            self._study.add_trials([self._frozen(record) for record in best])
            self._told = self._left_out = left_out
        newer = finished[self._told :]
        for _, together in itertools.groupby(newer, key=lambda record: record.batch[0]):
            batch = list(together)
            for record in batch if self._name in REMEMBERING else ():
                if record.number not in self._asked:
                    parameters = self._space.parameters(record.hyper) if given(record.number) else None
                    self.propose(record.number, parameters, record.enqueued)
            for record in batch:
                self._tell(record)
        self._told = len(finished)
        self._asked.clear()

    def propose(
        self, number: int, given: Mapping[str, Value] | None, enqueued: Mapping[str, Value] | None = None
    ) -> dict[str, Value]:
        """The parameters of a trial: those `given`, or what the sampler chooses, but for those `enqueued`.

        Raises InputError when hardly anything that it chooses fulfils the constraints of the space.
        """
        fixed = dict(enqueued or {})
        for attempt in range(ATTEMPTS if given is None else 0):
            trial = self._suggest(self._study, self._sampler(number, attempt), fixed)
            self._asked[number] = trial.number
            if self._fits(trial.params, fixed):
                return dict(trial.params)
            self._study.tell(trial, state=TrialState.FAIL)
        parameters = self._at_random(number, fixed) if given is None else dict(given)
        self._asked[number] = len(self._study.get_trials(deepcopy=False))
        self._study.add_trial(
            create_trial(
                state=TrialState.RUNNING, params=parameters, distributions=self._space.distributions(parameters)
            )
        )
        return parameters

    def _fits(self, parameters: Mapping[str, Value], fixed: Mapping[str, Value]) -> bool:
        """Whether the space admits parameters among which are all that are fixed, as a condition can rule some out."""
        return fixed.items() <= parameters.items() and self._space.admits(parameters)

    def _suggest(self, study: optuna.Study, sampler: BaseSampler, fixed: dict[str, Value]) -> Trial:
        study.sampler = _Rounding(sampler, self._space)
        if fixed:
            study.enqueue_trial(fixed)
        trial = study.ask()
        self._space.choose(lambda name, dimension: dimension.suggest(trial, name))
        return trial

    def _sampler(self, number: int, attempt: int) -> BaseSampler:
        trial, root = (
            derive(self._seed, "sampler", *name) % 2**32 for name in (("trial", number, "attempt", attempt), ())
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return SAMPLERS[self._name](trial, root, self._population)

    def _at_random(self, number: int, fixed: dict[str, Value]) -> dict[str, Value]:
        """An admissible configuration from all that the dimensions span which are not fixed."""
        study = optuna.create_study()
        sampler = _random(derive(self._seed, "sampler", "trial", number, "at random") % 2**32)
        attempts = 1 if fixed.keys() >= self._space.dimensions.keys() else RANDOM_ATTEMPTS
        for _ in range(attempts):
            parameters = self._suggest(study, sampler, fixed).params
            if self._fits(parameters, fixed):
                return dict(parameters)
        among = f" with {fixed}" if fixed else ""
        raise InputError(
            f"the constraints of a space must leave something to try, but none of {attempts} configurations drawn at "
            f"random{among} fulfils them; loosen them"
        )

    def _empty_study(self) -> optuna.Study:
        directions = [StudyDirection.MINIMIZE] * self._objectives
        return optuna.create_study(storage=self._storage, directions=directions)

    def _forget(self) -> None:
        self._told = self._left_out = 0
        self._storage = InMemoryStorage()
        self._study = self._empty_study()
        self._asked.clear()

    def _frozen(self, record: TrialRecord) -> FrozenTrial:
        parameters = self._space.parameters(record.hyper)
        errors = record.searched
        pruned = record.state == "pruned"
        return create_trial(
            state={"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}[
                record.state
            ],
            values=None if record.state == "failed" else [errors[-1]] if pruned else record.values,
            params=parameters,
            distributions=self._space.distributions(parameters),
            intermediate_values={len(errors): errors[-1]} if pruned else {},
        )

    def _tell(self, record: TrialRecord) -> None:
        """Let the study in memory know how a trial ended."""
        index = self._asked.get(record.number)
        if index is None:
            self._study.add_trial(self._frozen(record))
        elif record.state == "complete":
            self._study.tell(index, record.values)
        elif record.state == "pruned":
            errors = record.searched
            study_id = self._storage.get_study_id_from_name(self._study.study_name)
            trial_id = self._storage.get_trial_id_from_study_id_trial_number(study_id, index)
            self._storage.set_trial_intermediate_value(trial_id, len(errors), errors[-1])
            self._study.tell(index, state=TrialState.PRUNED)
        else:
            self._study.tell(index, state=TrialState.FAIL)


class _Rounding(BaseSampler):
    """A sampler whose proposals are rounded as the space says, before they are part of a trial."""

    def __init__(self, sampler: BaseSampler, space: Space) -> None:
        self._sampler, self._space = sampler, space

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The sampler's own."""
        return self._sampler.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The sampler's own, rounded."""
        sampled = self._sampler.sample_relative(study, trial, search_space)
        return {name: self._space.dimensions[name].rounded(value) for name, value in sampled.items()}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """The sampler's own, rounded."""
        value = self._sampler.sample_independent(study, trial, param_name, param_distribution)
        return self._space.dimensions[param_name].rounded(value)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """The sampler's own."""
        self._sampler.before_trial(study, trial)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """The sampler's own."""
        self._sampler.after_trial(study, trial, state, values)
