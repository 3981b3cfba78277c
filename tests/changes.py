"""What a test changes in the process of a command before it begins (`Workplace.start(..., changed_by=...)`)."""

from __future__ import annotations

import importlib
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pipeline.stages.reproducing.published import PublishedTable

WHERE = {
    "ask": ("pipeline.tuning.ledger", "Ledger._add", 3),
    "first report": ("optuna.storages", "RDBStorage.set_trial_intermediate_value", 1),
    "fold": ("pipeline.training.pool", "Trainer._train", 2),
    "log": ("mlflow", "MlflowClient.log_batch", 9),
    "end of a run": ("mlflow", "MlflowClient.set_terminated", 2),
    "tell": ("optuna", "Study.tell", 3),
    "recheck": ("pipeline.tuning.ledger", "Ledger.keep_recheck", 1),
    "finish": ("pipeline.tuning.lease", "_release", 1),
}
"""Step -> module, function in it, and which call of it."""
STEPS = [f"{step}:{moment}" for step in WHERE for moment in ("before", "after")]


def die_at(step: str, moment: str) -> None:
    """Have it killed, as by the out-of-memory killer, right before or right after a step of a search."""
    module, path, number = WHERE[step]
    *classes, name = path.split(".")
    owner: Any = importlib.import_module(module)
    for each in classes:
        owner = getattr(owner, each)
    function: Callable[..., Any] = getattr(owner, name)
    calls = iter(range(number - 1, -1, -1))

    def dying(*args: Any, **kwargs: Any) -> Any:
        left = next(calls)
        if moment == "before" and left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        result = function(*args, **kwargs)
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, dying)


def give_up_sooner() -> None:
    """Let a search wait for three seconds instead of thirty until it gives another up."""
    from pipeline.tuning import lease

    lease.LOOK_SECONDS = 0.1


def tell_stalls() -> None:
    """Have it print, for each batch, for how long nothing trained because something was recorded."""
    clock: Any = importlib.import_module("pipeline.stages.searching.clock").Clock
    count = clock.waited

    def waited(self: Any, seconds: float) -> None:
        click.echo(f"training waited {seconds:.3f} s")
        count(self, seconds)

    clock.waited = waited


def measure_little() -> None:
    """Let published tables have their own rows alone, and train on points for two epochs."""
    config: Any = importlib.import_module("pipeline.stages.reproducing.config")
    load = config.load_published

    def smaller(table: PublishedTable) -> PublishedTable:
        rows = [replace(row, changes="epochs=2") if row.model == "disc_mlp" else row for row in table.rows]
        return replace(table, rows=tuple(rows), experiments=())

    config.load_published = lambda: {name: smaller(table) for name, table in load().items()}
