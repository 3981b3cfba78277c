"""Spaces, results that are computed from the hyperparameters, and records that need no study."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import numpy as np

from pipeline.base.seeds import numpy_generator
from pipeline.models.hyperparameters import Hyperparameters
from pipeline.tasks.registry import get_variant
from pipeline.tuning.dimensions import Choice, Dimension
from pipeline.tuning.space import Space
from pipeline.tuning.space_file import load_space
from pipeline.tuning.trial_samplers import Sampled, TrialSampler
from pipeline.tuning.trials import PlannedTrial, State, TrialBatch, TrialRecord, TrialResult, selection_score

EPOCHS = 8
FOLDS = 5
DIVERGES = 100
"""The batch size with which every training fails."""
TRIALS = 15
"""Enough for the sampler to leave its random start; the last batch is cut."""
SAMPLED: TrialSampler = Sampled(TRIALS)


def space() -> Space:
    return load_space(get_variant("mlp_al"))


def grid_space(**dimensions: Dimension) -> Space:
    """Six combinations, one of which fails, and what is given."""
    few: dict[str, Dimension] = {"lr": Choice(values=(5e-4, 1e-3, 2e-3)), "batch_size": Choice(values=(25, DIVERGES))}
    return Space(dimensions={**few, **dimensions}, preset=get_variant("mlp_al").preset)


def result(asked: PlannedTrial) -> TrialResult:
    """What a training could have given: a falling curve, sometimes stopped, and one region that diverges."""
    hyper = asked.hyper
    varied = f"{hyper.lr:.6g} {hyper.batch_size} {hyper.epochs} {hyper.alpha:.6g} {hyper.momentum:.6g}"
    generator = numpy_generator(0, varied, asked.samples, asked.draw)
    level = 0.08 + 0.1 * generator.random() + 20 * abs(hyper.lr - 2e-3)
    offset_F = 0.05 * generator.random() * np.linspace(-1, 1, FOLDS)
    errors: list[float] = []
    state: State = "complete"
    for epoch in range(1, EPOCHS + 1):
        errors.append(level + 0.3 / epoch + 0.01 * generator.random())
        if asked.stop is not None and epoch < EPOCHS and asked.stop(np.add.outer(offset_F, errors).tolist()):
            state = "pruned"
            break
    if hyper.batch_size == DIVERGES:
        state = "failed"
    reason = {"complete": "", "pruned": "worse than the median", "failed": "fold 1: the loss became nan"}[state]
    return TrialResult(
        curves={"validation_error": errors, "train_loss": [2 * error for error in errors]},
        fold_errors=np.add.outer(offset_F, errors).tolist(),
        state=state,
        reason=reason,
        replica_epochs=FOLDS * len(errors),
    )


def record(
    number: int,
    error: float | None,
    *,
    state: State | None = None,
    hyper: Hyperparameters | None = None,
    folds: Sequence[float] = (),
    select: str = "mean",
    samples: int = 0,
    draw: int = 0,
    cost: float | None = None,
    batch: TrialBatch | None = None,
) -> TrialRecord:
    """A finished trial with this error, or with the last errors of its folds; failed if it has none.

    Its configuration is its own unless one is given.
    """
    state = state or ("failed" if error is None else "complete")
    score = selection_score(folds, select) if folds else error
    return TrialRecord(
        number=number,
        state=state,
        reason="",
        error=error if state == "complete" else None,
        score=score if state == "complete" else None,
        cost=cost if state == "complete" else None,
        hyper=hyper or Hyperparameters(lr=0.1 / (number + 1), batch_size=1, epochs=1),
        samples=samples,
        draw=draw,
        curves={} if error is None else {"validation_error": [error]},
        fold_errors=[[fold] for fold in folds],
        batch=batch or (number, number + 1),
        started=datetime.now(),
        ended=datetime.now(),
    )


def records(space: Space, proposed: Iterable[Any], errors: Iterable[float | None]) -> list[TrialRecord]:
    """The trials that a sampler proposed, finished with these errors, as far as there are any."""
    return [
        record(number, error, hyper=space.preset.replaced(proposal.parameters), samples=proposal.samples)
        for number, (proposal, error) in enumerate(zip(proposed, errors, strict=False))
    ]
