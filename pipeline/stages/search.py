"""search: Optuna over a space, the objective being the mean validation error of K-fold cross validation.

Only training digits take part: the workers are not even given the test digits. The study is the record; the MLflow
runs are a projection of it that can be made again at any time.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from filelock import Timeout

from pipeline.data.digits import DigitPools
from pipeline.data.prepared import load_pools
from pipeline.errors import InputError, StageError, UnknownNameError
from pipeline.locks import machine_lock
from pipeline.models.registry import get_variant
from pipeline.models.variant import DEFAULTS, HYPERPARAMETERS, Variant
from pipeline.reports.figures import search_history
from pipeline.reports.tables import Table
from pipeline.stages.replicas import FoldsConfig, fold_replicas
from pipeline.stages.stage import (
    Progress,
    Reporter,
    StageResult,
    log_composition,
    open_store,
    percent,
    show_hyper,
    show_value,
)
from pipeline.tracking.port import (
    Metric,
    Run,
    RunRecord,
    RunStart,
    Status,
    Tracker,
    config_tags,
    curve,
    killed_if_broken,
    stage_run,
    variant_params,
)
from pipeline.training.plan import Job, Outcome
from pipeline.training.pool import Trainer
from pipeline.tuning.ledger import PRUNERS, Asked, Finding, Ledger, State, TrialRecord, best_of
from pipeline.tuning.paths import Paths, read_off
from pipeline.tuning.space import Space, load_space
from pipeline.tuning.storage import Storage, open_storage, resolved

RUN_STATUS: dict[State, Status] = {"complete": "FINISHED", "pruned": "KILLED", "failed": "FAILED"}
MAX_TRIALS = 100_000
MAX_POPULATION = 1000
SHOWN_TRIALS = 5


@dataclass(frozen=True, kw_only=True)
class SearchConfig(FoldsConfig):
    """What to search."""

    folds: int = 5
    space: str = ""
    """A search space file; empty for `search_spaces/<model>.yaml`."""
    n_trials: int = 30
    """Trials in all, those of earlier starts included."""
    population: int = 6
    """Trials that are asked for, and train, together."""
    pruner: str = "median"
    study: str = ""
    """Name of the study; empty for one that is named after the protocol, so that the same command resumes it."""
    storage: str = "sqlite:///optuna.db"

    def __post_init__(self) -> None:
        super().__post_init__()
        limits = (("n-trials", self.n_trials, MAX_TRIALS), ("population", self.population, MAX_POPULATION))
        for name, value, high in limits:
            if not 1 <= value <= high:
                raise InputError(f"--{name} must be between 1 and {high}, but got {value}")
        if self.pruner not in PRUNERS:
            raise UnknownNameError("pruner", self.pruner, PRUNERS)
        if self.pruner != "none" and self.setting.pairs % self.folds:
            raise InputError(
                f"pruning needs folds of equal size, but {self.setting.pairs} pairs do not divide into {self.folds}; "
                f"choose another --folds, or --pruner none"
            )


def inputs(config: SearchConfig) -> tuple[Variant, Space, DigitPools, Storage]:
    """The variant, its space, the pools, which suffice for the pairs that are asked for, and the open storage."""
    variant = get_variant(config.model)
    space = load_space(variant, Path(config.space) if config.space else None)
    pools = load_pools(config.setting.data)
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
            "n_trials": config.n_trials,
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
        ledger = Ledger.open(storage, name, protocol, space, seed=config.setting.seed, pruner=config.pruner)
        with stage_run(tracker, start, parent) as run:
            search = _Search(config, variant, space, pools, ledger, trainer, tracker, run, clock)
            search.go_on(reporter)
            return search.finish()


def _protocol(config: SearchConfig, space: Space, pools: DigitPools) -> dict[str, Any]:
    """Everything that the trials' numbers depend on."""
    return {
        "model": config.model,
        **config.setting.params,
        "data_digest": pools.digest,
        "space": space.digest,
        "folds": config.folds,
        "rounds": config.rounds,
        "population": config.population,
        "pruner": config.pruner,
        "precision": config.compute.precision,
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
        pools: DigitPools,
        ledger: Ledger,
        trainer: Trainer,
        tracker: Tracker,
        run: Run,
        clock: _Clock,
    ) -> None:
        self.config, self.variant, self.space, self.pools = config, variant, space, pools
        self.ledger, self.trainer, self.tracker, self.run = ledger, trainer, tracker, run
        self.projected: set[int] = set()
        """Trials whose runs are complete."""
        self.begun: dict[int, RunRecord] = {}
        """Runs of trials that an earlier process did not complete."""
        self.clock = clock
        self.paths = Paths()
        self.replica_epochs = 0

    def go_on(self, reporter: Reporter) -> None:
        """Take up what is there, then train until the study has its trials."""
        for record in self.tracker.find("trial", study_id=self.ledger.id):
            self.tracker.reopen(record, self.run)
            number = int(record.tags["trial"])
            if record.status != "RUNNING" and record.tags.get("projected") == "true":
                self.projected.add(number)
            else:
                self.begun[number] = record
        self._project()
        if done := len(self.ledger.records()):
            reporter.say(f"study {self.ledger.name} goes on: {done} trials are finished, {self.config.n_trials} wanted")
        with reporter.progress(f"search {self.variant.name}", self.config.n_trials) as bar:
            while asked := self.ledger.next_generation(self.config.n_trials, self.config.population):
                self._train(asked, bar)
        self._project()

    def _train(self, asked: Sequence[Asked], bar: Progress) -> None:
        """Train and tell one generation, and project the one before while it trains."""
        records = self.ledger.records()
        best = best_of(records)
        note = "" if best is None else f"best {percent(_error(best))} (trial {best.number})"
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
                self.config.setting,
                trial.hyper,
                rounds=self.config.rounds,
                folds=self.config.folds,
                name=("trial", trial.number),
            ),
            stop=trial.stop,
        )

    def _project_meanwhile(self) -> None:
        with self.clock.training():
            self._project()

    def _project(self) -> None:
        """Bring the tracker up to the ledger: one run for each finished trial."""
        for record in self.ledger.records():
            if record.number not in self.projected:
                self._project_trial(record)
                self.projected.add(record.number)

    def _project_trial(self, record: TrialRecord) -> None:
        ended = record.ended.astimezone(UTC)
        shown = record.state if record.error is None else f"err {100 * record.error:.1f} %"
        if record.number in self.begun:
            run = self.tracker.reopen(self.begun[record.number], self.run)
        else:
            start = RunStart(
                name=f"trial {record.number:03d} · {shown}",
                role="trial",
                tags={
                    "model": self.variant.name,
                    "study": self.ledger.name,
                    "study_id": self.ledger.id,
                    "trial": str(record.number),
                },
                description=self._describe(record),
                data=self.pools,
                started=record.started.astimezone(UTC),
            )
            run = self.tracker.start(start, self.run)
        with killed_if_broken(run):
            self._log_trial(run, record, ended)
        run.end(RUN_STATUS[record.state], ended)

    def _log_trial(self, run: Run, record: TrialRecord, ended: datetime) -> None:
        metrics = [metric for name, values in record.curves.items() for metric in curve(name, values)]
        for fold, errors in enumerate(record.fold_errors):
            metrics += curve(f"fold_{fold:02d}/validation_error", errors)
        if record.error is not None:
            last = [errors[-1] for errors in record.fold_errors]
            metrics.append(Metric("cv_validation_error", record.error))
            metrics.append(Metric("cv_validation_error_std", float(np.std(last, ddof=1))))
        run.log(
            params={
                **variant_params(self.variant),
                **self.config.setting.params,
                **self.variant.shown(record.hyper),
                "trial": record.number,
            },
            metrics=[metric for metric in metrics if math.isfinite(metric.value)],
            tags={
                **config_tags(record.hyper),
                **({} if record.read_off is None else {"read_off": str(record.read_off)}),
                "state": record.state,
                "projected": "true",
            },
            at=ended,
        )

    def _describe(self, record: TrialRecord) -> str:
        outcome = record.reason or f"mean validation error {percent(_error(record))}"
        origin = "the report's configuration" if record.number == 0 else "proposed by TPE"
        if record.read_off is not None:
            origin += f", read off the longer training of trial {record.read_off}"
        return (
            f"Trial {record.number} of study `{self.ledger.name}`: {self.variant.name} with "
            f"{show_hyper(self.variant, record.hyper)} ({origin}), {len(record.fold_errors)} folds on training digits "
            f"alone. {record.state.capitalize()}: {outcome}."
        )

    def finish(self) -> StageResult:
        """Log what was found and what it cost.

        Raises StageError when no trial is complete.
        """
        records = self.ledger.records()
        best = best_of(records)
        if best is None:
            reasons = sorted({record.reason for record in records})
            raise StageError(f"no trial of study {self.ledger.name} could be completed: {'; '.join(reasons)}")
        counts = {state: sum(record.state == state for record in records) for state in RUN_STATUS}
        baseline = records[0] if records[0].error is not None else None
        pruned = {r.number: r.curves["validation_error"][-1] for r in records if r.state == "pruned"}
        self.run.figure(
            "history.png",
            search_history(
                {record.number: record.error for record in records if record.error is not None},
                pruned,
                None if baseline is None else baseline.error,
            ),
        )
        log_composition(self.run, self.trainer)
        everything = self._table(records)
        self.run.text("trials.csv", everything.csv())
        self.run.text("trials.md", everything.markdown())
        result = StageResult(
            run_id=self.run.id,
            headline=self._headline(best, baseline),
            table=self._table(sorted(records, key=_rank)[:SHOWN_TRIALS]),
            notes=[
                f"Study `{self.ledger.name}`: {counts['complete']} complete, {counts['pruned']} pruned, "
                f"{counts['failed']} failed trials; the best are shown.",
                "The best of many validation errors is optimistic: `evaluate` measures it on test digits.",
                self._log_costs(best, baseline, counts),
            ],
        )
        self.run.describe(result.markdown())
        return result

    def _log_costs(self, best: TrialRecord, baseline: TrialRecord | None, counts: dict[State, int]) -> str:
        seconds, tracking = self.clock.read()
        metrics = [
            Metric("cv_validation_error", _error(best)),
            *(Metric(f"trials_{state}", count) for state, count in counts.items()),
            Metric("replica_epochs", self.replica_epochs),
            Metric("seconds", seconds),
            Metric("tracking_seconds", tracking),
            Metric("tracking_share", tracking / seconds),
        ]
        if baseline is not None:
            metrics.append(Metric("preset_cv_validation_error", _error(baseline)))
        self.run.log(metrics=metrics, tags={**config_tags(best.hyper), "best_trial": str(best.number)})
        return (
            f"{self.replica_epochs} replica-epochs in {seconds:.1f} s; for {tracking / seconds:.1%} of it training "
            f"waited for MLflow and the study."
        )

    def _headline(self, best: TrialRecord, baseline: TrialRecord | None) -> str:
        found = f"{self.variant.name}: best mean validation error {percent(_error(best))} (trial {best.number})"
        if baseline is None:
            return f"{found}; the report's configuration gave none ({self.ledger.records()[0].reason})"
        if best.number == baseline.number:
            return f"{found}, which is the report's own configuration: no other beat it"
        gain = 100 * (_error(baseline) - _error(best))
        return f"{found}, {gain:.2f} points below the report's configuration ({percent(_error(baseline))})"

    def _table(self, records: Sequence[TrialRecord]) -> Table:
        shown = self.variant.shown(self.variant.preset)
        told = {*self.space.dimensions, *(name for name, value in shown.items() if value != DEFAULTS.get(name))}
        names = [name for name in HYPERPARAMETERS if name in told]
        return Table(
            ["trial", "state", "validation error", *names],
            [
                [
                    record.number,
                    record.state,
                    "-" if record.error is None else percent(record.error),
                    *(show_value(record.hyper.as_dict()[name]) for name in names),
                ]
                for record in records
            ],
        )


