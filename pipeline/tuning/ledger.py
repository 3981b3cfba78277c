"""The ledger: an Optuna study as the record of a search, from which everything else can be made again.

A search proceeds in the steps of its sampler, and each step in *batches*: `population` trials at a time, asked
for together, trained together and told in the order of their numbers. What is proposed, and what a trial is compared
with when it may be pruned, depends on earlier batches alone. So a search that is killed anywhere and started again
asks for the same configurations as one that ran through: trials that were running are taken up under their own numbers.

People can enqueue trials of their own: see `pipeline.tuning.foreign_trials`.
"""

from __future__ import annotations

import itertools
import json
import uuid
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

import numpy as np
import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from pipeline.base.errors import InputError
from pipeline.base.stored import SAMPLES, TRIAL_BATCH
from pipeline.models.hyperparameters import Hyperparameters
from pipeline.training.machine import UNKNOWN
from pipeline.training.plan import StopRule
from pipeline.tuning.foreign_trials import ForeignTrialError, ForeignTrials, enqueued, is_made_here
from pipeline.tuning.paths import Known
from pipeline.tuning.pruning import stop_rules
from pipeline.tuning.records import BEGUN, FOUND, count_trials, finished_since, first_unfinished
from pipeline.tuning.samplers import SAMPLERS, Proposer
from pipeline.tuning.space import Space
from pipeline.tuning.storage import Storage
from pipeline.tuning.trial_samplers import Proposal, TrialSampler
from pipeline.tuning.trials import (
    PlannedTrial,
    Recheck,
    TrialBatch,
    TrialRecord,
    TrialResult,
    searched,
    selection_score,
)

DECIMALS = 6
RUNS = "mlflow_runs"
"""The attribute of a study in which it remembers which trials have a complete run."""
MACHINES, MACHINES_VERSION = "machines", 1
"""The attribute of a study in which it remembers what its trials were computed on, and the form that this has."""


@dataclass(frozen=True, kw_only=True)
class Method:
    """How a study is searched."""

    space: Space
    trial_sampler: TrialSampler
    sampler: str = "tpe"
    """One of `SAMPLERS`, or another name where all combinations are tried."""
    population: int
    """Trials of a batch."""
    seed: int
    pruner: str = "none"
    select: str = "mean"
    objectives: int = 1
    """1: the error; 2: something besides."""
    replicate: bool = False
    """Whether a configuration that was tried before is tried on another draw of samples."""

    @property
    def epochs(self) -> int:
        """The most that any trial trains."""
        dimension = self.space.dimensions.get("epochs")
        return int(max(dimension.ends)) if dimension else self.space.preset.epochs


@dataclass(frozen=True, kw_only=True)
class LoggedRuns:
    """Which trials have a complete run in the tracker."""

    search: str
    """Id of the run of the search that said so: where there is none of this id is another tracker."""
    trials: Collection[int]


