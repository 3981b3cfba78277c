"""How the rows of each kind of table are measured: by evaluate, by cross_validate or by search."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pipeline.base.stored import TEST_SAMPLES
from pipeline.data.dataset import Splits
from pipeline.models.metrics import SHARE
from pipeline.reports.statistics import summarise
from pipeline.stages import cross_validate, evaluate, search
from pipeline.stages.comparing.evaluations import Evaluation
from pipeline.stages.planning import Work
from pipeline.stages.reproducing.config import ReproduceConfig
from pipeline.stages.reproducing.published import BEST_EPOCH, OWN_BEST_EPOCH, Epoch, PublishedTable, Row
from pipeline.stages.reproducing.runner import Measure, Measured, TableRunner
from pipeline.stages.searching import plan as search_plan
from pipeline.stages.searching.config import SearchConfig, space_of
from pipeline.stages.stage import Reporter
from pipeline.tracking.port import Run, RunRecord, Tracker

PARTS = ("train", "test")


class EvaluateRunner(TableRunner):
    """Rows that are measured on test samples."""

    roles = ("evaluate",)

    def _config(self, row: Row) -> evaluate.EvaluateConfig:
        return evaluate.EvaluateConfig(
            sampling=self.sampling(row),
            model=row.model,
            rounds=self.rounds,
            preset="report",
            changes=row.changes,
            compute=self.config.compute,
        )

    def _search(self, row: Row) -> SearchConfig:
        """What finds the configuration of a row, where that is not the report's."""
        return SearchConfig(
            sampling=self.sampling(row),
            model=row.model,
            n_trials=row.trials,
            rounds=row.search_rounds,
            storage=self.config.storage,
            compute=self.config.compute,
        )

    def found(self, row: Row) -> RunRecord | None:
        """Of a row whose configuration is searched, the newest run that measured what such a search had found."""
        if not row.trials:
            return super().found(row)
        search, splits = self._search(row), self.splits(row)
        searches = {
            record.id for record in self.tracker.find("search", model=row.model) if _is_of(record, search, splits)
        }
        return next((record for record in self._alike(row) if record.tags.get("config_from") in searches), None)

    def run(self, row: Row, reporter: Reporter, parent: Run) -> None:
        """Evaluate the row's configuration, searched before if need be."""
        config = self._config(row)
        if row.trials:
            config = replace(config, from_run=search.run(self._search(row), self.tracker, reporter, parent).run_id)
        evaluate.run(config, self.tracker, reporter, parent)

    def work(self, row: Row) -> list[Work]:
        """All rounds, and the trials before them."""
        before = search_plan.plan(self._search(row)) if row.trials else []
        return [*before, *evaluate.plan(self._config(row), self.tracker)]

    def read(self, row: Row, record: RunRecord) -> Measured:
        """At the row's epoch, or after the last one."""
        entry = Evaluation(run=record, tracker=self.tracker)
        first = entry.variant.metric
        test = f"test_{first.name}"
        epoch = 1 + int(np.argmin(entry.curve(test)[0])) if row.epoch == BEST_EPOCH else row.epoch
        values = _values(entry, None if epoch == entry.hyper.epochs else epoch, row.by)
        scale = {f"{part}_{metric.name}": metric.unit.scale for part in PARTS for metric in entry.variant.metrics}
        figures = {name: _measure(value_R, scale[name]) for name, value_R in values.items()}
        if isinstance(epoch, int):
            figures = self._by_curves(entry, epoch) | figures
        for name in {f"{part}_{first.name}" for part in PARTS} & values.keys():
            figures[f"{name}_min"] = Measure(mean=scale[name] * min(values[name]))
            figures[f"{name}_max"] = Measure(mean=scale[name] * max(values[name]))
        if test in figures and first.unit == SHARE:
            figures["test_accuracy"] = replace(figures[test], mean=100 - figures[test].mean)
        figures["parameters"] = Measure(mean=entry.parameters)
        figures["seconds_per_epoch"] = Measure(mean=record.metrics["seconds_per_epoch"])
        figures["seconds"] = Measure(mean=entry.round_seconds)
        return Measured(
            row=row,
            run=record,
            figures=figures,
            errors_R=values.get(test, ()),
            seconds=entry.round_seconds * self.rounds,
            evaluation=entry,
        )

    def _by_curves(self, entry: Evaluation, epoch: int) -> dict[str, Measure]:
        """Other metrics than the first by their curves, which runs without a file of them by round have too."""
        found = {}
        for metric in entry.variant.metrics[1:]:
            means, stds = entry.curve(f"test_{metric.name}")
            if means:
                std = metric.unit.scale * stds[epoch - 1] if stds else math.nan
                mean = metric.unit.scale * means[epoch - 1]
                found[f"test_{metric.name}"] = Measure(mean=mean, std=std, n=self.rounds)
        return found


