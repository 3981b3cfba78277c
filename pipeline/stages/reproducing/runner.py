"""What the rows of a published table need: found in the tracker where it was measured before, or measured now.

Whatever was measured with the same variant, configuration, data, rounds and seed counts, so an interrupted table goes
on where it was, and tables share what they have in common.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pipeline.base.errors import StageError
from pipeline.data.config import DataConfig
from pipeline.data.dataset import Splits
from pipeline.stages.comparing.evaluations import Evaluation
from pipeline.stages.planning import Work
from pipeline.stages.reproducing.config import MEASURE, ReproduceConfig
from pipeline.stages.reproducing.published import PublishedTable, Row
from pipeline.stages.stage import Reporter, Sampling
from pipeline.tasks.subjects import load_splits
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
    run: RunRecord | None = None
    """Where it was measured; None if it could not be."""
    figures: Mapping[str, Measure] = field(default_factory=dict)
    """By name."""
    errors_R: Sequence[float] = ()
    """The first metric on the test samples of each round at the row's epoch, or on the validation samples of each fold;
    empty where they were not kept."""
    seconds: float = 0.0
    """What its trainings took, one after the other on one worker."""
    evaluation: Evaluation | None = None


class TableRunner(ABC):
    """Where the rows of one table are measured."""

    roles: tuple[str, ...]
    """Of the runs that rows are read off."""

    def __init__(self, config: ReproduceConfig, table: PublishedTable, tracker: Tracker) -> None:
        self.config, self.table, self.tracker = config, table, tracker
        self.rounds = config.rounds_of(table)
        self._splits: dict[DataConfig, Splits] = {}

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
        wanted = (row.trials, row.search_rounds) if row.trials else row.hyper.canonical
        return type(self), row.model, wanted, tuple(self.params(row).items())

    def sampling(self, row: Row) -> Sampling:
        """The data of a row, and how it is drawn."""
        return self.config.sampling_of(self.table, row)

    def splits(self, row: Row) -> Splits:
        """The samples of a row."""
        data = self.sampling(row).data
        if data not in self._splits:
            self._splits[data] = load_splits(data)
        return self._splits[data]

    def measure(self, reporter: Reporter, parent: Run) -> list[Measured]:
        """Every row, in its order; what was not measured before is measured now, if that is wanted."""
        missing = [row for row in self.trainings if self.found(row) is None] if self.config.missing == MEASURE else []
        for number, row in enumerate(missing, start=1):
            if self.found(row) is None:  # else an earlier one has brought it
                reporter.say(f"{self.table.id}: {number} of {len(missing)}, {row.label}")
                try:
                    self.run(row, reporter, parent)
                except StageError as error:  # one that diverges does not keep the others from being measured
                    reporter.say(f"{self.table.id}: {row.label} is left out, since {error}")
        return [self._measured(row) for row in self.rows]

    def plan(self, planned: set[object]) -> list[Work]:
        """What would have to be measured besides the trainings that are `planned`, to which it adds its own."""
        works = []
        for row in self.trainings:
            if self.training(row) in planned:
                continue
            planned.add(self.training(row))
            what, found, data = f"{self.table.id}: {row.label}", self.found(row), self.sampling(row).data
            if found is not None:
                works.append(Work(what=what, done=f"run {found.id}"))
            elif self.config.missing == MEASURE:
                works += [replace(work, what=what, note="", data=data) for work in self.work(row)]
        return works

    def found(self, row: Row) -> RunRecord | None:
        """The newest finished run that has measured a row on its samples."""
        variant, wanted = row.variant, row.hyper.canonical
        for record in self._alike(row):
            if record.config and variant.completed(record.config).canonical == wanted:
                return record
        return None

    def _alike(self, row: Row) -> Iterator[RunRecord]:
        """The finished runs of the row's variant that measured one configuration on its samples, the newest first."""
        params = self.params(row)
        for role in self.roles:
            for record in self.tracker.find(role, model=row.model, dataset_digest=self.splits(row).digest):
                alike = all(record.params.get(name) == str(value) for name, value in params.items())
                if alike and record.status == "FINISHED" and record.config:
                    yield record

    def _measured(self, row: Row) -> Measured:
        record = self.found(row)
        return Measured(row=row) if record is None else self.read(row, record)

    def params(self, row: Row) -> dict[str, object]:
        """What a run has logged that measured on the samples of a row."""
        return {**self.sampling(row).params, "rounds": self.rounds, "precision": self.config.compute.precision}

    @abstractmethod
    def run(self, row: Row, reporter: Reporter, parent: Run) -> None:
        """Measure a row."""

    @abstractmethod
    def work(self, row: Row) -> list[Work]:
        """What measuring it would take."""

    @abstractmethod
    def read(self, row: Row, record: RunRecord) -> Measured:
        """What a run says to a row."""
