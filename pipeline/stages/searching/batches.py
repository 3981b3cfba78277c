"""Trains a search batch by batch, and tells the ledger."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from pipeline.base.durations import show_seconds
from pipeline.models.hyperparameters import Hyperparameters
from pipeline.models.variant import Variant
from pipeline.stages.replicas import curves_of, fold_replicas
from pipeline.stages.searching.config import MEASUREMENT
from pipeline.stages.searching.context import SearchContext
from pipeline.stages.searching.result import SearchResult
from pipeline.stages.searching.trial_runs import TrialRuns
from pipeline.stages.stage import Progress
from pipeline.training.checks import fault_of
from pipeline.training.cost import nominal_seconds
from pipeline.training.plan import Job, Outcome
from pipeline.tuning.paths import Known, Paths, pooled, read_off
from pipeline.tuning.pruning import REASONS
from pipeline.tuning.trials import PlannedTrial, State, TrialRecord, TrialResult


class FinishedTrial(NamedTuple):
    """What the ledger is to record of a trial."""

    trial: PlannedTrial
    result: TrialResult
    cost: float | None
    seconds: float


class TrialBatches:
    """The trials of one search from where they are to where they end."""

    def __init__(self, context: SearchContext, runs: TrialRuns) -> None:
        self.config, self.variant, self.splits = context.config, context.variant, context.splits
        self.ledger, self.trainer, self.clock = context.ledger, context.trainer, context.clock
        self.reporter, self.runs = context.reporter, runs
        self.finished: list[FinishedTrial] = []
        self.paths = Paths(self.ledger.elsewhere(MEASUREMENT) if self.config.reuse == "storage" else ())

    def go_on(self, found: SearchResult) -> str:
        """Train until the study has its trials; why it ended before, or nothing."""
        ended = ""
        with self.reporter.progress(f"search {self.variant.name}", self.ledger.planned) as bar:
            while (done := len(self.ledger.records())) < self.ledger.planned:
                if ended := self._is_over():
                    ended += f", after {done} of {self.ledger.planned} trials"
                    break
                with self.clock.recording():
                    trials = self.ledger.next_batch()
                self._train(trials, found, bar)
        with self.clock.recording():
            self._tell()
        return ended

    def _is_over(self) -> str:
        config, spent = self.config, sum(record.seconds for record in self.ledger.records())
        if 0 < config.budget <= spent:
            return f"stopped at --budget {show_seconds(config.budget)}"
        if 0 < config.timeout <= self.clock.seconds:
            return f"stopped at --timeout {show_seconds(config.timeout)}"
        return ""

    def _train(self, trials: Sequence[PlannedTrial], found: SearchResult, bar: Progress) -> None:
        """Train one batch; the one before is recorded and projected while it trains."""
        started = time.perf_counter()
        records = self.ledger.records()
        numbers = {trial.number for trial in trials}
        note = found.with_records(records).progress()
        bar.update(len(records), note)
        self.paths.learn(record for record in records if record.number not in numbers)
        trained, sources = self.paths.divide(trials)

        def meanwhile() -> None:
            with self.clock.training():
                self._tell()
                self.runs.keep_up(trials, self.trainer.is_busy)

        faults = {trial.number: fault for trial in trials if (fault := fault_of(self.variant, trial.hyper.structure))}
        trained = [trial for trial in trained if trial.number not in faults]
        outcomes = self.trainer.run(
            [self._job(trial) for trial in trained],
            lambda done, planned: bar.update(len(records) + len(trials) * done / max(planned, 1), note),
            meanwhile,
        )
        self.clock.waited(self.trainer.waited)
        results = {
            trial.number: result_of(folds, self.variant, self.config.pruner)
            for trial, folds in zip(trained, outcomes, strict=True)
        } | {
            number: result_of([Outcome(status="broken", reason=fault)], self.variant)
            for number, fault in faults.items()
        }
        before = {(record.hyper.canonical, record.samples, record.draw): record for record in records}
        seconds = (time.perf_counter() - started) / len(trials)
        for trial in trials:
            is_sound = trial.number not in faults
            result = self._finding(trial, sources.get(trial.number) if is_sound else None, results, before)
            if not trial.is_recorded:
                ended = FinishedTrial(trial, result, self._cost(trial.hyper) if is_sound else None, seconds)
                self.ledger.expect(trial, result, cost=ended.cost, seconds=seconds)
                self.finished.append(ended)
            before[trial.hyper.canonical, trial.samples, trial.draw] = self.ledger.record(trial.number)

    def _tell(self) -> None:
        """Let the ledger keep what is known so far."""
        for ended in self.finished:
            self.runs.before_told(ended.trial, ended.result)
            self.ledger.tell(ended.trial.number, ended.result, cost=ended.cost, seconds=ended.seconds)
        self.finished.clear()

    def _finding(
        self,
        trial: PlannedTrial,
        source: Known | PlannedTrial | None,
        results: dict[int, TrialResult],
        before: dict[tuple[Hyperparameters, int, int], TrialRecord],
    ) -> TrialResult:
        if isinstance(source, Known):
            result = read_off(source.record, source.label, trial.hyper.epochs)
        elif source is not None:
            result = read_off(results[source.number], f"trial {source.number}", trial.hyper.epochs)
        else:
            result = results[trial.number]
        if trial.draw:
            draws = (before.get((trial.hyper.canonical, trial.samples, draw)) for draw in reversed(range(trial.draw)))
            last = next((record for record in draws if record is not None and record.state == "complete"), None)
            result = result if last is None else pooled(result, last, f"trial {last.number}")
        return result

    def _cost(self, hyper: Hyperparameters) -> float | None:
        match self.config.cost:
            case "parameters":
                return float(self.variant.count(hyper.structure))
            case "time":
                samples = self.config.sampling.fold_count(self.splits, self.config.folds)
                return nominal_seconds(self.variant, hyper, samples - samples // self.config.folds)
        return None

    def _job(self, trial: PlannedTrial) -> Job:
        return Job(
            variant=self.variant,
            replicas=fold_replicas(
                self.splits,
                replace(self.config.sampling, samples=trial.samples or self.config.sampling.samples),
                trial.hyper,
                rounds=self.config.rounds,
                folds=self.config.folds,
                first_round=trial.draw * self.config.rounds,
                name=("trial", trial.number),
            ),
            stop=trial.stop,
        )


def result_of(folds: Sequence[Outcome], variant: Variant, pruner: str = "median") -> TrialResult:
    """What the folds of one trial say together; a trial with a fold that has failed has failed."""
    epochs, metric = min(fold.epochs for fold in folds), variant.metric.name
    failed = [(number, fold) for number, fold in enumerate(folds) if fold.has_failed]
    state: State = "complete"
    reason = ""
    if failed:
        state = "failed"
        reasons = {fold.reason for _, fold in failed}
        same = len(failed) == len(folds) and len(reasons) == 1
        reason = reasons.pop() if same else "; ".join(f"fold {number}: {fold.reason}" for number, fold in failed)
    elif any(fold.status == "stopped" for fold in folds):
        state, reason = "pruned", f"{REASONS[pruner]} after epoch {epochs}"
    return TrialResult(
        curves={
            name: np.mean([values[:epochs] for values in each], axis=0).tolist()
            for name, each in curves_of(folds, "validation").items()
        },
        fold_errors=[list(fold.curves.get(f"held_out_{metric}", ())) for fold in folds],
        metric=metric,
        state=state,
        reason=reason,
        replica_epochs=sum(fold.epochs for fold in folds),
    )