def _values(entry: Evaluation, epoch: Epoch | None, by: str) -> dict[str, list[float]]:
    """What every round gave after the last epoch, or another one; then nothing on training samples, where it is not
    measured. `by` is the metric that says which epoch is a round's own best."""
    metrics = entry.variant.metrics
    if epoch is None:
        names = [f"{part}_{metric.name}" for part in PARTS for metric in metrics]
        return {name: value_R for name in names if (value_R := entry.rounds(name))}
    kept = {f"test_{each.name}": value for each in metrics if (value := entry.by_epoch_ER(each.name)) is not None}
    decides = f"test_{by if by and epoch == OWN_BEST_EPOCH else metrics[0].name}"
    if decides not in kept:
        return {}
    rounds = np.arange(kept[decides].shape[1])
    at_R = kept[decides].argmin(0) if epoch == OWN_BEST_EPOCH else np.full_like(rounds, int(epoch) - 1)
    return {name: value_ER[at_R, rounds].tolist() for name, value_ER in kept.items()}


def _measure(value_R: Sequence[float], scale: float) -> Measure:
    """A metric of every round, in its unit."""
    summary = summarise(value_R)
    return Measure(mean=scale * summary.mean, std=scale * summary.std, n=summary.n)


class CrossValidateRunner(TableRunner):
    """Rows that are cells of a cross-validated grid."""

    roles = ("cell", "cross_validate")

    @property
    def _folds(self) -> int:
        assert self.table.protocol.folds is not None
        return self.table.protocol.folds

    @property
    def overlap(self) -> float:
        """Validation samples over training samples."""
        return 1 / (self._folds - 1)

    def params(self, row: Row) -> dict[str, object]:
        """With the folds."""
        return {**super().params(row), "folds": self._folds, "patience": 0}

    def _config(self, row: Row) -> cross_validate.CrossValidateConfig:
        """The grid of all missing cells of the row's variant that change the same hyperparameters."""
        values: dict[str, dict[str, None]] = {name: {} for name in _changes(row)}
        for each in self.rows:
            changes = _changes(each)
            if each.model == row.model and changes.keys() == values.keys() and self.found(each) is None:
                for name, value in changes.items():
                    values[name][value] = None
        return cross_validate.CrossValidateConfig(
            sampling=self.sampling(row),
            model=row.model,
            rounds=self.rounds,
            folds=self._folds,
            grid=" ".join(f"{name}={','.join(listed)}" for name, listed in values.items()) or "preset",
            compute=self.config.compute,
        )

    def run(self, row: Row, reporter: Reporter, parent: Run) -> None:
        """Cross-validate all missing cells of the row's variant."""
        cross_validate.run(self._config(row), self.tracker, reporter, parent)

    def work(self, row: Row) -> list[Work]:
        """The row's cell by itself; cells that differ in epochs alone are then read off one training."""
        return cross_validate.plan(replace(self._config(row), grid=row.changes or "preset"))

    def read(self, row: Row, record: RunRecord) -> Measured:
        """Mean and standard deviation over all folds of all rounds."""
        metric = row.variant.metric
        figures = {
            name: Measure(
                mean=metric.unit.scale * record.metrics[f"cv_{name}"],
                std=metric.unit.scale * record.metrics[f"cv_{name}_std"],
                n=self.rounds * self._folds,
                overlap=self.overlap,
            )
            for name in (f"train_{metric.name}", f"validation_{metric.name}")
        }
        validation = f"validation_{metric.name}"
        mean, std = (value / self._folds for value in (figures[validation].mean, figures[validation].std))
        figures[f"{validation}_of_all"] = replace(figures[validation], mean=mean, std=std)
        errors = self.tracker.history(record.id, f"fold/{validation}")
        seconds = record.metrics["seconds_per_epoch"] * row.hyper.epochs * self.rounds * self._folds
        return Measured(row=row, run=record, figures=figures, errors_R=errors, seconds=seconds)


