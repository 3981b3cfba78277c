"""The best of a search tried again before one is chosen: on samples, folds and weights that no trial has seen.

The best of many validation errors is too good to be true; among a few, errors of their own are not.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from pipeline.data.dataset import Splits
from pipeline.models.variant import Variant
from pipeline.stages.replicas import fold_replicas
from pipeline.stages.searching.config import SearchConfig
from pipeline.stages.stage import Reporter
from pipeline.training.plan import Job
from pipeline.training.pool import Trainer
from pipeline.tuning.trials import Recheck, TrialRecord

FRESH_ROUND = 1_000_000
"""The first round of a recheck, beyond those of any search."""


def recheck_jobs(config: SearchConfig, variant: Variant, splits: Splits, best: Sequence[TrialRecord]) -> list[Job]:
    """The trainings of a recheck: for each trial one job."""
    return [
        Job(
            variant=variant,
            replicas=fold_replicas(
                splits,
                config.sampling,
                record.hyper,
                rounds=config.rounds,
                folds=config.folds,
                first_round=FRESH_ROUND,
                name=("recheck", record.number),
            ),
        )
        for record in best
    ]


def recheck(trainer: Trainer, jobs: Sequence[Job], best: Sequence[TrialRecord], reporter: Reporter) -> Recheck:
    """Train them, and say what every fold gave."""
    metric = jobs[0].variant.metric.name
    started = time.perf_counter()
    with reporter.progress(f"recheck the best {len(jobs)}", sum(job.replica_epochs for job in jobs)) as bar:
        outcomes = trainer.run(jobs, lambda done, _: bar.update(done))
    return Recheck(
        fold_errors={
            record.number: [fold.held_out(metric) for fold in folds]
            if all(fold.status == "complete" for fold in folds)
            else []
            for record, folds in zip(best, outcomes, strict=True)
        },
        replica_epochs=sum(fold.epochs for folds in outcomes for fold in folds),
        seconds=time.perf_counter() - started,
    )