class Ledger:
    """One study. Every call that changes it leaves it in a state that a new process can go on from."""

    def __init__(self, storage: Storage, study: optuna.Study, method: Method) -> None:
        self._storage, self._study, self._method = storage, study, method
        self._name, self._study_id = study.study_name, study._study_id
        self._id = str(study.user_attrs["id"])
        sampler = method.sampler if method.sampler in SAMPLERS else "random"
        self._proposer = Proposer(
            sampler, method.space, seed=method.seed, population=method.population, objectives=method.objectives
        )
        self._records: dict[int, TrialRecord] = {}
        self._read_from = 0
        """All trials below this number have ended, and were read."""
        self._foreign = ForeignTrials(storage, self._name, method.space, complete=method.trial_sampler.complete)
        self._noted: list[dict[str, Any]] | None = None
        """What the study remembers of machines, once it was read."""

    @classmethod
    def open(cls, storage: Storage, name: str, protocol: Mapping[str, Any], method: Method) -> Ledger:
        """Create the study, or go on with it if it was made under the same protocol.

        `protocol` is everything that the numbers depend on. Raises InputError, naming the differences, when the study
        of this name was made under another one.
        """
        study = storage.retry(lambda: cls._study_of(storage, name, protocol, method))
        return cls(storage, study, method)

    @staticmethod
    def _study_of(storage: Storage, name: str, protocol: Mapping[str, Any], method: Method) -> optuna.Study:
        directions = [StudyDirection.MINIMIZE] * method.objectives
        study = optuna.create_study(storage=storage, study_name=name, directions=directions, load_if_exists=True)
        recorded = study.user_attrs.get("protocol")
        if recorded is None:
            if count_trials(storage, study._study_id):
                raise InputError(f"the study {name!r} was not made by this program; choose another --study")
            study.set_user_attr("id", uuid.uuid4().hex)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                study.set_metric_names(["validation error", "cost"][: method.objectives])
            study.set_user_attr("protocol", dict(protocol))
            recorded = protocol
        _check_same(name, recorded, protocol)
        return study

    @property
    def name(self) -> str:
        """The study's name."""
        return self._name

    @property
    def id(self) -> str:
        """What tells the study from others of the same name in other databases."""
        return self._id

    @property
    def preset(self) -> Hyperparameters:
        """What a search tries first."""
        return self._method.space.preset

    @property
    def planned(self) -> int:
        """How many trials the study will have, as far as can be known."""
        return self._method.trial_sampler.total(self._method.space, self.records())

    def next_batch(self) -> list[PlannedTrial]:
        """The configurations to try next; empty when the study has all.

        Those of an interrupted batch are all among them, the ones that are told already too: what trains beside a
        trial decides its last bits.
        """
        while True:
            with suppress(ForeignTrialError):  # now it is known, or is marked as failed
                return self._next_batch()

    def _next_batch(self) -> list[PlannedTrial]:
        records, population = self.records(), self._method.population
        begin, proposals = 0, list[Proposal]()
        for step in self._method.trial_sampler.steps(self._method.space, records):
            proposals += step
            if len(proposals) > len(records):
                break
            begin = len(proposals)
        if len(records) >= len(proposals):
            return []
        size = self.size
        places = self._places(proposals, size)
        numbers = list(places)
        start = begin + (len(records) - begin) // population * population
        together = numbers[start : start + population]
        batch = together[0], together[-1] + 1
        earlier = records[:start]
        self._proposer.learn(earlier, lambda number: places[number].parameters is not None)
        draws = _Draws(earlier, self._method.replicate)
        rule = stop_rules(self._method.pruner, earlier, self._method.epochs)
        trials = [
            self._ask(number, places[number], batch, draws, rule, self._trial(number) if number < size else None)
            for number in together
        ]
        # What was told of a search that was shorter has not been interrupted.
        return [trial for trial in trials if not trial.is_recorded or self._records[trial.number].batch == batch]

    def _places(self, proposals: Sequence[Proposal], size: int) -> dict[int, Proposal]:
        """Number of a trial -> what is proposed for it, as many as there are proposals; of the trials `size` exist.

        Trials that people have enqueued stand between them; those that were ended by others have no place.
        """
        places = dict[int, Proposal]()
        left = iter(proposals)
        for number in itertools.count():
            if len(places) == len(proposals):
                return places
            if number in self._foreign.left_out:
                continue
            record = self._records.get(number)
            trial = self._trial(number) if record is None and number < size else None
            if trial is None or is_made_here(trial):
                wanted = enqueued(trial) if trial is not None else None if record is None else record.enqueued
                places[number] = next(left) if wanted is None else Proposal(parameters=None, enqueued=wanted)
            elif (wanted := self._foreign.examine(trial)) is not None:
                places[number] = Proposal(parameters=None, enqueued=wanted)
        raise AssertionError  # numbers do not end

    def _ask(
        self,
        number: int,
        proposal: Proposal,
        batch: TrialBatch,
        draws: _Draws,
        rule: Callable[[int], StopRule | None],
        known: FrozenTrial | None,
    ) -> PlannedTrial:
        """Propose the configuration of a trial, which runs from now on, and exists if it did not before."""
        is_foreign = known is not None and not is_made_here(known)
        with self._foreign.refusing(known) if known is not None and is_foreign else nullcontext():
            parameters = self._proposer.propose(number, proposal.parameters, proposal.enqueued)
        hyper = self._method.space.hyper(parameters)
        draw = draws.next(hyper, proposal.samples)
        begun = {
            SAMPLES: proposal.samples,
            "draw": draw,
            TRIAL_BATCH: batch,
            "config": hyper.as_dict(),
            **({"enqueued": proposal.enqueued} if is_foreign else {}),
        }
        shown = {"config_hash": hyper.hash, **({SAMPLES: proposal.samples} if proposal.samples else {})}
        if known is None:
            trial = create_trial(
                state=TrialState.RUNNING,
                params=parameters,
                distributions=self._method.space.distributions(parameters),
                user_attrs=shown,
                system_attrs={BEGUN: begun},
            )
            self._storage.retry(lambda: self._add(number, trial))
        elif is_foreign:
            self._foreign.adopt(known, parameters, shown, begun)
        elif known.params != parameters:
            raise InputError(
                f"a study goes on with the proposals that it began with, but trial {number} of {self.name!r} was "
                f"{known.params}, and this version proposes {parameters}; choose another --study"
            )
        elif known.state is TrialState.WAITING:
            run = partial(self._storage.set_trial_state_values, known._trial_id, TrialState.RUNNING)
            self._storage.retry(run)
        return PlannedTrial(
            number=number,
            hyper=hyper,
            samples=proposal.samples,
            draw=draw,
            stop=rule(number),
            batch=batch,
            enqueued=proposal.enqueued,
            is_recorded=number in self._records,
        )

    def _add(self, number: int, trial: FrozenTrial) -> None:
        """Create a trial, unless that was done when the answer was lost.

        Raises ForeignTrialError when somebody else has made one of this number in the meantime.
        """
        if count_trials(self._storage, self._study_id) == number:
            trial_id = self._storage.create_new_trial(self._study_id, template_trial=trial)
            if self._storage.get_trial_number_from_id(trial_id) == number:
                return
            self._storage.set_trial_system_attr(trial_id, BEGUN, None)
            self._storage.set_trial_state_values(trial_id, TrialState.FAIL)
            raise ForeignTrialError
        if not is_made_here(self._storage.get_trial(self._trial_id(number))):
            raise ForeignTrialError

    def _trial(self, number: int) -> FrozenTrial:
        return self._storage.retry(lambda: self._storage.get_trial(self._trial_id(number)))

    def _trial_id(self, number: int) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self._study_id, number)

    def attach(self, number: int, name: str, value: str) -> None:
        """Keep something with a trial that is running, where people who look at the study see it."""
        self._storage.retry(lambda: self._storage.set_trial_user_attr(self._trial_id(number), name, value))

    def tell(self, number: int, result: TrialResult, *, cost: float | None = None, seconds: float = 0.0) -> None:
        """Acknowledge a trial: once this returns, nothing of it can be lost.

        `cost` is what is minimised besides the error, where there are two objectives; `seconds` the trial's share of
        the time that its batch took.
        """
        self._storage.retry(lambda: self._tell(number, result, cost, _found(result, seconds)))
        self._records.pop(number, None)  # what was expected of it had not the time at which it was told

    def _tell(self, number: int, result: TrialResult, cost: float | None, found: Mapping[str, Any]) -> None:
        trial_id = self._trial_id(number)
        text = json.dumps(found)  # as text, since what diverged is no JSON number everywhere
        trial = self._storage.get_trial(trial_id)
        if trial.state.is_finished() and trial.system_attrs.get(FOUND) == text:  # it was told, and the answer was lost
            return
        self._storage.set_trial_system_attr(trial_id, FOUND, text)
        for name, value in _shown(found).items():
            self._storage.set_trial_user_attr(trial_id, name, value)
        if result.state == "failed":
            self._study.tell(number, state=TrialState.FAIL)
            return
        for epoch, error in enumerate(searched(found["curves"], result.metric), start=1):
            # Not `trial.report`, which warns of what a process that died here has reported already.
            self._storage.set_trial_intermediate_value(trial_id, epoch, float(error))
        if result.state == "pruned":
            self._study.tell(number, state=TrialState.PRUNED)
        else:
            score = self._score(result)
            self._study.tell(number, [score] if cost is None else [score, cost])

    def expect(
        self, trial: PlannedTrial, result: TrialResult, *, cost: float | None = None, seconds: float = 0.0
    ) -> None:
        """Go on as if a trial was told, which it is to be next: so its keeping need not hold up the next batch."""
        complete = result.state == "complete"
        found = _found(result, seconds)
        now = datetime.now()
        self._records[trial.number] = TrialRecord(
            number=trial.number,
            state=result.state,
            error=searched(found["curves"], result.metric)[-1] if complete else None,
            score=self._score(result) if complete else None,
            cost=cost if complete else None,
            hyper=trial.hyper,
            samples=trial.samples,
            draw=trial.draw,
            batch=trial.batch,
            enqueued=trial.enqueued,
            started=now,
            ended=now,
            **found,
        )

    def _score(self, result: TrialResult) -> float:
        return round(selection_score([fold[-1] for fold in result.fold_errors], self._method.select), DECIMALS)

    def elsewhere(self, same: Sequence[str]) -> list[Known]:
        """The finished trials of other studies in the storage whose protocols are equal in these parts."""
        return self._storage.retry(lambda: self._elsewhere(same))

    def _elsewhere(self, same: Sequence[str]) -> list[Known]:
        mine = self._study.user_attrs["protocol"]
        known = []
        for study in self._storage.get_all_studies():
            other = study.user_attrs.get("protocol")
            if study.study_name == self.name or other is None or any(other.get(key) != mine.get(key) for key in same):
                continue
            known += [
                Known(f"trial {record.number} of study {study.study_name}", record)
                for record in finished_since(self._storage, study.study_name)
                if record.curves and not record.source and not record.draw
            ]
        return known

    def note_machine(self, machine: Mapping[str, str]) -> None:
        """Remember what the trials that are not finished yet are computed on, where the last ones were on another."""
        records = self.records()
        begin = records[-1].number + 1 if records else 0
        before = self._machines()
        self._noted = [entry for entry in before if entry["from"] < begin]
        if not self._noted or self._noted[-1]["machine"] != dict(machine):
            self._noted.append({"from": begin, "machine": dict(machine)})
        if self._noted != before:
            kept = {"version": MACHINES_VERSION, "machines": self._noted}
            self._storage.retry(lambda: self._study.set_user_attr(MACHINES, kept))

    def machine_of(self, number: int) -> Mapping[str, str]:
        """What a trial was computed on; of one that is older than such records it is not known."""
        if self._noted is None:
            self._noted = self._machines()
        machine: Mapping[str, str] = UNKNOWN
        for entry in self._noted:
            if entry["from"] <= number:
                machine = entry["machine"]
        return machine

    def _machines(self) -> list[dict[str, Any]]:
        kept = self._storage.retry(lambda: self._study.user_attrs.get(MACHINES))
        return list(kept["machines"]) if kept and kept["version"] == MACHINES_VERSION else []

    @property
    def size(self) -> int:
        """How many trials there are, in whatever state."""
        return self._storage.retry(lambda: count_trials(self._storage, self._study_id))

    @property
    def runs(self) -> LoggedRuns | None:
        """What the last search that logged trials has kept of their runs."""
        kept = self._storage.retry(lambda: self._storage.get_study_user_attrs(self._study_id).get(RUNS))
        if kept is None:
            return None
        trials = {number for first, last in kept["trials"] for number in range(first, last + 1)}
        return LoggedRuns(search=kept["search"], trials=trials)

    def keep_runs(self, runs: LoggedRuns) -> None:
        """Keep it, instead of what was kept before; the trials as the first and last number of each row of them."""
        rows = list[list[int]]()
        for number in sorted(runs.trials):
            if rows and rows[-1][1] == number - 1:
                rows[-1][1] = number
            else:
                rows.append([number, number])
        kept = {"search": runs.search, "trials": rows}
        self._storage.retry(lambda: self._storage.set_study_user_attr(self._study_id, RUNS, kept))

    @property
    def rechecked(self) -> Recheck | None:
        """What trying the best again gave, if that was done."""
        kept = self._storage.retry(lambda: self._study.user_attrs.get("recheck"))
        if kept is None:
            return None
        folds = {int(number): errors for number, errors in kept["fold_errors"].items()}
        return Recheck(fold_errors=folds, replica_epochs=kept["replica_epochs"], seconds=kept["seconds"])

    def keep_recheck(self, recheck: Recheck) -> None:
        """Keep what trying the best again gave, instead of what was kept of others."""
        rounded = {number: np.round(errors, DECIMALS).tolist() for number, errors in recheck.fold_errors.items()}
        kept = {
            "fold_errors": rounded,
            "replica_epochs": recheck.replica_epochs,
            "seconds": round(recheck.seconds, 3),
        }
        self._storage.retry(lambda: self._study.set_user_attr("recheck", kept))

    def record(self, number: int) -> TrialRecord:
        """A finished trial."""
        if number not in self._records:
            self.records()
        return self._records[number]

    def records(self) -> list[TrialRecord]:
        """All finished trials by number."""
        unfinished = self._storage.retry(lambda: first_unfinished(self._storage, self._study_id))
        for record in self._storage.retry(lambda: finished_since(self._storage, self.name, self._read_from)):
            self._records.setdefault(record.number, record)
        self._read_from = unfinished
        return [self._records[number] for number in sorted(self._records)]


