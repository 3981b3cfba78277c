"""The runs of a search's trials: a projection of the study to the tracker that can be made again at any time."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from itertools import chain

import numpy as np

from pipeline.base.outages import TrackerAwayError
from pipeline.base.processes import process_tag
from pipeline.models.metrics import Unit
from pipeline.reports.tables import Table
from pipeline.stages.searching.context import SearchContext
from pipeline.stages.searching.result import error_of
from pipeline.stages.stage import show_hyper
from pipeline.tracking.port import (
    Metric,
    Run,
    RunQuery,
    RunRecord,
    RunStart,
    Status,
    config_tags,
    curve,
    variant_params,
    variant_tags,
)
from pipeline.tuning.ledger import LoggedRuns
from pipeline.tuning.trial_samplers import COMPLETE
from pipeline.tuning.trials import PlannedTrial, State, TrialRecord, TrialResult

log = logging.getLogger(__name__)
ROLE = "trial"
MANY = 50
"""Trials that are looked for one by one at most; of more all runs of the study are read."""
RUN_STATUS: dict[State, Status] = {"complete": "FINISHED", "pruned": "KILLED", "failed": "FAILED"}


class TrialRuns:
    """One run for each trial, below the run of the search, from when it is asked; and its page in the dashboard."""

    def __init__(self, context: SearchContext) -> None:
        self.config, self.variant, self.splits = context.config, context.variant, context.splits
        self.ledger, self.pages, self.tracker, self.run = context.ledger, context.pages, context.tracker, context.run
        self._open: dict[int, Run] = {}
        """Runs of trials that are not complete."""
        self.continues = ""
        """Run of the start before this one, which earlier trials stand below; empty for the first."""
        self._complete: set[int] = set()
        """Trials whose run is complete."""
        self._is_behind = False
        """Whether the tracker was away, and may have runs whose making it could not answer."""

    def take_up(self) -> None:
        """Find which trials have a complete run, and go on with the runs that are not.

        The study says which trials had a complete run when their search last kept that; the tracker is asked for the
        others alone, so that a start costs as much as there is new. A complete run stays below the search that made it.
        A trial has one run: of two, which two processes can have made when one of them was stopped, the first stays.
        """
        kept = self._kept()
        self._complete |= kept
        missing = [record.number for record in self.ledger.records() if record.number not in self._complete]
        seen = set[int]()  # apart from what was kept, whose own runs may be among these
        for record in self._complete_runs(missing):
            number = int(record.tags["trial"])
            if number in seen:
                self.tracker.discard(record)
            seen.add(number)
        self._complete |= seen
        mine = {run.id for run in self._open.values()}
        for record in self.tracker.search(RunQuery(role=ROLE, tags=self._study_tag, lacking="projected", reverse=True)):
            number = int(record.tags["trial"])
            if record.id in mine:
                continue
            if number in self._complete or number in self._open:
                self.tracker.discard(record)
            else:
                self._open[number] = self.tracker.reopen(record, self.run, again=True)
        if self._complete > kept:
            self._keep()

    def _kept(self) -> set[int]:
        """The trials with a complete run as the study has it, if its tracker is this one."""
        kept = self.ledger.runs
        if kept is None or not self.tracker.has(kept.search):
            return set()
        if kept.search != self.run.id:
            self.continues = kept.search
            self.run.log(tags={"continues": kept.search})
        return set(kept.trials)

    def _keep(self) -> None:
        self.ledger.keep_runs(LoggedRuns(search=self.run.id, trials=self._complete))

    def _complete_runs(self, trials: Sequence[int]) -> Iterator[RunRecord]:
        """Complete runs of these trials at least, the oldest first."""
        query = RunQuery(role=ROLE, tags={**self._study_tag, "projected": "true"}, reverse=True)
        if len(trials) > MANY:
            return self.tracker.search(query)
        each = (replace(query, tags={**query.tags, "trial": str(number)}) for number in trials)
        return chain.from_iterable(map(self.tracker.search, each))

    @property
    def _unit(self) -> Unit:
        return self.variant.metric.unit

    @property
    def _study_tag(self) -> dict[str, str]:
        return {"study_id": self.ledger.id}

    def keep_up(self, begun: Sequence[PlannedTrial], is_busy: Callable[[], bool]) -> None:
        """Open the runs of trials that begin, and complete as many of trials that are told; more only while others
        train. What a tracker that is away cannot be told now is told later, from the study."""
        self._at_once(partial(self._begin, begun))
        self._at_once(partial(self.project, len(begun), is_busy))

    def _begin(self, trials: Sequence[PlannedTrial]) -> None:
        for trial in trials:
            if not trial.is_recorded:
                self._opened(trial, trial.started.astimezone(UTC))

    def _at_once(self, call: Callable[[], None]) -> None:
        try:
            with self.tracker.at_once():
                call()
        except TrackerAwayError as error:
            if not self._is_behind:
                log.warning("the tracking store does not answer; the search goes on, and logs its trials later")
                log.debug("because of: %s", error)
            self._is_behind = True

    def before_told(self, trial: PlannedTrial, result: TrialResult) -> None:
        """Keep with a trial what cannot be added once it has ended: where its run is, and its curves as a file."""
        if trial.number in self._open:
            self.ledger.attach(trial.number, "mlflow_run", self.tracker.link(self._open[trial.number].id))
        self.pages.trial_file("curves.csv", _curve_table(result).csv().encode(), trial.number)

    def let_go(self) -> None:
        """Leave all runs to the process that has taken the study over; those that it has not found go."""
        for run in self._open.values():
            run.let_go()
            record = self.tracker.get(run.id)
            if record.tags.get("process") == process_tag():
                self.tracker.discard(record)

    def _opened(self, trial: PlannedTrial | TrialRecord, started: datetime) -> Run:
        """The run of a trial that is not complete."""
        number = trial.number
        if number not in self._open:
            tags = {
                **variant_tags(self.variant),
                "study": self.ledger.name,
                "study_id": self.ledger.id,
                "trial": str(number),
                "dashboard": self.pages.link(number),
                **config_tags(trial.hyper),
                **self.ledger.machine_of(number),
            }
            start = RunStart(name=f"trial {number:03d}", role=ROLE, tags=tags, data=self.splits, started=started)
            self._open[number] = self.tracker.start(start, self.run)
        return self._open[number]

    def project(self, least: int = 0, goes_on: Callable[[], bool] = lambda: True) -> None:
        """Bring the tracker up to the ledger, one complete run for each finished trial: at least so many, and then as
        long as it `goes_on`."""
        if self._is_behind:
            self.take_up()
            self._is_behind = False
            log.warning("the tracking store answers: the trials that it has missed are logged now")
        behind = [record for record in self.ledger.records() if record.number not in self._complete]
        for place, record in enumerate(behind):
            if place >= least and not goes_on():
                break
            self._project(record)
        if behind:
            self._keep()

    def _project(self, record: TrialRecord) -> None:
        ended = record.ended.astimezone(UTC)
        unit = self.variant.metric.unit
        error = "" if record.error is None else f"err {unit.scale * record.error:.1f} {unit.symbol}".rstrip()
        shown = error or record.state
        run = self._opened(record, record.started.astimezone(UTC))
        text = self._describe(record)
        link, name = self.pages.link(record.number), f"trial {record.number:03d} · {shown}"
        # Ended first: what is logged last says that the run is complete, and nothing may end it otherwise after that.
        run.end(RUN_STATUS[record.state], ended)
        self._log_trial(run, record, name, f"{text} In optuna-dashboard: [trial {record.number}]({link}).")
        self._complete.add(record.number)
        del self._open[record.number]
        self.pages.note(f"{text}\n\nIn MLflow: [run {run.id}]({self.tracker.link(run.id)}).", record.number)

    def _log_trial(self, run: Run, record: TrialRecord, name: str, description: str) -> None:
        first, *others = self.variant.metrics
        metrics = []  # those that sum up come first, since MLflow shows them in the order in which they came
        if record.error is not None:
            metrics.append(Metric(f"cv_validation_{first.name}", record.error))
            metrics.append(Metric(f"cv_validation_{first.name}_std", float(np.std(record.last_errors, ddof=1))))
            for metric in others:
                if values := record.curves.get(f"validation_{metric.name}"):
                    metrics.append(Metric(f"cv_validation_{metric.name}", values[-1]))
        if record.cost is not None:
            metrics.append(Metric(f"objective_{self.config.cost}", record.cost))
        # A comparison in MLflow begins with the first metric that all runs have, and pruned ones have no sum.
        for name_of_curve in sorted(record.curves, key=lambda each: each != f"validation_{first.name}"):
            metrics += curve(name_of_curve, record.curves[name_of_curve])
        metrics.append(Metric("replica_epochs", record.replica_epochs))
        for fold, errors in enumerate(record.fold_errors):
            metrics += curve(f"fold_{fold:02d}/validation_{first.name}", errors)
        run.log(
            params={
                **variant_params(self.variant),
                **replace(self.config.sampling, samples=record.samples or self.config.sampling.samples).params,
                **self.variant.shown(record.hyper),
                "trial": record.number,
            },
            metrics=[metric for metric in metrics if math.isfinite(metric.value)],
            tags={
                **({"source": record.source} if record.source else {}),
                "state": record.state,
                "projected": "true",
            },
            at=record.ended.astimezone(UTC),
            name=name,
            description=description,
        )

    def log_recheck(self, number: int, error: float) -> None:
        """Add to a trial's run what it gave on fresh folds."""
        for record in self._complete_runs([number]):
            self.tracker.reopen(record).log(metrics=[Metric("cv_recheck", error)])

    def reference(self, number: int) -> str:
        """The page of a trial's complete run, as a description names it."""
        return next((self.tracker.reference(record.id) for record in self._complete_runs([number])), "")

    def _describe(self, record: TrialRecord) -> str:
        outcome = record.reason or f"mean validation {self.variant.metric.title} {self._unit.show(error_of(record))}"
        chosen = self.config.sampler not in COMPLETE
        origin = f"proposed by {self.config.sampler}" if chosen else f"of a {self.config.sampler} search"
        if record.enqueued:
            origin = f"{', '.join(record.enqueued)} enqueued by hand, the rest {origin}"
        if record.hyper == self.variant.preset:
            origin = "the preset"
        if record.samples:
            origin += f", on {record.samples} {self.splits.train.sample_name}s a round"
        if record.source:
            origin += f", {record.source}"
        return (
            f"Trial {record.number} of study `{self.ledger.name}`: {self.variant.name} with "
            f"{show_hyper(self.variant, record.hyper)} ({origin}), {len(record.fold_errors)} folds of the training "
            f"samples alone. {record.state.capitalize()}: {outcome}."
        )


def _curve_table(result: TrialResult) -> Table:
    """Mean curves and those of every fold, a line for each epoch."""
    folds = {
        f"fold_{number:02d}/validation_{result.metric}": errors for number, errors in enumerate(result.fold_errors)
    }
    series = {**result.curves, **folds}
    epochs = max(map(len, series.values()), default=0)
    rows = [
        [epoch + 1, *(f"{values[epoch]:.6f}" if epoch < len(values) else "" for values in series.values())]
        for epoch in range(epochs)
    ]
    return Table(["epoch", *series], rows)
