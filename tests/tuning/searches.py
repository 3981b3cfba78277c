"""Searches over real SQLite studies, which may end at any point and go on."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from sqlalchemy import event

from pipeline.seeds import numpy_generator
from pipeline.tuning.ledger import Ledger
from pipeline.tuning.space import Space
from pipeline.tuning.storage import open_storage
from pipeline.tuning.strategies import Strategy
from pipeline.tuning.trials import Asked
from tests.tuning.findings import TPE, finding, space

POPULATION = 4
SEED = 3


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is searched and how; `open` is what a new process does."""

    strategy: Strategy = TPE
    space: Space = field(default_factory=space)
    pruner: str = "median"
    select: str = "mean"

    def open(self, path: Path, protocol: dict[str, Any] | None = None) -> Ledger:
        return Ledger.open(
            open_storage(f"sqlite:///{path}"),
            "study",
            protocol or {"model": "mlp_al"},
            self.space,
            self.strategy,
            seed=SEED,
            pruner=self.pruner,
            select=self.select,
        )


def open_ledger(path: Path, protocol: dict[str, Any] | None = None, **changes: Any) -> Ledger:
    """The ledger of the search by TPE, unless the plan is changed."""
    return Plan(**changes).open(path, protocol)


class Search:
    """A search that ran through, with a copy of its database after every step."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan = plan
        self.copies: list[Path] = []
        self.asked: list[list[Asked]] = []
        ledger = plan.open(folder / "whole.db")
        for asked in steps(ledger):
            copy = folder / f"{len(self.copies)}.db"
            with closing(sqlite3.connect(folder / "whole.db")) as whole, closing(sqlite3.connect(copy)) as part:
                whole.backup(part)
            self.copies.append(copy)
            if asked:
                self.asked.append(asked)
        self.planned = ledger.planned
        self.records = ledger.records()
        self.table = table(ledger)
        self.trials = study_at(folder / "whole.db").trials


def study_at(path: Path) -> optuna.Study:
    return optuna.load_study(study_name="study", storage=open_storage(f"sqlite:///{path}"))


def steps(ledger: Ledger) -> Iterator[list[Asked]]:
    """Search; yields what was asked after each generation is asked, and nothing after each trial is told."""
    while asked := ledger.next_generation(POPULATION):
        yield asked
        for trial in asked:
            ledger.tell(trial.number, finding(trial))
            yield []


def finish(ledger: Ledger) -> Any:
    list(steps(ledger))
    return table(ledger)


def table(ledger: Ledger) -> list[tuple[Any, ...]]:
    """Everything that is known of finished trials, but for the times."""
    return [
        (
            *(record.number, record.state, record.reason, record.hyper, record.pairs),
            *(record.error, record.score, record.curves, record.fold_errors, record.read_off),
        )
        for record in ledger.records()
    ]


def one_at_a_time(plan: Plan, path: Path) -> Any:
    """Search with a new process for every question and for every answer."""
    while asked := plan.open(path).next_generation(POPULATION):
        plan.open(path).tell(asked[0].number, finding(asked[0]))
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
        die_before_transaction(ledger, int(lengths.integers(20, 60)))
        try:
            finish(ledger)
        except Death:
            yield True
        else:
            return
