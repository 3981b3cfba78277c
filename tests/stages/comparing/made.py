"""Evaluations that cost nothing: what evaluate leaves in a tracker, as far as compare reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.models.hyperparameters import Hyperparameters
from pipeline.stages import compare
from pipeline.stages.compare import CompareConfig
from pipeline.stages.stage import StageResult
from pipeline.tasks.registry import get_variant
from pipeline.tracking.port import Metric, RunStart, config_tags, curve, variant_params
from tests.memory import MemoryTracker
from tests.stages.silent import Silent

MLPS = ("mlp", "mlp_ws", "mlp_al", "mlp_ws_al")


def evaluated(
    tracker: MemoryTracker,
    model: str,
    test_R: Sequence[float],
    *,
    train_error_R: Sequence[float] = (),
    digit_error_R: Sequence[float] = (),
    seconds_per_epoch: float = 0.1,
    digest: str = "1234567890",
    config: Hyperparameters | None = None,
    params: Mapping[str, Any] | None = None,
    tags: Mapping[str, str] | None = None,
    texts: Mapping[str, str] | None = None,
) -> str:
    """Put down an evaluation with these values of its first metric after the last epoch: the id of its run."""
    variant = get_variant(model)
    start = RunStart(
        name=f"evaluate {model}",
        role="evaluate",
        params={
            **variant_params(variant),
            "pairs": 1000,
            "test_pairs": "same",
            "seed": 0,
            "rounds": len(test_R),
            **(params or {}),
        },
        tags={"model": model, "dataset_digest": digest, **config_tags(config or variant.preset), **(tags or {})},
    )
    run = tracker.start(start)
    rounds = {
        f"test_{variant.metric.name}": test_R,
        f"train_{variant.metric.name}": train_error_R or test_R,
        "test_digit_error": digit_error_R,
    }
    run.log(
        metrics=[
            *(
                Metric(f"round/{name}", value, number)
                for name, each in rounds.items()
                for number, value in enumerate(each)
            ),
            *curve("train_loss", [0.7, 0.6]),
            *(curve("train_loss_std", [0.1, 0.1]) if len(test_R) > 1 else []),
            Metric("seconds_per_epoch", seconds_per_epoch),
        ]
    )
    for name, text in (texts or {}).items():
        run.text(name, text)
    run.end("FINISHED")
    return run.id


def errors(*means: float, rounds: int = 8, seed: int = 0) -> list[list[float]]:
    """Errors of variants with about these means in rounds that are hard or easy for all of them."""
    rng = np.random.default_rng(seed)
    ease_R = rng.normal(0, 0.02, rounds)
    return [(mean + ease_R + rng.normal(0, 0.005, rounds)).round(4).tolist() for mean in means]


def compared(tracker: MemoryTracker, **options: Any) -> StageResult:
    """Compare what the tracker has."""
    return compare.run(CompareConfig(**options), tracker, Silent())


def column(result: StageResult, title: str) -> dict[str, Any]:
    """Model -> what its row says under a title."""
    rows = [dict(zip(result.table.headers, row, strict=True)) for row in result.table.rows]
    return {row["model"]: row[title] for row in rows}


def said_of(result: StageResult) -> dict[tuple[str, str], dict[str, Any]]:
    """(Family, contrast) -> its line in the table of contrasts."""
    [table] = result.more
    rows = [dict(zip(table.headers, row, strict=True)) for row in table.rows]
    return {(row["family"], row["contrast"]): row for row in rows}
