"""Spaces, findings that are computed from the hyperparameters, and records that need no study."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from pipeline.models.hyperparameters import Hyperparameters
from pipeline.models.registry import get_variant
from pipeline.seeds import numpy_generator
from pipeline.tuning.space import Choice, Dimension, Space, load_space
from pipeline.tuning.strategies import Strategy, Tpe
from pipeline.tuning.trials import Asked, Finding, State, TrialRecord, selection_score

EPOCHS = 8
DIVERGES = 100
"""The batch size with which every training fails."""
TRIALS = 15
"""Enough for the sampler to leave its random start; the last generation is cut."""
TPE: Strategy = Tpe(TRIALS)
HYPER = Hyperparameters(lr=0.1, batch_size=1, epochs=1)


def space() -> Space:
    return load_space(get_variant("mlp_al"))


def grid_space(**dimensions: Dimension) -> Space:
    """Six combinations, one of which fails, and what is given."""
    few: dict[str, Dimension] = {"lr": Choice(values=(5e-4, 1e-3, 2e-3)), "batch_size": Choice(values=(25, DIVERGES))}
    return Space(dimensions={**few, **dimensions}, preset=get_variant("mlp_al").preset)


def finding(asked: Asked) -> Finding:
    """What a training could have given: a falling curve, sometimes stopped, and one region that diverges."""
    hyper = asked.hyper
    generator = numpy_generator(0, hyper.hash, asked.pairs)
    level = 0.08 + 0.1 * generator.random() + 20 * abs(hyper.lr - 2e-3)
    spread = 0.05 * generator.random()
    errors: list[float] = []
    state: Any = "complete"
    for epoch in range(1, EPOCHS + 1):
        errors.append(level + 0.3 / epoch + 0.01 * generator.random())
        if asked.stop is not None and epoch < EPOCHS and asked.stop(errors):
            state = "pruned"
            break
    if hyper.batch_size == DIVERGES:
        state = "failed"
    reason = {"complete": "", "pruned": "worse than the median", "failed": "fold 1: the loss became nan"}[state]
    return Finding(
        curves={"validation_error": errors, "train_loss": [2 * error for error in errors]},
        fold_errors=[[error - spread for error in errors], [error + spread for error in errors]],
        state=state,
        reason=reason,
    )


def record(
    number: int,
    error: float | None,
    *,
    state: State | None = None,
    hyper: Hyperparameters = HYPER,
    folds: Sequence[float] = (),
    select: str = "mean",
    pairs: int = 0,
) -> TrialRecord:
    """A finished trial with this error, or with the last errors of its folds; failed if it has none."""
    return TrialRecord(
        number=number,
        state=state or ("failed" if error is None else "complete"),
        reason="",
        error=error,
        score=selection_score(folds, select) if folds else error,
        hyper=hyper,
        pairs=pairs,
        curves={},
        fold_errors=[[fold] for fold in folds],
        read_off=None,
        started=datetime.now(),
        ended=datetime.now(),
    )


def records(space: Space, proposed: Iterable[Any], errors: Iterable[float | None]) -> list[TrialRecord]:
    """The trials that a strategy proposed, finished with these errors, as far as there are any."""
    return [
        record(number, error, hyper=space.preset.having(proposal.parameters), pairs=proposal.pairs)
        for number, (proposal, error) in enumerate(zip(proposed, errors, strict=False))
    ]
