"""Searches over real SQLite studies, which may end at any point and go on."""

from __future__ import annotations

import itertools
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
from sqlalchemy import event

from pipeline.base.seeds import numpy_generator
from pipeline.tuning.ledger import Ledger, Method
from pipeline.tuning.paths import pooled
from pipeline.tuning.space import Space
from pipeline.tuning.storage import Storage, open_storage
from pipeline.tuning.trial_samplers import TrialSampler
from pipeline.tuning.trials import PlannedTrial, TrialRecord
from tests.tuning.results import SAMPLED, result, space

POPULATION = 4
SEED = 3
BEGINNING = datetime(2000, 1, 1)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is searched and how; `open` is what a new process does."""

    trial_sampler: TrialSampler = SAMPLED
    space: Space = field(default_factory=space)
    sampler: str = "tpe"
    seed: int = SEED
    pruner: str = "median"
    select: str = "mean"
    objectives: int = 1
    replicate: bool = False

    def open(self, path: Path, protocol: dict[str, Any] | None = None, name: str = "study") -> Ledger:
        return self.open_in(open_storage(f"sqlite:///{path}"), protocol, name)

    def open_in(self, storage: Storage, protocol: dict[str, Any] | None = None, name: str = "study") -> Ledger:
        method = Method(
            space=self.space,
            trial_sampler=self.trial_sampler,
            sampler=self.sampler,
            population=POPULATION,
            seed=self.seed,
            pruner=self.pruner,
            select=self.select,
            objectives=self.objectives,
            replicate=self.replicate,
        )
        return Ledger.open(storage, name, protocol or {"model": "mlp_al"}, method)

    def tell(self, ledger: Ledger, trial: PlannedTrial) -> None:
        """Try a configuration and tell what it gave, as all draws of it say together."""
        found = result(trial)
        if trial.draw:
            before = {(record.hyper.canonical, record.samples, record.draw): record for record in ledger.records()}
            last = before[trial.hyper.canonical, trial.samples, trial.draw - 1]
            found = pooled(found, last, f"trial {last.number}")
        cost = float(trial.hyper.epochs / trial.hyper.batch_size) if self.objectives == 2 else None
        ledger.tell(trial.number, found, cost=cost)


BY_TPE = Plan()


def open_ledger(path: Path, protocol: dict[str, Any] | None = None, **changes: Any) -> Ledger:
    """The ledger of the search by TPE, unless the plan is changed."""
    return replace(BY_TPE, **changes).open(path, protocol)


class Search:
    """A search that ran through, with a copy of its database after every step."""

    def __init__(self, plan: Plan, folder: Path, empty_studies: Path) -> None:
        self.plan = plan
        self.copies: list[Path] = []
        self.asked: list[list[PlannedTrial]] = []
        self.path = Path(shutil.copy(empty_studies, folder / "whole.db"))
        ledger = plan.open(self.path)
        for asked in steps(ledger, plan):
            copy = folder / f"{len(self.copies)}.db"
            with closing(sqlite3.connect(self.path)) as whole, closing(sqlite3.connect(copy)) as part:
                whole.backup(part)
            self.copies.append(copy)
            if asked:
                self.asked.append(asked)
        self.planned = ledger.planned
        self.records = ledger.records()
        self.table = table(ledger)
        self.trials = study_at(self.path).trials


def study_at(path: Path) -> optuna.Study:
    return optuna.load_study(study_name="study", storage=open_storage(f"sqlite:///{path}"))


def steps(ledger: Ledger, plan: Plan = BY_TPE) -> Iterator[list[PlannedTrial]]:
    """Search; yields what was asked after each batch is asked, and nothing after each trial is told."""
    while asked := ledger.next_batch():
        yield asked
        for trial in asked:
            if not trial.is_recorded:
                plan.tell(ledger, trial)
                yield []


def finish(ledger: Ledger, plan: Plan = BY_TPE) -> Any:
    list(steps(ledger, plan))
    return table(ledger)


def table(ledger: Ledger) -> list[TrialRecord]:
    """Everything that is known of finished trials, but for the times."""
    return [replace(record, seconds=0.0, started=BEGINNING, ended=BEGINNING) for record in ledger.records()]


def one_at_a_time(plan: Plan, path: Path) -> Any:
    """Search with a new ledger for every answer."""
    storage = open_storage(f"sqlite:///{path}")
    while asked := (ledger := plan.open_in(storage)).next_batch():
        plan.tell(ledger, next(trial for trial in asked if not trial.is_recorded))
    return table(plan.open(path))


class Death(BaseException):
    """The process ends here."""


def die_before_transaction(ledger: Ledger, count: int) -> None:
    countdown = itertools.count(count, -1)

    def begin(_connection: object) -> None:
        if next(countdown) <= 0:
            raise Death

    event.listen(ledger._storage.engine, "begin", begin)


def lives(plan: Plan, path: Path, seed: int) -> Iterator[bool]:
    """Search until the end, dying before some transaction of each life; yields whether it died."""
    lengths = numpy_generator(seed, "lives")
    while True:
        ledger = plan.open(path)
        die_before_transaction(ledger, int(lengths.integers(15, 60)))
        try:
            finish(ledger, plan)
        except Death:
            yield True
        else:
            return
