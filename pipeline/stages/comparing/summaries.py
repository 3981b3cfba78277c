"""One flat run for each variant and data set with its headline figures: MLflow's table alone says which is best."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime

from pipeline.stages.comparing.evaluations import Evaluation
from pipeline.stages.stage import show_hyper
from pipeline.tracking.port import Metric, Run, RunRecord, RunStart, Tracker, config_tags, variant_params, variant_tags

ROLE = "summary"


def summarise_variants(ranked: Sequence[Evaluation], tracker: Tracker, compare: Run, *, whole: bool) -> None:
    """Bring the summary runs of these variants, of which each has one for its data, up to this comparison.

    Ranks are those of the `whole` experiment: a comparison of some variants alone, or of what was not measured alike,
    leaves them as they are.
    """
    best = ranked[0].test.mean
    for rank, entry in enumerate(ranked, start=1):
        test, now, metric = entry.test, datetime.now(UTC), entry.variant.metric
        final = f"final_test_{metric.name}"
        figures = {
            final: test.mean,
            "seconds_per_epoch": entry.run.metrics["seconds_per_epoch"],
            "parameters": float(entry.parameters),
            "rounds": float(test.n),
        }
        if whole:
            figures |= {"rank": float(rank), "behind_best": test.mean - best}
        spread = {
            f"{final}_std": test.std,
            f"{final}_low": test.low,
            f"{final}_high": test.high,
        }
        run, before = _summary_run(entry, tracker)
        had = before.metrics if before else {}
        # One round has no spread; what an earlier comparison had must not stand for it.
        figures |= {name: value for name, value in spread.items() if math.isfinite(value) or name in had}
        run.log(
            metrics=[Metric(name, value) for name, value in figures.items()],
            tags={**config_tags(entry.hyper), "evaluate_run": entry.run.id, "compare_run": compare.id},
            at=now,
            description=f"Test {metric.title} {test.text()} {test.interval()} over {test.n} rounds with "
            f"{show_hyper(entry.variant, entry.hyper)}: rank {rank} of {len(ranked)} in "
            f"[this comparison]({tracker.reference(compare.id)}); measured by "
            f"[this evaluation]({tracker.reference(entry.run.id)}).",
        )
        run.end("FINISHED", before.ended if before else None)  # it stands for no work, and lasts no time


def _summary_run(entry: Evaluation, tracker: Tracker) -> tuple[Run, RunRecord | None]:
    """The variant's run, and as it was before this comparison."""
    digest = entry.run.tags["dataset_digest"]
    found = tracker.find(ROLE, experiment="", model=entry.model, dataset_digest=digest)
    if found:
        return tracker.reopen(found[0]), found[0]
    start = RunStart(
        name=entry.model,
        role=ROLE,
        params=variant_params(entry.variant),
        tags=variant_tags(entry.variant),
        data_of=[entry.run],
    )
    return tracker.start(start), None
