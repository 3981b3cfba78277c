"""Optuna's TPE over plain loops: trials in threads of one process, or in processes that share a study in SQLite."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import optuna
from filelock import FileLock
from optuna.storages import RDBStorage

from benchmarks.search.contestants import ALPHA, LR, Order, Result, Search, Trial
from benchmarks.search.folds import CrossValidation, warm_up

LOCK_SECONDS = 60
"""How long one writer waits for another."""


@contextmanager
def ready(order: Order) -> Iterator[Search]:
    """Open the study and prepare the folds."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    validation_error = CrossValidation(order.task)
    warm_up()
    study = _open_study(order)

    def search(trials: int) -> Result:
        began = time.perf_counter()
        complete: list[Trial] = []

        def objective(trial: optuna.Trial) -> float:
            lr = trial.suggest_float("lr", *LR, log=True)
            alpha = trial.suggest_float("alpha", *ALPHA, log=True)
            error = validation_error(lr, alpha)
            complete.append(Trial(time.perf_counter() - began, error))
            return error

        study.optimize(objective, n_trials=trials, n_jobs=order.parallel)
        return Result(
            seconds=time.perf_counter() - began,
            trials=len(complete),
            complete=tuple(complete),
            replica_epochs=len(complete) * order.task.folds * order.task.epochs,
        )

    yield search


def _open_study(order: Order) -> optuna.Study:
    """Create the study, or join it; two processes that create the tables at once would collide."""
    with FileLock(order.folder / "tables.lock"):
        storage = RDBStorage(
            f"sqlite:///{order.folder / 'study.db'}", engine_kwargs={"connect_args": {"timeout": LOCK_SECONDS}}
        )
        return optuna.create_study(
            storage=storage,
            study_name="search",
            sampler=optuna.samplers.TPESampler(seed=order.seed + order.part),  # else all processes try the same
            load_if_exists=True,
        )
