"""What a stage would do, and how long it would take: nothing is run or logged, but for a few timed steps."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.data.prepared import DataConfig, load_pools
from pipeline.reports.tables import Table
from pipeline.stages.searching.clock import show_seconds
from pipeline.stages.stage import Answer, Reporter, Setting
from pipeline.training.compute import Compute
from pipeline.training.plan import Job
from pipeline.training.pool import Trainer


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


def answer(works: Sequence[Work], setting: Setting | None, compute: Compute | None, reporter: Reporter) -> Answer:
    """What would be done, with the time that it would take."""
    seconds = [0.0] * len(works)
    if setting is not None and compute is not None and any(work.jobs for work in works):
        reporter.say("timing a few steps ...")
        seconds = _timed(works, setting.data, compute)
    total, replica_epochs = sum(seconds), sum(work.replica_epochs for work in works)
    workers = "" if compute is None else f" with {compute.resolved().workers} worker(s)"
    return Answer(
        headline=f"Would train {replica_epochs:.0f} replica-epochs, in about {show_seconds(total)}{workers}"
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
                    show_seconds(taken) if work.jobs else "-",
                ]
                for work, taken in zip(works, seconds, strict=True)
            ],
        ),
        notes=[work.note for work in works if work.note],
    )


def _timed(works: Sequence[Work], data: DataConfig, compute: Compute) -> list[float]:
    """Seconds that each would take."""
    seconds = [0.0] * len(works)
    alike: dict[tuple[DataConfig, bool], list[int]] = defaultdict(list)
    for number, work in enumerate(works):
        if work.jobs:
            alike[work.data or data, work.test_data].append(number)
    for (of, test_data), numbers in alike.items():
        pools = load_pools(of)
        with Trainer(pools.train, pools.test if test_data else pools.train, compute) as trainer:
            for number in numbers:
                seconds[number] = trainer.estimate(works[number].jobs) / works[number].share
    return seconds
