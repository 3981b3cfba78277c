"""Trials: what was asked, what it gave, and what the ledger keeps of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import numpy as np

from pipeline.models.hyperparameters import Hyperparameters
from pipeline.tuning.pruning import MedianStop

SELECTIONS = ("mean", "mean+std")
"""What is minimised: the mean validation error over folds, or that plus its standard deviation."""
State = Literal["complete", "pruned", "failed"]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A configuration to be tried."""

    number: int
    hyper: Hyperparameters
    pairs: int = 0
    """Training samples of a round; 0 for as many as the search has."""
    stop: MedianStop | None
    generation: int
    """The first number of its generation."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What trying it gave: mean curves over folds by name, and every fold's validation error."""

    curves: Mapping[str, Sequence[float]]
    """Series name -> one value an epoch; `validation_error` is what is minimised."""
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
    score: float | None
    """What is minimised, see `SELECTIONS`; None unless complete."""
    hyper: Hyperparameters
    pairs: int
    """Training samples of a round; 0 for as many as the search has."""
    curves: Mapping[str, Sequence[float]]
    fold_errors: Sequence[Sequence[float]]
    read_off: int | None
    started: datetime
    ended: datetime


def selection_score(last_errors: Sequence[float], select: str) -> float:
    """What is minimised, from the last validation error of every fold."""
    spread = float(np.std(last_errors, ddof=1)) if select == "mean+std" else 0.0
    return float(np.mean(last_errors)) + spread


def best_of(records: Sequence[TrialRecord]) -> TrialRecord | None:
    """The complete trial with the least score; the earlier one of equals."""
    complete = [record for record in records if record.score is not None]
    return min(complete, key=lambda record: (record.score, record.number), default=None)
