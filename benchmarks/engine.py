"""The engine as a contestant: one job through its public API, in up to three columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks.work import HEAVY_FLOPS, SEED, Curves, Task, flops_per_epoch, has_convolutions, replica_name
from pipeline.base.errors import StageError
from pipeline.data.dataset import Dataset
from pipeline.training.compute import Compute
from pipeline.training.plan import Job, Outcome, Replica, chunk_limit
from pipeline.training.pool import Trainer
from pipeline.training.step import can_compile

FLOAT32, BFLOAT16, COMPILED = "float32", "bfloat16", "compiled"
COLUMNS: Mapping[str, Mapping[str, Any]] = {
    FLOAT32: {"precision": "float32", "compile": "off"},
    BFLOAT16: {"precision": "bfloat16", "compile": "off"},
    COMPILED: {"precision": "float32", "compile": "on"},
}
"""Column -> how the engine computes."""
REPLICAS_A_WORKER = 16
"""At most; folds and rounds come by the dozen."""


@dataclass(frozen=True, kw_only=True)
class JobSize:
    """Of a measured job."""

    chunks: int
    """For each worker."""
    epochs: int
    """In fewer, building the job and its last evaluation would weigh more than in whole jobs."""


USUAL_JOB, HEAVY_JOB = JobSize(chunks=2, epochs=8), JobSize(chunks=1, epochs=3)


class Engine:
    """One column of variantlab."""

    def __init__(self, name: str, trainer: Trainer, workers: int) -> None:
        self.name = name
        self.least_epochs = USUAL_JOB.epochs
        self._trainer, self._workers = trainer, workers
        self._job: Job | None = None

    @property
    def replicas(self) -> int:
        """Enough to fill all workers."""
        return 0 if self._job is None else len(self._job.replicas)

    def fits(self, task: Task) -> bool:
        """Whether this column makes sense for the model."""
        return gains(self.name, task)

    def prepare(self, task: Task) -> None:
        """Draw the pairs."""
        size = HEAVY_JOB if flops_per_epoch(task) > HEAVY_FLOPS else USUAL_JOB
        (replica,) = make_job(task, 1, epochs=1).replicas
        share = min(size.chunks * chunk_limit(task.variant, replica), REPLICAS_A_WORKER)
        self._job = make_job(task, self._workers * share, epochs=1)
        self.least_epochs = size.epochs

    def train(self, epochs: int) -> Curves:
        """Train one job; means over its replicas."""
        assert self._job is not None
        outcomes = self.run(lasting(self._job, epochs))
        return Curves(
            loss_E=_mean_curve(outcomes, "train_loss"), held_out_error_E=_mean_curve(outcomes, "held_out_error")
        )

    def run(self, job: Job) -> list[Outcome]:
        """Train a job. Raises StageError unless all of it is complete."""
        (outcomes,) = self._trainer.run([job])
        for outcome in outcomes:
            if outcome.status != "complete":
                raise StageError(
                    f"every replica must train to the end, but one of {job.variant.name}: {outcome.reason}"
                )
        return outcomes


def _mean_curve(outcomes: Sequence[Outcome], name: str) -> list[float]:
    curve_E: list[float] = np.mean([outcome.curves[name] for outcome in outcomes], 0).tolist()
    return curve_E


def gains(column: str, task: Task) -> bool:
    """Compiled is for what can be, but for convolutions, which gain nothing by it."""
    variant = task.variant
    return column != COMPILED or (can_compile(variant, variant.preset.structure, "cpu") and not has_convolutions(task))


def make_job(task: Task, replicas: int, *, epochs: int, read_at: tuple[int, ...] = ()) -> Job:
    """The first so many replicas of a task."""
    parts = []
    for replica in range(replicas):
        train, held_out = task.pairs_of(replica)
        parts.append(
            Replica(
                seed=SEED,
                name=replica_name(replica),
                hyper=task.hyper(epochs),
                train=train,
                held_out=held_out,
                read_at=read_at,
            )
        )
    return Job(variant=task.variant, replicas=tuple(parts))


def lasting(job: Job, epochs: int) -> Job:
    """The same job with another number of epochs."""
    return replace(
        job,
        replicas=tuple(replace(part, hyper=part.hyper.replaced({"epochs": epochs})) for part in job.replicas),
    )


@contextmanager
def open_engine(name: str, train: Dataset, held_out: Dataset, workers: int) -> Iterator[Engine]:
    """One column's engine with its worker processes."""
    compute = Compute(workers=workers, device="cpu", chunk=0, **COLUMNS[name])
    with Trainer(train, held_out, compute) as trainer:
        trainer.warm_up()
        yield Engine(name, trainer, workers)
