"""What a trial takes besides its training: proposing it, keeping it, and showing it in MLflow and optuna-dashboard.

A whole study of trials whose findings are made up, through the same parts that `variantlab search` is made of.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from pipeline.base.seeds import numpy_generator
from pipeline.cli.terminal import Terminal
from pipeline.data.config import DataConfig
from pipeline.stages.searching.clock import Clock
from pipeline.stages.searching.config import SearchConfig, inputs
from pipeline.stages.searching.context import SearchContext
from pipeline.stages.searching.trial_runs import TrialRuns
from pipeline.stages.stage import Sampling
from pipeline.tracking.mlflow_tracker import MlflowTracker
from pipeline.tracking.port import RunStart, stage_run
from pipeline.training.pool import Trainer
from pipeline.tuning.dashboard import StudyPages
from pipeline.tuning.ledger import Ledger
from pipeline.tuning.storage import open_storage
from pipeline.tuning.trials import PlannedTrial, TrialResult

MODEL = "mlp_ws_al"
EPOCHS = 25
AT = (10, 100, 500, 1000, 2000)
"""The trials at which the time is told: medians over the 60 trials before, or the first ones."""
WINDOW = 60


@dataclass(frozen=True, kw_only=True)
class Overhead:
    """Seconds a trial, in the order of trials."""

    waiting_N: np.ndarray
    """In which training waits: proposing."""
    beside_N: np.ndarray
    """Beside the training of others: keeping what was found in the study, in files and in MLflow."""

    def at(self, trial: int) -> tuple[float, float]:
        """Both near a trial."""
        window = slice(max(0, trial - WINDOW), trial)
        return float(np.median(self.waiting_N[window])), float(np.median(self.beside_N[window]))

    def picture(self) -> Figure:
        """Both by trial."""
        figure = Figure(figsize=(8, 4), layout="constrained")
        axis = figure.subplots()
        numbers = np.arange(1, len(self.waiting_N) + 1)
        for values, style, label in (
            (self.waiting_N, "-", "training waits: proposing"),
            (self.beside_N, "--", "beside training: the study, files, runs in MLflow"),
        ):
            axis.plot(numbers, 1000 * values, style, linewidth=0.8, label=label)
        axis.set(xlabel="trial", ylabel="time of a trial (ms)", ylim=(0, None), xlim=(0, None))
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
        return figure


def measure_overhead(trials: int, population: int, cache_dir: Path, step: Callable[[str], None]) -> Overhead:
    """Search with made-up findings, in a folder that is removed."""
    waiting: list[float] = []
    beside: list[float] = []
    untold: list[tuple[PlannedTrial, TrialResult]] = []
    with tempfile.TemporaryDirectory() as folder, _tracking(f"sqlite:///{folder}/mlflow.db"):
        config = SearchConfig(
            sampling=Sampling(data=DataConfig(cache_dir=cache_dir)),
            model=MODEL,
            n_trials=trials,
            population=population,
            storage=f"sqlite:///{folder}/optuna.db",
            artifacts=f"{folder}/artifacts",
        )
        subject, space = inputs(config)
        splits = subject.splits
        ledger = Ledger.open(open_storage(config.storage), "overhead", {}, config.method(space))
        pages = StudyPages(open_storage(config.storage), "overhead", config.artifacts)
        tracker = MlflowTracker()
        with (
            Trainer(splits.train, splits.train, config.compute) as trainer,  # which trains nothing
            stage_run(tracker, RunStart(name="overhead", role="search")) as run,
        ):
            runs = TrialRuns(
                SearchContext(
                    config=config,
                    variant=subject.variant,
                    splits=splits,
                    ledger=ledger,
                    pages=pages,
                    tracker=tracker,
                    run=run,
                    trainer=trainer,
                    clock=Clock(tracker),
                    reporter=Terminal(),
                )
            )
            while True:
                started = time.perf_counter()
                asked = ledger.next_batch()
                proposed = time.perf_counter()
                if not asked:
                    break
                for trial, finding in untold:
                    runs.before_told(trial, finding)
                    ledger.tell(trial.number, finding, seconds=1.0)
                runs.keep_up(asked, lambda: False)
                kept = time.perf_counter()
                untold = [(trial, made_up(trial)) for trial in asked]
                for trial, finding in untold:
                    ledger.expect(trial, finding, seconds=1.0)
                waiting += [(proposed - started + time.perf_counter() - kept) / len(asked)] * len(asked)
                beside += [(kept - proposed) / len(asked)] * len(asked)
                step(f"overhead, trial {len(waiting)} of {trials}")
    return Overhead(waiting_N=np.array(waiting), beside_N=np.array(beside))


def made_up(trial: PlannedTrial) -> TrialResult:
    """Curves and folds such as a training gives, from the configuration alone."""
    generator = numpy_generator(0, "made up", trial.number)
    level = 0.05 + 0.02 * abs(np.log10(trial.hyper.lr) + 2.5) + 0.01 * generator.random()
    falling = level + 0.3 / np.arange(1, EPOCHS + 1)
    names = ("train_loss", "train_error", "validation_loss", "validation_error", "validation_digit_error")
    folds = [(falling + 0.01 * generator.standard_normal()).tolist() for _ in range(5)]
    mean = np.mean(folds, axis=0).tolist()
    return TrialResult(
        curves=dict.fromkeys(names, mean), fold_errors=folds, state="complete", replica_epochs=5 * EPOCHS
    )


@contextmanager
def _tracking(uri: str) -> Iterator[None]:
    before = os.environ.get("MLFLOW_TRACKING_URI")
    os.environ["MLFLOW_TRACKING_URI"] = uri
    try:
        yield
    finally:
        if before is None:
            del os.environ["MLFLOW_TRACKING_URI"]
        else:
            os.environ["MLFLOW_TRACKING_URI"] = before