def check_protocol(storage: Storage, name: str, protocol: Mapping[str, Any]) -> None:
    """Raise InputError if there is a study of this name that was made under another protocol."""
    with suppress(KeyError):
        recorded = storage.get_study_user_attrs(storage.get_study_id_from_name(name)).get("protocol")
        if recorded is not None:
            _check_same(name, recorded, protocol)


def _check_same(name: str, recorded: Mapping[str, Any], protocol: Mapping[str, Any]) -> None:
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


def finished_trials(storage: Storage, name: str) -> list[TrialRecord]:
    """Those of a study by number; none if there is no study of this name."""
    try:
        return finished_since(storage, name)
    except KeyError:
        return []


class _Draws:
    """Counts how often a configuration was tried."""

    def __init__(self, earlier: Sequence[TrialRecord], replicate: bool) -> None:
        self._replicate = replicate
        self._next: dict[tuple[Hyperparameters, int], int] = {}
        for record in earlier if replicate else ():
            if record.state == "complete":
                self._next[record.hyper.canonical, record.samples] = record.draw + 1

    def next(self, hyper: Hyperparameters, samples: int) -> int:
        """The draw on which it is tried next."""
        draw = self._next.get((hyper.canonical, samples), 0)
        if self._replicate:
            self._next[hyper.canonical, samples] = draw + 1
        return draw


def _found(result: TrialResult, seconds: float) -> dict[str, Any]:
    """What is kept of a result besides its state."""
    return {
        "curves": {name: np.round(curve, DECIMALS).tolist() for name, curve in result.curves.items()},
        "fold_errors": [np.round(errors, DECIMALS).tolist() for errors in result.fold_errors],
        "metric": result.metric,
        "reason": result.reason,
        "source": result.source,
        "replica_epochs": result.replica_epochs,
        "seconds": round(seconds, 3),
    }


def _shown(found: Mapping[str, Any]) -> dict[str, Any]:
    """What people see of a result beside a trial's values."""
    shown = {name: found[name] for name in ("reason", "source", "replica_epochs") if found[name]}
    if found["fold_errors"] and all(found["fold_errors"]):
        shown[f"validation_{found['metric']}_of_folds"] = [errors[-1] for errors in found["fold_errors"]]
    apart = (f"validation_{found['metric']}", "validation_loss")
    others = {name: values[-1] for name, values in found["curves"].items() if values and name not in apart}
    return shown | {name: value for name, value in others.items() if name.startswith("validation_")}
