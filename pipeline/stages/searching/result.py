"""What a search has found: the best trial, how it compares with the preset, and tables."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from pipeline.models.metrics import Metric
from pipeline.models.variant import Variant
from pipeline.reports.statistics import Summary, summarise
from pipeline.reports.tables import Table
from pipeline.stages.searching.config import SearchConfig
from pipeline.stages.stage import show_value
from pipeline.tuning.space import Space
from pipeline.tuning.trials import Recheck, TrialRecord, best_of, ranking


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """The finished trials of a search, and what they say together."""

    variant: Variant
    space: Space
    records: Sequence[TrialRecord] = ()
    """By number."""
    config: SearchConfig
    samples: int
    """Training samples of a round."""
    recheck: Recheck | None = None
    """What trying the best again gave."""

    def with_records(self, records: Sequence[TrialRecord], recheck: Recheck | None = None) -> SearchResult:
        """The same search, further on."""
        return replace(self, records=records, recheck=recheck)

    @property
    def comparable(self) -> list[TrialRecord]:
        """Those that were trained on as many samples as the search has."""
        return [record for record in self.records if not record.samples]

    @property
    def ranked(self) -> list[TrialRecord]:
        """The configurations of complete ones, the best first."""
        return ranking(self.comparable)

    @property
    def best(self) -> TrialRecord | None:
        """The best by the search itself, if any is complete."""
        return best_of(self.comparable)

    @property
    def rechecked(self) -> list[TrialRecord]:
        """Those that were tried again, the best by that first; without those that failed then."""
        if self.recheck is None:
            return []
        scores = {number: self.recheck.score(number, self.config.select) for number in self.recheck.fold_errors}
        tried = [record for record in self.records if math.isfinite(scores.get(record.number, math.inf))]
        return sorted(tried, key=lambda record: (scores[record.number], record.score, record.number))

    @property
    def chosen(self) -> TrialRecord | None:
        """The winner: the best by the recheck, or by the search if there was none."""
        return next(iter(self.rechecked), None) or self.best

    @property
    def baseline(self) -> TrialRecord | None:
        """The complete trial of the preset, if there is one to compare with."""
        found = (record for record in self.comparable if record.hyper == self.variant.preset)
        return next((record for record in found if record.error is not None), None)

    @property
    def front(self) -> list[TrialRecord]:
        """With two objectives: the complete trials of which no other is better in both, the cheapest first."""
        front: list[TrialRecord] = []
        for record in sorted(self.ranked, key=lambda record: (record.cost, record.score, record.number)):
            assert record.score is not None
            if not front or record.score < (front[-1].score or 0.0):
                front.append(record)
        return front

    def summary(self, errors: Sequence[float]) -> Summary:
        """Of the metric of folds, whose training samples overlap."""
        return summarise(errors, self.variant.metric.unit, overlap=1 / (self.config.folds - 1))

    def rechecked_error(self, record: TrialRecord) -> float:
        """Mean over the folds of the recheck; NaN without one."""
        errors = () if self.recheck is None else self.recheck.fold_errors.get(record.number, ())
        return float(np.mean(errors)) if errors else math.nan

    @property
    def replica_epochs(self) -> int:
        """What was trained, all starts and the recheck together."""
        return sum(record.replica_epochs for record in self.records) + (
            0 if self.recheck is None else self.recheck.replica_epochs
        )

    @property
    def seconds(self) -> float:
        """What the trials and the recheck took, all starts together."""
        return sum(record.seconds for record in self.records) + (0.0 if self.recheck is None else self.recheck.seconds)

    @property
    def saved(self) -> tuple[int, int, int]:
        """Replica-epochs if every trial had been trained to its end, and those saved by reuse and by pruning."""
        whole = read = pruned = 0
        for record in self.records:
            planned = record.hyper.epochs * self.config.folds * self.config.rounds
            whole += planned
            if record.replica_epochs == 0:
                read += planned
            elif record.state == "pruned":
                pruned += planned - record.replica_epochs
        return whole, read, pruned

    def progress(self) -> str:
        """The best so far and the work saved, for the line that is shown meanwhile."""
        best = self.best
        if best is None:
            return ""
        whole, *saved = self.saved
        summary = self.summary(best.last_errors)
        share = f", {sum(saved) / whole:.0%} saved" if sum(saved) else ""
        return f"best {self._shown(error_of(best))} {summary.interval()} (trial {best.number}){share}"

    def headline(self, chosen: TrialRecord) -> str:
        """What was found, in a sentence."""
        title, error = self.variant.metric.title, self._shown(error_of(chosen))
        found = f"{self.variant.name}: mean validation {title} {error} (trial {chosen.number})"
        if self.rechecked:
            found += f", {self._shown(self.rechecked_error(chosen))} on fresh folds"
        baseline = self.baseline
        if baseline is None:
            tried = [record for record in self.comparable if record.hyper == self.variant.preset]
            why = f"gave none ({tried[-1].reason})" if tried else "was not among those tried"
            return f"{found}; the preset {why}"
        if chosen.number == baseline.number:
            return f"{found}, which is the preset itself: no other beat it"
        gain, unit = error_of(baseline) - error_of(chosen), self.variant.metric.unit
        relation = f"{unit.number(abs(gain))}{unit.suffix} {'below' if gain >= 0 else 'above'}"
        return f"{found}; by the search {relation} the preset ({self._shown(error_of(baseline))})"

    def _shown(self, value: float) -> str:
        return self.variant.metric.unit.show(value)

    def table(self, records: Sequence[TrialRecord]) -> Table:
        """Trials with what was searched, and with what in the preset is not the default."""
        shown, defaults = self.variant.shown(self.variant.preset), self.variant.defaults
        named = {*self.space.dimensions, *(name for name, value in shown.items() if value != defaults.get(name))}
        names = [name for name in self.variant.hyperparameters if name in named]
        more = self._more()
        return Table(
            ["trial", "state", f"validation {self.variant.metric.title}", *more, *names],
            [
                [
                    record.number,
                    record.state,
                    self._shown(error_of(record)),
                    *(cell(record) for cell in more.values()),
                    *(show_value(record.hyper.as_dict()[name]) for name in names),
                ]
                for record in records
            ],
        )

    def _more(self) -> dict[str, Callable[[TrialRecord], str]]:
        """The columns that only some searches have."""
        more: dict[str, Callable[[TrialRecord], str]] = {}
        if self.recheck is not None:
            more["on fresh folds"] = lambda record: self._shown(self.rechecked_error(record))
        if self.config.select != "mean":
            more[self.config.select] = lambda record: "-" if record.score is None else self._shown(record.score)
        if self.config.cost:
            more[self.config.cost] = lambda record: "-" if record.cost is None else f"{record.cost:.4g}"
        for metric in self.variant.metrics[1:]:
            more[metric.title] = partial(_last_of, metric)
        if any(record.samples for record in self.records):
            more["samples"] = lambda record: str(record.samples or self.samples)
        return more


def _last_of(metric: Metric, record: TrialRecord) -> str:
    return metric.unit.show(record.curves.get(f"validation_{metric.name}", [math.nan])[-1])


def error_of(record: TrialRecord) -> float:
    """Mean of the searched metric over folds after the last epoch; NaN unless complete."""
    return math.nan if record.error is None else record.error
