"""search: Optuna over a space, the objective being the mean validation error of K-fold cross validation.

Only training digits take part: the workers are not even given the test digits. The study is the record; the MLflow
runs are a projection of it that can be made again at any time.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from filelock import Timeout

from pipeline.data.folds import check_folds
from pipeline.data.pools import Pools
from pipeline.errors import InputError, StageError, UnknownNameError
from pipeline.locks import machine_lock
from pipeline.models.registry import get_variant
from pipeline.models.variant import Variant
from pipeline.stages.replicas import FoldsConfig, curves_of, fold_replicas, open_pools
from pipeline.stages.search_result import Found, error_of
from pipeline.stages.stage import (
    Progress,
    Reporter,
    StageResult,
    log_composition,
    open_store,
    percent,
)
from pipeline.stages.trial_runs import RUN_STATUS, TrialRuns
from pipeline.tracking.port import (
    Metric,
    Run,
    RunStart,
    Tracker,
    config_tags,
    stage_run,
    variant_params,
)
from pipeline.training.plan import Job, Outcome
from pipeline.training.pool import Trainer
from pipeline.tuning.ledger import PRUNERS, Ledger
from pipeline.tuning.paths import Paths, read_off
from pipeline.tuning.space import SPACES, Space, load_space
from pipeline.tuning.storage import Storage, open_storage, resolved
from pipeline.tuning.strategies import ALPHA, STRATEGIES, Strategy, make_strategy
from pipeline.tuning.trials import Asked, Finding, State, TrialRecord

MAX_TRIALS = 100_000
MAX_POPULATION = 1000
SHOWN_TRIALS = 5


@dataclass(frozen=True, kw_only=True)
class SearchConfig(FoldsConfig):
    """What to search."""

    folds: int = 5
    strategy: str = "tpe"
    """`tpe`: Optuna's sampler, the preset first; `two-step`: all combinations, then alpha; `screen`: all combinations
    on few samples, then the best of them on all."""
    space: str = ""
    """A search space file; empty for the model's own in `search_spaces/`, see `default_space`."""
    n_trials: int = 30
    """Trials of `tpe` in all, those of earlier starts included; the others have as many as there are combinations."""
    screen_pairs: int = 350
    """Training samples of a round while `screen` tries all combinations."""
    keep: int = 3
    """How many of them it tries again on all samples."""
    population: int = 6
    """Trials that are asked for, and train, together."""
    pruner: str = "median"
    """Of `tpe`: `median` or `none`; the others train every trial to its end."""
    study: str = ""
    """Name of the study; empty for one that is named after the protocol, so that the same command resumes it."""
    storage: str = "sqlite:///optuna.db"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.strategy not in STRATEGIES:
            raise UnknownNameError("strategy", self.strategy, STRATEGIES)
        limits = (
            ("n-trials", self.n_trials, MAX_TRIALS),
            ("population", self.population, MAX_POPULATION),
            ("keep", self.keep, MAX_TRIALS),
        )
        for name, value, high in limits:
            if not 1 <= value <= high:
                raise InputError(f"--{name} must be between 1 and {high}, but got {value}")
        if self.pruner not in PRUNERS:
            raise UnknownNameError("pruner", self.pruner, PRUNERS)
        if self.strategy == "screen":
            check_folds(self.folds, self.screen_pairs)
        if self.setting.pairs:
            self.check_pairs(self.setting.pairs)

    @property
    def prunes(self) -> bool:
        """Whether trials may be stopped early."""
        return self.strategy == "tpe" and self.pruner != "none"

    def check_pairs(self, pairs: int) -> None:
        """Raise InputError unless screening and pruning are possible with so many training samples in a round."""
        if self.strategy == "screen" and self.screen_pairs > pairs:
            raise InputError(
                f"a screening takes no more pairs than the trials after it, but got --screen-pairs "
                f"{self.screen_pairs} and --pairs {pairs}"
            )
        if self.prunes and pairs % self.folds:
            raise InputError(
                f"pruning needs folds of equal size, but {pairs} pairs do not divide into {self.folds}; "
                f"choose another --folds, or --pruner none"
            )

    def make_strategy(self) -> Strategy:
        """How this search chooses what to try."""
        return make_strategy(self.strategy, n_trials=self.n_trials, screen_pairs=self.screen_pairs, keep=self.keep)