def finding_of(folds: Sequence[Outcome]) -> Finding:
    """What the folds of one trial say together; a trial with a fold that diverged has failed."""
    epochs = min(len(fold.held_out_error_E) for fold in folds)

    def mean(name: str) -> list[float]:
        values: list[float] = np.mean([getattr(fold, name)[:epochs] for fold in folds], axis=0).tolist()
        return values

    diverged = [(number, fold) for number, fold in enumerate(folds) if fold.status == "diverged"]
    state: State = "complete"
    reason = ""
    if diverged:
        state, reason = "failed", "; ".join(f"fold {number}: {fold.reason}" for number, fold in diverged)
    elif any(fold.status == "stopped" for fold in folds):
        state, reason = "pruned", f"worse than the median of earlier trials after epoch {epochs}"
    return Finding(
        curves={
            "train_loss": mean("train_loss_E"),
            "train_error": mean("train_error_E"),
            "validation_loss": mean("held_out_loss_E"),
            "validation_error": mean("held_out_error_E"),
        },
        fold_errors=[fold.held_out_error_E.tolist() for fold in folds],
        state=state,
        reason=reason,
    )


def _error(record: TrialRecord) -> float:
    return math.nan if record.error is None else record.error


def _rank(record: TrialRecord) -> tuple[bool, float, int]:
    return record.error is None, record.error or 0.0, record.number
