"""What the rows of a published table need: found in the tracker where it was measured before, or measured now.

Whatever was measured with the same variant, configuration, data, rounds and seed counts, so an interrupted table goes
on where it was, and tables share what they have in common.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipeline.data.pools import Pools
from pipeline.data.prepared import DataConfig, load_pools
from pipeline.errors import StageError
from pipeline.models.registry import get_variant
from pipeline.reports.statistics import summarise
from pipeline.stages import cross_validate, evaluate, search
from pipeline.stages.comparing.evaluations import Evaluation
from pipeline.stages.planning import Work
from pipeline.stages.reproducing.config import ReproduceConfig
from pipeline.stages.reproducing.published import BEST_EPOCH, PublishedTable, Row
from pipeline.stages.searching import plan as search_plan
from pipeline.stages.searching.config import SearchConfig
from pipeline.stages.stage import Reporter, Setting
from pipeline.tracking.port import Run, RunRecord, Tracker


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One figure of ours, in the report's unit."""

    mean: float
    std: float = math.nan
    n: int = 1
    """Measurements that the mean is over."""
    overlap: float = 0.0
    """Of the samples that they share; see `summarise`."""

    @property
    def standard_error(self) -> float:
        """Of the mean; NaN of a single measurement."""
        return self.std * math.sqrt(1 / self.n + self.overlap)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A row with what it gave."""

    row: Row
    run: RunRecord
    figures: Mapping[str, Measure]
    errors_R: Sequence[float] = ()
    """Test error of each round at the row's epoch, or validation error of each fold, as shares; empty where they were
    not kept."""
    seconds: float
    """What its trainings took, one after the other on one worker."""
    evaluation: Evaluation | None = None


class Bench(ABC):
    """Where the rows of one table are measured."""

    roles: tuple[str, ...]
    """Of the runs that rows are read off."""

    def __init__(self, config: ReproduceConfig, table: PublishedTable, tracker: Tracker) -> None:
        self.config, self.table, self.tracker = config, table, tracker
        self.rounds = config.rounds_of(table)
        self._pools: dict[DataConfig, Pools] = {}

    @property
    def overlap(self) -> float:
        """Of what the errors of a row share; see `judge`."""
        return 0.0

    @property
    def rows(self) -> tuple[Row, ...]:
        """Those of the table and of its experiments."""
        return (*self.table.rows, *self.table.experiments)

    @property
    def trainings(self) -> list[Row]:
        """The first row of each training that rows are read off."""
        first: dict[object, Row] = {}
        for row in self.rows:
            first.setdefault(self.training(row), row)
        return list(first.values())

    def training(self, row: Row) -> object:
        """Equal for rows, of any table, that are read off one run."""
        wanted = row.trials or row.hyper.canonical
        return type(self), row.model, wanted, tuple(self.params(row).items())

    def setting(self, row: Row) -> Setting:
        """The data of a row, and how it is drawn."""
        return self.config.setting_of(self.table, row)

    def pools(self, row: Row) -> Pools:
        """The samples of a row."""
        data = self.setting(row).data
        if data not in self._pools:
            self._pools[data] = load_pools(data)
        return self._pools[data]

    def measure(self, reporter: Reporter, parent: Run) -> list[Measured]:
        """Every row, in its order; what was not measured before is measured now."""
        missing = [row for row in self.trainings if self.found(row) is None]
        for number, row in enumerate(missing, start=1):
            if self.found(row) is None:  # else an earlier one has brought it
                reporter.say(f"{self.table.id}: {number} of {len(missing)}, {row.label}")
                self.run(row, reporter, parent)
        return [self.read(row, self._record(row)) for row in self.rows]

    def plan(self, planned: set[object]) -> list[Work]:
        """What would have to be measured besides the trainings that are `planned`, to which it adds its own."""
        works = []
        for row in self.trainings:
            if self.training(row) in planned:
                continue
            planned.add(self.training(row))
            what, found, data = f"{self.table.id}: {row.label}", self.found(row), self.setting(row).data
            if found is not None:
                works.append(Work(what=what, done=f"run {found.id}"))
            else:
                works += [replace(work, what=what, note="", data=data) for work in self.work(row)]
        return works

    def found(self, row: Row) -> RunRecord | None:
        """The newest finished run that has measured a row in its setting."""
        variant, wanted = get_variant(row.model), row.hyper.canonical
        for record in self._alike(row):
            if record.config and variant.completed(record.config).canonical == wanted:
                return record
        return None

    def _alike(self, row: Row) -> Iterator[RunRecord]:
        """The finished runs of the row's variant that measured one configuration in its setting, the newest first."""
        params = self.params(row)
        for role in self.roles:
            for record in self.tracker.find(role, model=row.model, dataset_digest=self.pools(row).digest):
                alike = all(record.params.get(name) == str(value) for name, value in params.items())
                if alike and record.status == "FINISHED" and record.config:
                    yield record

    def _record(self, row: Row) -> RunRecord:
        record = self.found(row)
        if record is None:
            raise StageError(f"{self.table.id}: a row must end in a finite error, but {row.label} did not")
        return record

    def params(self, row: Row) -> dict[str, object]:
        """What a run has logged that measured in the setting of a row."""
        return {**self.setting(row).params, "rounds": self.rounds, "precision": self.config.compute.precision}

    @abstractmethod
    def run(self, row: Row, reporter: Reporter, parent: Run) -> None:
        """Measure a row."""

    @abstractmethod
    def work(self, row: Row) -> list[Work]:
        """What measuring it would take."""

    @abstractmethod
    def read(self, row: Row, record: RunRecord) -> Measured:
        """What a run says to a row."""