def default_space(variant: Variant, strategy: str) -> Path:
    """The file in `search_spaces/` that a search reads when it is not given one."""
    if strategy == "two-step":
        return SPACES / "two_step" / ("with_alpha.yaml" if variant.auxiliary_loss else "without_alpha.yaml")
    return (SPACES / "screen" if strategy == "screen" else SPACES) / f"{variant.name}.yaml"


def inputs(config: SearchConfig) -> tuple[Variant, Space, Pools, Storage]:
    """The variant, its space, the pools, which suffice for the pairs that are asked for, and the open storage."""
    variant = get_variant(config.model)
    path = Path(config.space) if config.space else default_space(variant, config.strategy)
    if config.strategy == "screen" and not path.exists() and not config.space:
        raise InputError(f"there is no space to screen {variant.name} over; give one with --space")
    space = load_space(variant, path, complete=config.make_strategy().complete)
    alpha = space.dimensions.get(ALPHA)
    if config.strategy == "two-step" and alpha is not None and space.preset.alpha not in alpha:
        raise InputError(
            f"{path}: alpha must admit {space.preset.alpha:g}, the preset of {variant.name}, which the first step uses"
        )
    pools = open_pools(variant, config.setting, config.compute)
    config.check_pairs(config.setting.training_samples(pools))
    fold_replicas(pools, config.setting, space.preset, rounds=1, folds=config.folds)
    return variant, space, pools, open_storage(config.storage)


def run(config: SearchConfig, tracker: Tracker, reporter: Reporter, parent: Run | None = None) -> StageResult:
    """Search until the study has its trials; log one child run a trial and the best configuration."""
    clock = _Clock(tracker)
    variant, space, pools, storage = inputs(config)
    protocol = _protocol(config, space, pools)
    fingerprint = hashlib.sha256(json.dumps(protocol, sort_keys=True).encode()).hexdigest()[:8]
    name = config.study or f"{variant.name}-{pools.name}-{fingerprint}"
    open_store(tracker, reporter)
    start = RunStart(
        name=f"search {variant.name}",
        role="search",
        params={
            **variant_params(variant),
            **config.setting.params,
            "folds": config.folds,
            "rounds": config.rounds,
            "strategy": config.strategy,
            "select": config.select,
            "n_trials": config.n_trials,
            "screen_pairs": config.screen_pairs,
            "keep": config.keep,
            "population": config.population,
            "pruner": config.pruner,
            **config.compute.params,
            "space_digest": space.digest[:12],
        },
        tags={"model": variant.name, "study": name},
        data=pools,
    )
    with (
        Trainer(pools.train, pools.train, config.compute) as trainer,
        _sole_searcher(config.storage, name),
    ):
        trainer.warm_up()
        ledger = Ledger.open(
            storage,
            name,
            protocol,
            space,
            config.make_strategy(),
            seed=config.setting.seed,
            pruner=config.pruner if config.prunes else "none",
            select=config.select,
        )
        with stage_run(tracker, start, parent) as run:
            search = _Search(config, variant, space, pools, ledger, trainer, tracker, run, clock)
            search.go_on(reporter)
            return search.finish()


def _protocol(config: SearchConfig, space: Space, pools: Pools) -> dict[str, Any]:
    """Everything that the trials' numbers depend on; of the test samples there is nothing in it."""
    setting = {name: value for name, value in config.setting.params.items() if name != "test_pairs"}
    return {
        "model": config.model,
        **setting,
        "data_digest": pools.digest,
        "space": space.digest,
        "folds": config.folds,
        "rounds": config.rounds,
        "population": config.population,
        "pruner": config.pruner,
        "precision": config.compute.precision,
        "strategy": config.strategy,
        "select": config.select,
        **({"screen_pairs": config.screen_pairs, "keep": config.keep} if config.strategy == "screen" else {}),
    }


