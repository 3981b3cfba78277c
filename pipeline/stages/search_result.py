"""What a search has found: the best trial, how it compares with the report's configuration, tables and pictures."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from pipeline.models.variant import Variant
from pipeline.reports.figures import error_against, grid_heat_map, loss_curve, search_history
from pipeline.reports.tables import Table
from pipeline.stages.stage import percent, show_hyper, show_value
from pipeline.tracking.port import Run
from pipeline.tuning.space import Space
from pipeline.tuning.strategies import ALPHA
from pipeline.tuning.trials import TrialRecord, best_of


@dataclass(frozen=True)
class Found:
    """The finished trials of a search, and what they say together."""

    variant: Variant
    space: Space
    records: Sequence[TrialRecord]
    """By number."""
    select: str = field(kw_only=True)
    """What the best has least of."""
    samples: int = field(kw_only=True)
    """Training samples of a round."""

    @property
    def comparable(self) -> list[TrialRecord]:
        """Those that were trained on as many samples as the search has."""
        return [record for record in self.records if not record.pairs]

    @property
    def best(self) -> TrialRecord | None:
        """The best of them, if any is complete."""
        return best_of(self.comparable)

    @property
    def baseline(self) -> TrialRecord | None:
        """The complete trial of the report's configuration, if there is one to compare with."""
        found = (record for record in self.comparable if record.hyper == self.variant.preset)
        return next((record for record in found if record.error is not None), None)

    @property
    def ranked(self) -> list[TrialRecord]:
        """All trials, the best first; those on fewer samples after the others."""
        return sorted(
            self.records,
            key=lambda record: (record.score is None, record.pairs > 0, record.score or 0.0, record.number),
        )

    def headline(self, best: TrialRecord) -> str:
        """What was found, in a sentence."""
        found = f"{self.variant.name}: best mean validation error {percent(error_of(best))} (trial {best.number})"
        baseline = self.baseline
        if baseline is None:
            tried = [record for record in self.comparable if record.hyper == self.variant.preset]
            why = f"gave none ({tried[-1].reason})" if tried else "was not among those tried"
            return f"{found}; the report's configuration {why}"
        if best.number == baseline.number:
            return f"{found}, which is the report's own configuration: no other beat it"
        gain = 100 * (error_of(baseline) - error_of(best))
        return f"{found}, {gain:.2f} points below the report's configuration ({percent(error_of(baseline))})"

    def table(self, records: Sequence[TrialRecord]) -> Table:
        """Trials with what was searched, and with what in the preset is not the default."""
        shown, defaults = self.variant.shown(self.variant.preset), self.variant.defaults
        told = {*self.space.dimensions, *(name for name, value in shown.items() if value != defaults.get(name))}
        names = [name for name in self.variant.hyperparameters if name in told]
        more: dict[str, Callable[[TrialRecord], str]] = {}
        if self.select != "mean":
            more[self.select] = lambda record: "-" if record.score is None else percent(record.score)
        if self.variant.recognises_digits:
            more["digit error"] = lambda record: percent(record.curves.get("validation_digit_error", [math.nan])[-1])
        if any(record.pairs for record in self.records):
            more["pairs"] = lambda record: str(record.pairs or self.samples)
        return Table(
            ["trial", "state", "validation error", *more, *names],
            [
                [
                    record.number,
                    record.state,
                    percent(error_of(record)),
                    *(cell(record) for cell in more.values()),
                    *(show_value(record.hyper.as_dict()[name]) for name in names),
                ]
                for record in records
            ],
        )

    def log_history(self, run: Run) -> None:
        """Keep the error of every trial by number, beside that of the report's configuration."""
        pruned = [record for record in self.records if record.state == "pruned"]
        run.figure(
            "history.png",
            search_history(
                {record.number: record.error for record in self.comparable if record.error is not None},
                {record.number: record.curves["validation_error"][-1] for record in pruned},
                None if self.baseline is None else self.baseline.error,
                {record.number: record.error for record in self.records if record.pairs and record.error is not None},
            ),
        )

    def log_two_steps(self, run: Run, best: TrialRecord) -> None:
        """Keep what report 003's figure 2 shows: error over the grid, error against alpha, and loss against epoch."""
        complete = [record for record in self.records if record.state == "complete"]
        searched = [name for name in self.space.dimensions if name != ALPHA]
        if len(searched) > 1:
            first = [record for record in complete if record.hyper.alpha == self.space.preset.alpha]
            self._log_heat_map(run, first, *searched[:2])
        along = [record for record in complete if record.hyper.having({ALPHA: 0}) == best.hyper.having({ALPHA: 0})]
        if len(along) > 1:
            along.sort(key=lambda record: record.hyper.alpha)
            folds = np.array([[errors[-1] for errors in record.fold_errors] for record in along])
            alphas = [record.hyper.alpha for record in along]
            means, spreads = folds.mean(1).tolist(), folds.std(1, ddof=1).tolist()
            run.figure("alpha.png", error_against(alphas, means, spreads, ALPHA, best.hyper.alpha))
        title = f"{self.variant.name}: mean over folds\n{show_hyper(self.variant, best.hyper)}"
        run.figure("loss.png", loss_curve(best.curves["train_loss"], best.curves["validation_loss"], title))

    def _log_heat_map(self, run: Run, records: Sequence[TrialRecord], rows: str, columns: str) -> None:
        """The least error for each pair of values of two hyperparameters; the least of all is framed."""
        values = {name: self.space.dimensions[name].grid for name in (rows, columns)}
        error_VW = np.full([len(grid) for grid in values.values()], np.nan)
        for record in records:
            hyper = record.hyper.as_dict()
            cell = tuple(grid.index(hyper[name]) for name, grid in values.items())
            error_VW[cell] = np.fmin(error_VW[cell], error_of(record))
        chosen = None
        if np.isfinite(error_VW).any():
            row, column = np.unravel_index(np.nanargmin(error_VW), error_VW.shape)
            chosen = (int(row), int(column))
        ticks = {name: [show_value(value) for value in grid] for name, grid in values.items()}
        run.figure("heat_map.png", grid_heat_map(error_VW, ticks[rows], ticks[columns], rows, columns, chosen))


def error_of(record: TrialRecord) -> float:
    """Mean validation error over folds after the last epoch; NaN unless complete."""
    return math.nan if record.error is None else record.error