class SearchRunner(TableRunner):
    """Rows that show what a search chose."""

    roles = ("search",)

    def _config(self, row: Row) -> SearchConfig:
        protocol = self.table.protocol
        assert protocol.folds is not None
        return SearchConfig(
            sampling=self.sampling(row),
            model=row.model,
            rounds=self.rounds,
            folds=protocol.folds,
            sampler=protocol.sampler,
            storage=self.config.storage,
            compute=self.config.compute,
        )

    def params(self, row: Row) -> dict[str, object]:
        """With the folds and the sampler; a search uses no test samples."""
        found = {**super().params(row), "folds": self.table.protocol.folds, "sampler": self.table.protocol.sampler}
        return {name: value for name, value in found.items() if name != TEST_SAMPLES}

    def found(self, row: Row) -> RunRecord | None:
        """The newest finished search of the row's variant, whatever it chose."""
        search, splits = self._config(row), self.splits(row)
        return next((record for record in self._alike(row) if _is_of(record, search, splits)), None)

    def run(self, row: Row, reporter: Reporter, parent: Run) -> None:
        """Search; an interrupted search goes on where it was."""
        search.run(self._config(row), self.tracker, reporter, parent)

    def work(self, row: Row) -> list[Work]:
        """All trials."""
        return search_plan.plan(self._config(row))

    def read(self, row: Row, record: RunRecord) -> Measured:
        """The hyperparameters that it chose."""
        assert record.config is not None
        chosen = record.config
        figures = {
            "lr": Measure(mean=chosen.lr),
            "batch_size": Measure(mean=chosen.batch_size),
            "alpha": Measure(mean=chosen.alpha),
            "parameters": Measure(mean=row.variant.count(chosen.structure)),
        }
        seconds = record.metrics["search_seconds"] * self.config.compute.resolved().workers
        return Measured(row=row, run=record, figures=figures, seconds=seconds)


RUNNERS: dict[str, type[TableRunner]] = {
    "evaluate": EvaluateRunner,
    "cross_validate": CrossValidateRunner,
    "search": SearchRunner,
}
"""By the stage that a table needs."""


def runner_of(config: ReproduceConfig, table: PublishedTable, tracker: Tracker) -> TableRunner:
    """Where a table is measured."""
    return RUNNERS[table.protocol.stage](config, table, tracker)


def _is_of(record: RunRecord, search: SearchConfig, splits: Splits) -> bool:
    """Whether a run is that of such a search, in the same study and for as many trials."""
    names = ("n_trials", "recheck", "budget", "timeout")
    wanted = {name: str(search.params[name]) for name in names}
    return record.tags.get("study") == search.study_name(space_of(search), search.variant, splits) and (
        wanted == {name: record.params.get(name) for name in names}
    )


def _changes(row: Row) -> dict[str, str]:
    """What differs from the preset, by name."""
    return {name: value for name, _, value in (part.partition("=") for part in row.changes.split())}