@contextmanager
def _sole_searcher(storage: str, study: str) -> Iterator[None]:
    try:
        with machine_lock("search", resolved(storage), study).acquire(timeout=0):
            yield
    except Timeout:
        raise InputError(
            f"a study is searched by one process at a time, but another one is at work on {study!r}; wait for it, or "
            f"choose another --study"
        ) from None


class _Clock:
    """What a search takes from its beginning on, and for how much of it nothing trains because it is recorded."""

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        self._began, self._tracked_before = time.perf_counter(), tracker.seconds
        self._recording = 0.0

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Count what happens inside as recording."""
        started = time.perf_counter()
        yield
        self._recording += time.perf_counter() - started

    @contextmanager
    def training(self) -> Iterator[None]:
        """Do not count what happens inside: the workers train."""
        before = self._tracker.seconds
        yield
        self._tracked_before += self._tracker.seconds - before

    def read(self) -> tuple[float, float]:
        """Seconds so far, and those of them in which recording kept the workers waiting."""
        tracked = self._tracker.seconds - self._tracked_before
        return time.perf_counter() - self._began, tracked + self._recording


class _Search:
    """One start of a search: trains generations, tells the ledger, and projects it to the tracker."""

    def __init__(
        self,
        config: SearchConfig,
        variant: Variant,
        space: Space,
        pools: Pools,
        ledger: Ledger,
        trainer: Trainer,
        tracker: Tracker,
        run: Run,
        clock: _Clock,
    ) -> None:
        self.config, self.variant, self.space, self.pools = config, variant, space, pools
        self.ledger, self.trainer, self.tracker, self.run = ledger, trainer, tracker, run
        origin = "proposed by TPE" if config.strategy == "tpe" else f"of a {config.strategy} search"
        self.runs = TrialRuns(tracker, run, ledger, variant, pools, setting=config.setting, origin=origin)
        self.clock = clock
        self.paths = Paths()
        self.replica_epochs = 0

    def go_on(self, reporter: Reporter) -> None:
        """Take up what is there, then train until the study has its trials."""
        self.runs.take_up()
        self.runs.project()
        if done := len(self.ledger.records()):
            reporter.say(f"study {self.ledger.name} goes on: {done} trials are finished, {self.ledger.planned} wanted")
        with reporter.progress(f"search {self.variant.name}", self.ledger.planned) as bar:
            while asked := self.ledger.next_generation(self.config.population):
                self._train(asked, bar)
        self.runs.project()

    def _train(self, asked: Sequence[Asked], bar: Progress) -> None:
        """Train and tell one generation, and project the one before while it trains."""
        records = self.ledger.records()
        best = self._found(records).best
        note = "" if best is None else f"best {percent(error_of(best))} (trial {best.number})"
        bar.update(len(records), note)
        self.paths.learn(records)
        trained, sources = self.paths.divide(asked)
        outcomes = self.trainer.run(
            [self._job(trial) for trial in trained],
            lambda done, planned: bar.update(len(records) + len(asked) * done / max(planned, 1), note),
            self._project_meanwhile,
        )
        found = {trial.number: finding_of(folds) for trial, folds in zip(trained, outcomes, strict=True)}
        with self.clock.recording():
            for trial in asked:
                if source := sources.get(trial.number):
                    longer = source if isinstance(source, TrialRecord) else found[source.number]
                    found[trial.number] = read_off(longer, source.number, trial.hyper.epochs)
                self.ledger.tell(trial.number, found[trial.number])
        self.replica_epochs += sum(len(outcome.train_loss_E) for folds in outcomes for outcome in folds)

    def _job(self, trial: Asked) -> Job:
        return Job(
            variant=self.variant.name,
            replicas=fold_replicas(
                self.pools,
                replace(self.config.setting, pairs=trial.pairs or self.config.setting.pairs),
                trial.hyper,
                rounds=self.config.rounds,
                folds=self.config.folds,
                name=("trial", trial.number),
            ),
            stop=trial.stop,
        )

    def _project_meanwhile(self) -> None:
        with self.clock.training():
            self.runs.project()

    def finish(self) -> StageResult:
        """Log what was found and what it cost.

        Raises StageError when no trial is complete.
        """
        records = self.ledger.records()
        found = self._found(records)
        best = found.best
        if best is None:
            reasons = sorted({record.reason for record in records})
            raise StageError(f"no trial of study {self.ledger.name} could be completed: {'; '.join(reasons)}")
        counts = {state: sum(record.state == state for record in records) for state in RUN_STATUS}
        found.log_history(self.run)
        if self.config.strategy == "two-step":
            found.log_two_steps(self.run, best)
        log_composition(self.run, self.trainer)
        everything = found.table(records)
        self.run.text("trials.csv", everything.csv())
        self.run.text("trials.md", everything.markdown())
        result = StageResult(
            run_id=self.run.id,
            headline=found.headline(best),
            table=found.table(found.ranked[:SHOWN_TRIALS]),
            notes=[
                f"Study `{self.ledger.name}`: {counts['complete']} complete, {counts['pruned']} pruned, "
                f"{counts['failed']} failed trials; the best are shown.",
                "The best of many validation errors is optimistic: `evaluate` measures it on the test pool.",
                self._log_costs(best, found.baseline, counts),
            ],
        )
        self.run.describe(result.markdown())
        return result

    def _found(self, records: Sequence[TrialRecord]) -> Found:
        samples = self.config.setting.training_samples(self.pools)
        return Found(self.variant, self.space, records, select=self.config.select, samples=samples)

    def _log_costs(self, best: TrialRecord, baseline: TrialRecord | None, counts: dict[State, int]) -> str:
        seconds, tracking = self.clock.read()
        metrics = [
            Metric("cv_validation_error", error_of(best)),
            *(Metric(f"trials_{state}", count) for state, count in counts.items()),
            Metric("replica_epochs", self.replica_epochs),
            Metric("seconds", seconds),
            Metric("tracking_seconds", tracking),
            Metric("tracking_share", tracking / seconds),
        ]
        if digits := best.curves.get("validation_digit_error"):
            metrics.append(Metric("cv_validation_digit_error", digits[-1]))
        if baseline is not None:
            metrics.append(Metric("preset_cv_validation_error", error_of(baseline)))
        self.run.log(metrics=metrics, tags={**config_tags(best.hyper), "best_trial": str(best.number)})
        return (
            f"{self.replica_epochs} replica-epochs in {seconds:.1f} s; for {tracking / seconds:.1%} of it training "
            f"waited for MLflow and the study."
        )


def finding_of(folds: Sequence[Outcome]) -> Finding:
    """What the folds of one trial say together; a trial with a fold that diverged has failed."""
    epochs = min(len(fold.held_out_error_E) for fold in folds)
    diverged = [(number, fold) for number, fold in enumerate(folds) if fold.status == "diverged"]
    state: State = "complete"
    reason = ""
    if diverged:
        state, reason = "failed", "; ".join(f"fold {number}: {fold.reason}" for number, fold in diverged)
    elif any(fold.status == "stopped" for fold in folds):
        state, reason = "pruned", f"worse than the median of earlier trials after epoch {epochs}"
    return Finding(
        curves={
            name: np.mean([values[:epochs] for values in each], axis=0).tolist()
            for name, each in curves_of(folds, "validation").items()
        },
        fold_errors=[fold.held_out_error_E.tolist() for fold in folds],
        state=state,
        reason=reason,
    )
