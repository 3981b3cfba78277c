"""Trials: what was asked, what it gave, and what the ledger keeps of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

import numpy as np

from pipeline.models.hyperparameters import Hyperparameters, Value
from pipeline.training.plan import StopRule

SELECTIONS = ("mean", "mean+std")
"""What is minimised: the mean of the searched metric over folds, or that plus its standard deviation."""
State = Literal["complete", "pruned", "failed"]
TrialBatch = tuple[int, int]
"""The trials that are asked for and train together: the first number, and the one after the last."""


@dataclass(frozen=True, kw_only=True)
class PlannedTrial:
    """A configuration to be tried."""

    number: int
    hyper: Hyperparameters
    samples: int = 0
    """Training samples of a round; 0 for as many as the search has."""
    draw: int = 0
    """Which draw of samples and folds; above 0 for a configuration that is tried again to know it better."""
    stop: StopRule | None
    batch: TrialBatch
    enqueued: Mapping[str, Value] | None = None
    """What somebody has asked for, where the trial was enqueued by hand; the sampler has chosen the rest."""
    is_recorded: bool = False
    """Whether its result is kept already: it trains once more only for the sake of those beside it."""
    started: datetime = field(default_factory=datetime.now, compare=False)


def searched(curves: Mapping[str, Sequence[float]], metric: str) -> Sequence[float]:
    """Which of the curves is minimised; empty if there is none."""
    return curves.get(f"validation_{metric}", ())


@dataclass(frozen=True, kw_only=True)
class TrialResult:
    """What trying it gave: mean curves over folds by name, and every fold's value of the metric that is searched."""

    curves: Mapping[str, Sequence[float]]
    """Name -> one value an epoch: losses, and every metric as `validation_<metric>`."""
    fold_errors: Sequence[Sequence[float]]
    """(F, E) the searched metric of every fold after every epoch."""
    metric: str = "error"
    """The one that is searched: minimised."""
    state: State
    reason: str = ""
    source: str = ""
    """The trial whose training this one was read off, or that it adds to; empty if it stands alone."""
    replica_epochs: int = 0
    """What was trained for it."""


@dataclass(frozen=True, kw_only=True)
class TrialRecord:
    """A finished trial as the ledger has it."""

    number: int
    state: State
    reason: str
    error: float | None
    """Mean of the searched metric over folds after the last epoch; None unless complete."""
    score: float | None
    """What is minimised, see `SELECTIONS`; None unless complete."""
    cost: float | None = None
    """What is minimised besides, where there are two objectives; None unless complete."""
    hyper: Hyperparameters
    samples: int
    """Training samples of a round; 0 for as many as the search has."""
    draw: int = 0
    curves: Mapping[str, Sequence[float]]
    fold_errors: Sequence[Sequence[float]]
    metric: str = "error"
    """The one that is searched."""
    source: str = ""
    batch: TrialBatch = (0, 1)
    enqueued: Mapping[str, Value] | None = None
    """What somebody has asked for, where the trial was enqueued by hand."""
    replica_epochs: int = 0
    seconds: float = 0.0
    """Its share of the time that its batch took."""
    started: datetime
    ended: datetime

    @property
    def searched(self) -> Sequence[float]:
        """The mean of the searched metric over folds after every epoch."""
        return searched(self.curves, self.metric)

    @property
    def values(self) -> list[float]:
        """The objectives of a complete trial."""
        assert self.score is not None
        return [self.score] if self.cost is None else [self.score, self.cost]

    @property
    def last_errors(self) -> list[float]:
        """The searched metric of every fold after the last epoch."""
        return [errors[-1] for errors in self.fold_errors]


@dataclass(frozen=True, kw_only=True)
class Recheck:
    """The best trials tried again, on samples, folds and weights that no trial has seen."""

    fold_errors: Mapping[int, Sequence[float]]
    """Trial -> the searched metric of every fold after the last epoch; none for a trial that failed this time."""
    replica_epochs: int
    seconds: float

    def score(self, number: int, select: str) -> float:
        """What is minimised, of one trial; infinite if it failed."""
        errors = self.fold_errors[number]
        return selection_score(errors, select) if errors else math.inf


def selection_score(last_errors: Sequence[float], select: str) -> float:
    """What is minimised, from the searched metric of every fold after the last epoch."""
    spread = float(np.std(last_errors, ddof=1)) if select == "mean+std" else 0.0
    return float(np.mean(last_errors)) + spread


def ranking(records: Sequence[TrialRecord]) -> list[TrialRecord]:
    """The complete trials, the least score first and the earlier one of equals; each configuration once.

    A configuration that was tried on several draws stands with what all of them say.
    """
    tried: dict[tuple[Hyperparameters, int], TrialRecord] = {}
    for record in records:
        configuration = record.hyper.canonical, record.samples
        if record.score is not None and (configuration not in tried or record.draw):
            tried[configuration] = record
    return sorted(tried.values(), key=lambda record: (record.score, record.number))


def best_of(records: Sequence[TrialRecord]) -> TrialRecord | None:
    """The first of the ranking."""
    return next(iter(ranking(records)), None)
