"""Ray Tune with Optuna's TPE over plain loops: one worker a core, which goes on from trial to trial."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import optuna
import ray
from ray import tune
from ray.tune.search.optuna import OptunaSearch

from benchmarks.search.contestants import ALPHA, LR, Order, Result, Search, Trial
from benchmarks.search.folds import CrossValidation, warm_up

STORE_BYTES = 256 * 2**20
"""Of Ray's object store, which holds the folds."""


@contextmanager
def ready(order: Order) -> Iterator[Search]:
    """Start Ray and prepare the folds."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    validation_error = CrossValidation(order.task)
    ray.init(
        num_cpus=order.parallel,
        object_store_memory=STORE_BYTES,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        _temp_dir=str(order.folder),
    )
    try:
        yield lambda trials: _search(order, validation_error, trials)
    finally:
        ray.shutdown()


def _objective(config: dict[str, float], validation_error: CrossValidation) -> None:
    warm_up()
    began = time.time()
    error = validation_error(config["lr"], config["alpha"])
    tune.report({"error": error, "began": began, "ended": time.time()})


def _search(order: Order, validation_error: CrossValidation, trials: int) -> Result:
    objective = tune.with_parameters(_objective, validation_error=validation_error)
    tuner = tune.Tuner(
        tune.with_resources(objective, {"cpu": 1}),
        param_space={"lr": tune.loguniform(*LR), "alpha": tune.loguniform(*ALPHA)},
        tune_config=tune.TuneConfig(
            metric="error",
            mode="min",
            search_alg=OptunaSearch(sampler=optuna.samplers.TPESampler(seed=order.seed)),
            num_samples=trials,
            max_concurrent_trials=order.parallel,
            reuse_actors=True,  # else every trial waits for a process that imports torch
        ),
        run_config=tune.RunConfig(storage_path=str(order.folder), verbose=0),
    )
    began = time.time()
    results = tuner.fit()
    seconds = time.time() - began
    if results.errors:
        raise results.errors[0]
    metrics: list[dict[str, Any]] = [result.metrics for result in results]
    return Result(
        seconds=seconds,
        once=min(trial["began"] for trial in metrics) - began,
        trials=len(metrics),
        complete=tuple(Trial(trial["ended"] - began, trial["error"]) for trial in metrics),
        replica_epochs=len(metrics) * order.task.folds * order.task.epochs,
    )
