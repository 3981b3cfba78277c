"""Findings that are computed from the hyperparameters, and searches that use them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.models.registry import get_variant
from pipeline.models.variant import Hyperparameters
from pipeline.seeds import numpy_generator
from pipeline.tuning.ledger import Asked, Finding, Ledger
from pipeline.tuning.space import Space, load_space
from pipeline.tuning.storage import open_storage

EPOCHS = 8
POPULATION = 4
TRIALS = 15
"""Enough for the sampler to leave its random start; the last generation is cut."""
SEED = 3


def space() -> Space:
    return load_space(get_variant("mlp_al"))


def finding(asked: Asked) -> Finding:
    """What a training could have given: a falling curve, sometimes stopped, and one region that diverges."""
    hyper = asked.hyper
    generator = numpy_generator(0, hyper.hash)
    level = 0.08 + 0.1 * generator.random() + 20 * abs(hyper.lr - 2e-3)
    errors: list[float] = []
    state: Any = "complete"
    for epoch in range(1, EPOCHS + 1):
        errors.append(level + 0.3 / epoch + 0.01 * generator.random())
        if asked.stop is not None and epoch < EPOCHS and asked.stop(errors):
            state = "pruned"
            break
    if hyper.batch_size == 100:
        state = "failed"
    reason = {"complete": "", "pruned": "worse than the median", "failed": "fold 1: the loss became nan"}[state]
    return Finding(
        curves={"validation_error": errors, "train_loss": [2 * error for error in errors]},
        fold_errors=[errors, [error + 0.01 for error in errors]],
        state=state,
        reason=reason,
    )


def open_ledger(path: Path, protocol: dict[str, Any] | None = None, *, pruner: str = "median") -> Ledger:
    """A ledger as a new process would open it."""
    storage = open_storage(f"sqlite:///{path}")
    return Ledger.open(storage, "study", protocol or {"model": "mlp_al"}, space(), seed=SEED, pruner=pruner)


def steps(ledger: Ledger, n_trials: int = TRIALS) -> Iterator[list[Asked]]:
    """Search; yields what was asked after each generation is asked, and nothing after each trial is told."""
    while asked := ledger.next_generation(n_trials, POPULATION):
        yield asked
        for trial in asked:
            ledger.tell(trial.number, finding(trial))
            yield []


def table(ledger: Ledger) -> list[tuple[int, str, str, Hyperparameters, float | None, Any, Any]]:
    """Everything that is known of finished trials, but for the times."""
    return [
        (record.number, record.state, record.reason, record.hyper, record.error, record.curves, record.fold_errors)
        for record in ledger.records()
    ]
