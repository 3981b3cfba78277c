"""Whole jobs: what report 000's two tables take with the engine, and with the plain loop.

The plain loop's time is always extrapolated from a few epochs of one replica. The engine's is extrapolated from a part,
unless all is asked for; a part overstates it, because building a job and its last evaluation weigh more in it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.contestants import Contestant
from benchmarks.engine import Engine, make_job
from benchmarks.measure import measure_plain
from benchmarks.work import Task
from pipeline.data.dataset import Dataset
from pipeline.tasks.registry import variants

FAMILIES = ("mlp", "convnet")
ROUNDS = 20
GRID_EPOCHS = (25, 50)
GRID_BATCH_SIZES = (25, 50, 100)
GRID_ROUNDS, FOLDS = 10, 10
PART_REPLICAS = 20
PART_EPOCHS = {"mlp": 10, "convnet": 4}
"""Of an engine's job that is not measured in full."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """Trainings of one model at one batch size."""

    model: str
    batch_size: int
    epochs: tuple[int, ...]
    """One training each for who trains every cell; the engine trains the longest and reads the others off."""
    replicas: int
    pairs: int
    held_out_pairs: int


@dataclass(frozen=True, kw_only=True)
class RowTimes:
    """What one row takes, in seconds."""

    row: Row
    plain_epoch: float
    """Of one replica."""
    threads: int
    """The number that was better for the plain loop."""
    plain_measured: int
    """Replica-epochs that the plain loop trained."""
    engine_part: float
    engine_measured: int
    """Replica-epochs that the engine trained in `engine_part`."""

    @property
    def engine_planned(self) -> int:
        """Replica-epochs of the engine's whole job."""
        return self.row.replicas * max(self.row.epochs)

    @property
    def plain_planned(self) -> int:
        """Replica-epochs of the plain loop's whole job."""
        return self.row.replicas * sum(self.row.epochs)

    @property
    def engine(self) -> float:
        """The whole job, extrapolated where only a part was measured."""
        return self.engine_part * self.engine_planned / self.engine_measured

    @property
    def plain(self) -> float:
        """Every cell trained, extrapolated."""
        return self.plain_epoch * self.plain_planned

    @property
    def plain_once(self) -> float:
        """As if the plain loop read the shorter cells off the longest too."""
        return self.plain_epoch * self.engine_planned


def _evaluations() -> list[Row]:
    """Eight variants, 20 rounds of fresh pairs at their presets."""
    return [
        Row(
            model=variant.name,
            batch_size=variant.preset.batch_size,
            epochs=(variant.preset.epochs,),
            replicas=ROUNDS,
            pairs=1000,
            held_out_pairs=1000,
        )
        for family in FAMILIES
        for variant in variants().values()
        if variant.family == family
    ]


def _cross_validations() -> list[Row]:
    """Ten rounds of ten folds of two models, over epochs and batch sizes."""
    return [
        Row(
            model=model,
            batch_size=batch_size,
            epochs=GRID_EPOCHS,
            replicas=GRID_ROUNDS * FOLDS,
            pairs=1000 - 1000 // FOLDS,
            held_out_pairs=1000 // FOLDS,
        )
        for model in FAMILIES
        for batch_size in GRID_BATCH_SIZES
    ]


@dataclass(frozen=True, kw_only=True)
class JobTable:
    """One table of report 000."""

    title: str
    rows: Sequence[Row]


JOB_TABLES = (
    JobTable(title="Whole job: report 000's Table 2", rows=_evaluations()),
    JobTable(title="Whole job: report 000's Table 1", rows=_cross_validations()),
)


def time_rows(
    rows: Sequence[Row],
    engine: Engine,
    plain: Mapping[int, Contestant],
    digits: tuple[Dataset, Dataset],
    whole: bool,
    step: Callable[[str], None],
) -> Iterator[RowTimes]:
    """Measure row by row."""
    for row in rows:
        step(f"{row.model}, batch {row.batch_size}, whole job")
        train, held_out = digits
        task = Task(
            model=row.model,
            batch_size=row.batch_size,
            train=train,
            held_out=held_out,
            pairs=row.pairs,
            held_out_pairs=row.held_out_pairs,
        )
        plain_epoch, threads, plain_measured = measure_plain(task, plain)
        seconds, measured = _time_engine(task, row, engine, whole=whole)
        yield RowTimes(
            row=row,
            plain_epoch=plain_epoch,
            threads=threads,
            plain_measured=plain_measured,
            engine_part=seconds,
            engine_measured=measured,
        )


def _time_engine(task: Task, row: Row, engine: Engine, *, whole: bool) -> tuple[float, int]:
    """Seconds, and the replica-epochs trained in them."""
    full = max(row.epochs)
    replicas = row.replicas if whole else min(row.replicas, PART_REPLICAS)
    epochs = full if whole else min(full, PART_EPOCHS[task.variant.family])
    job = make_job(task, replicas, epochs=epochs, read_at=row.epochs if whole else ())
    started = time.perf_counter()
    engine.run(job)
    return time.perf_counter() - started, job.replica_epochs
