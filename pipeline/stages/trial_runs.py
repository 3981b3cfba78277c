"""The runs of a search's trials: a projection of the study to the tracker that can be made again at any time."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from pipeline.data.pools import Pools
from pipeline.models.variant import Variant
from pipeline.stages.search_result import error_of
from pipeline.stages.stage import Setting, percent, show_hyper
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
    variant_params,
)
from pipeline.tuning.ledger import Ledger
from pipeline.tuning.trials import State, TrialRecord

RUN_STATUS: dict[State, Status] = {"complete": "FINISHED", "pruned": "KILLED", "failed": "FAILED"}


class TrialRuns:
    """One run for each finished trial, below the run of the search."""

    def __init__(
        self,
        tracker: Tracker,
        run: Run,
        ledger: Ledger,
        variant: Variant,
        pools: Pools,
        *,
        setting: Setting,
        origin: str,
    ) -> None:
        self.tracker, self.run, self.ledger = tracker, run, ledger
        self.variant, self.pools, self.setting, self.origin = variant, pools, setting, origin
        self.projected: set[int] = set()
        """Trials whose runs are complete."""
        self.begun: dict[int, RunRecord] = {}
        """Runs of trials that an earlier process did not complete."""

    def take_up(self) -> None:
        """Move the runs that earlier starts of the search left below this one."""
        for record in self.tracker.find("trial", study_id=self.ledger.id):
            self.tracker.reopen(record, self.run)
            number = int(record.tags["trial"])
            if record.status != "RUNNING" and record.tags.get("projected") == "true":
                self.projected.add(number)
            else:
                self.begun[number] = record

    def project(self) -> None:
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
            if digits := record.curves.get("validation_digit_error"):
                metrics.append(Metric("cv_validation_digit_error", digits[-1]))
        run.log(
            params={
                **variant_params(self.variant),
                **replace(self.setting, pairs=record.pairs or self.setting.pairs).params,
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
        outcome = record.reason or f"mean validation error {percent(error_of(record))}"
        origin = "the report's configuration" if record.hyper == self.variant.preset else self.origin
        if record.pairs:
            origin += f", on {record.pairs} {self.pools.train.sample}s a round"
        if record.read_off is not None:
            origin += f", read off the longer training of trial {record.read_off}"
        return (
            f"Trial {record.number} of study `{self.ledger.name}`: {self.variant.name} with "
            f"{show_hyper(self.variant, record.hyper)} ({origin}), {len(record.fold_errors)} folds of the training "
            f"pool alone. {record.state.capitalize()}: {outcome}."
        )
