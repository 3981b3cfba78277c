"""What a stage would do, and how long it would take: nothing is run or logged, but for a few timed steps."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.base.durations import show_seconds
from pipeline.data.config import DataConfig
from pipeline.reports.tables import Table
from pipeline.stages.stage import Answer, Reporter, Sampling
from pipeline.tasks.subjects import load_splits
from pipeline.training.compute import Compute
from pipeline.training.estimate import (
    Kind,
    kind_of,
    nominal_seconds_of,
    samples_of_kinds,
    slowness,
    uncertainty,
)
from pipeline.training.plan import Chunk, Job, compose_chunks
from pipeline.training.pool import Trainer

TIMING_SECONDS = 12.0
"""After which no more kinds of training are timed."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """A part of what a stage would do."""

    what: str
    trainings: str = "-"
    """How many, and of what."""
    jobs: Sequence[Job] = ()
    """What would be trained, or a sample of it."""
    share: float = 1.0
    """The part of what would be trained that the sample is."""
    test_data: bool = False
    """Whether the held-out samples are of the test pool."""
    data: DataConfig | None = None
    """Where that is not the stage's."""
    done: str = "-"
    """What is there already."""
    note: str = ""

    @property
    def replica_epochs(self) -> float:
        """What would be trained."""
        return sum(job.replica_epochs for job in self.jobs) / self.share

    @property
    def epochs(self) -> str:
        """Of one training."""
        epochs = [replica.hyper.epochs for job in self.jobs for replica in job.replicas]
        if not epochs:
            return "-"
        return str(epochs[0]) if min(epochs) == max(epochs) else f"{min(epochs)} to {max(epochs)}"


def answer(works: Sequence[Work], sampling: Sampling | None, compute: Compute | None, reporter: Reporter) -> Answer:
    """What would be done, with the time that it would take."""
    seconds, notes = [0.0] * len(works), list[str]()
    if sampling is not None and compute is not None and any(work.jobs for work in works):
        reporter.say("timing a few steps ...")
        seconds, notes = _timed(works, sampling.data, compute, reporter)
    total, replica_epochs = sum(seconds), sum(work.replica_epochs for work in works)
    workers = "" if compute is None else f" with {compute.resolved().workers} worker(s)"
    return Answer(
        headline=f"Would train {replica_epochs:.0f} replica-epochs, in about {_about(total)}{workers}"
        if replica_epochs
        else "Would train nothing",
        table=Table(
            ["what", "trainings", "epochs", "replica-epochs", "done already", "time"],
            [
                [
                    work.what,
                    work.trainings,
                    work.epochs,
                    f"{work.replica_epochs:.0f}" if work.jobs else "-",
                    work.done,
                    _about(taken) if work.jobs else "-",
                ]
                for work, taken in zip(works, seconds, strict=True)
            ],
        ),
        notes=[*(work.note for work in works if work.note), *notes],
    )


def _about(seconds: float) -> str:
    """With two figures: no more are known."""
    hours = seconds / 3600
    return f"{float(f'{hours:.2g}'):.0f} h" if hours >= 10 else show_seconds(float(f"{seconds:.2g}"))


def _timed(
    works: Sequence[Work], data: DataConfig, compute: Compute, reporter: Reporter
) -> tuple[list[float], list[str]]:
    """Seconds that each would take, and what a reader should know of how they were found."""
    resolved = compute.resolved()
    chunks = [compose_chunks(work.jobs, device=resolved.device, limit=resolved.chunk) for work in works]
    samples: dict[Kind, Chunk] = {}
    timed: dict[Kind, float] = {}
    by_shape: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for number, parts in enumerate(chunks):
        if parts:
            by_shape[parts[0].variant.input_shape].append(number)
    for numbers in by_shape.values():
        pool = load_splits(works[numbers[0]].data or data).train  # what a step takes does not depend on its samples
        kinds = samples_of_kinds((chunk for number in numbers for chunk in chunks[number]), pool)
        with Trainer(pool, pool, compute) as trainer, reporter.progress("timing", len(kinds)) as bar:
            timed |= trainer.time_epochs(kinds, TIMING_SECONDS, lambda done, _: bar.update(done))
        samples |= kinds
    slower = slowness(samples, timed)
    seconds = [
        sum(nominal_seconds_of(chunk) * slower[kind_of(chunk)] for chunk in parts)
        / max(1, min(resolved.workers, len(parts)))
        / work.share
        for work, parts in zip(works, chunks, strict=True)
    ]
    return seconds, _how(samples, timed)


def _how(samples: Mapping[Kind, Chunk], timed: Mapping[Kind, float]) -> list[str]:
    if len(timed) == len(samples):
        return []
    factor = uncertainty(samples, timed)
    error = "" if factor is None else f"; nine of ten of these are right within a factor of {factor:.1f}"
    return [
        f"{len(timed)} of {len(samples)} kinds of training were timed, those that take longest; the time of the others "
        f"is computed from their size and from those that are like them{error}."
    ]