class EvaluateBench(Bench):
    """Rows that are measured on test samples."""

    roles = ("evaluate",)

    def _config(self, row: Row) -> evaluate.EvaluateConfig:
        return evaluate.EvaluateConfig(
            setting=self.setting(row),
            model=row.model,
            rounds=self.rounds,
            preset="report",
            changes=row.changes,
            compute=self.config.compute,
        )

    def _search(self, row: Row) -> SearchConfig:
        """What finds the configuration of a row, where that is not the report's."""
        return SearchConfig(
            setting=self.setting(row),
            model=row.model,
            n_trials=row.trials,
            storage=self.config.storage,
            compute=self.config.compute,
        )

    def found(self, row: Row) -> RunRecord | None:
        """Of a row whose configuration is searched, the newest run that measured what such a search had found."""
        if not row.trials:
            return super().found(row)
        for record in self._alike(row):
            if record.params.get("search_wanted") == str(row.trials):
                return record
        return None

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
        epoch = 1 + int(np.argmin(entry.curve("test_error")[0])) if row.epoch == BEST_EPOCH else row.epoch
        errors = entry.test_error_R if epoch is None else (entry.test_error_at_R(epoch) or ())
        names = ("train_error", "test_error", "test_digit_error")
        figures = {name: found for name in names if (found := self._error(entry, name, epoch))}
        for name in ("train_error", "test_error"):
            values = entry.rounds(name) if epoch is None else errors if name == "test_error" else ()
            if values:
                figures[f"{name}_min"] = Measure(mean=100 * min(values))
                figures[f"{name}_max"] = Measure(mean=100 * max(values))
        error = figures["test_error"]
        figures["test_accuracy"] = replace(error, mean=100 - error.mean)
        figures["parameters"] = Measure(mean=entry.parameters)
        figures["seconds_per_epoch"] = Measure(mean=record.metrics["seconds_per_epoch"])
        figures["seconds"] = Measure(mean=entry.round_seconds)
        return Measured(
            row=row,
            run=record,
            figures=figures,
            errors_R=errors,
            seconds=entry.round_seconds * self.rounds,
            evaluation=entry,
        )

    def _error(self, entry: Evaluation, name: str, epoch: int | None) -> Measure | None:
        if epoch is None:
            values = entry.rounds(name)
            if not values:
                return None
            error = summarise(values)
            return Measure(mean=100 * error.mean, std=100 * error.std, n=error.n)
        means, stds = entry.curve(name)
        if not means:
            return None
        std = 100 * stds[epoch - 1] if stds else math.nan
        return Measure(mean=100 * means[epoch - 1], std=std, n=self.rounds)


class CrossValidateBench(Bench):
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
        """The grid of all missing cells of the row's variant."""
        values: dict[str, dict[str, None]] = {}
        for each in self.rows:
            if each.model == row.model and self.found(each) is None:
                for part in each.changes.split():
                    name, _, value = part.partition("=")
                    values.setdefault(name, {})[value] = None
        return cross_validate.CrossValidateConfig(
            setting=self.setting(row),
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
        figures = {
            name: Measure(
                mean=100 * record.metrics[f"cv_{name}"],
                std=100 * record.metrics[f"cv_{name}_std"],
                n=self.rounds * self._folds,
                overlap=self.overlap,
            )
            for name in ("train_error", "validation_error")
        }
        error = figures["validation_error"]
        figures["validation_error_of_all"] = replace(error, mean=error.mean / self._folds, std=error.std / self._folds)
        errors = self.tracker.history(record.id, "fold/validation_error")
        seconds = record.metrics["seconds_per_epoch"] * row.hyper.epochs * self.rounds * self._folds
        return Measured(row=row, run=record, figures=figures, errors_R=errors, seconds=seconds)


class SearchBench(Bench):
    """Rows that show what a search chose."""

    roles = ("search",)

    def _config(self, row: Row) -> SearchConfig:
        protocol = self.table.protocol
        assert protocol.folds is not None
        return SearchConfig(
            setting=self.setting(row),
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
        return {name: value for name, value in found.items() if name != "test_pairs"}

    def found(self, row: Row) -> RunRecord | None:
        """The newest finished search of the row's variant, whatever it chose."""
        return next(self._alike(row), None)

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
            "parameters": Measure(mean=get_variant(row.model).count(chosen.structure)),
        }
        seconds = record.metrics["search_seconds"] * self.config.compute.resolved().workers
        return Measured(row=row, run=record, figures=figures, seconds=seconds)


BENCHES: dict[str, type[Bench]] = {
    "evaluate": EvaluateBench,
    "cross_validate": CrossValidateBench,
    "search": SearchBench,
}
"""By the stage that a table needs."""


def bench(config: ReproduceConfig, table: PublishedTable, tracker: Tracker) -> Bench:
    """Where a table is measured."""
    return BENCHES[table.protocol.stage](config, table, tracker)
