"""main: all stages in order for one model, as children of one run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from pipeline.stages import compare, cross_validate, evaluate, prepare, search
from pipeline.stages.planning import Work
from pipeline.stages.searching import config as search_config
from pipeline.stages.searching import plan as search_plan
from pipeline.stages.stage import Reporter, StageResult
from pipeline.tracking.port import RunStart, Tracker, stage_run, variant_params, variant_tags


@dataclass(frozen=True, kw_only=True)
class MainConfig:
    """The configs of the stages, for the same model and data."""

    prepare: prepare.PrepareConfig
    cross_validate: cross_validate.CrossValidateConfig
    search: search_config.SearchConfig
    evaluate: evaluate.EvaluateConfig
    compare: compare.CompareConfig


def plan(config: MainConfig, tracker: Tracker) -> list[Work]:
    """Those of all stages; the evaluation stands with the preset for what the search will find."""
    [final] = evaluate.plan(replace(config.evaluate, preset="report"), tracker)
    return [
        *prepare.plan(config.prepare),
        *cross_validate.plan(config.cross_validate),
        *search_plan.plan(config.search),
        replace(final, note="The evaluation is timed with the preset, which the search may change."),
    ]


def run(config: MainConfig, tracker: Tracker, reporter: Reporter, shown: Callable[[StageResult], None]) -> None:
    """Run the stages; `shown` is given the result of each as soon as it is there."""
    variant = config.search.variant
    data, _ = prepare.inputs(config.prepare)
    cross_validate.inputs(config.cross_validate)
    search_config.inputs(config.search)
    evaluate.inputs(config.evaluate)
    start = RunStart(
        name=f"main {variant.name}",
        role="main",
        params={**variant_params(variant), **config.search.sampling.params},
        tags=variant_tags(variant),
        data=data.splits,
        test_data=True,
    )
    with stage_run(tracker, start) as run:
        results: list[StageResult] = []

        def note(result: StageResult) -> StageResult:
            results.append(result)
            shown(result)
            return result

        note(prepare.run(config.prepare, tracker, reporter, run))
        note(cross_validate.run(config.cross_validate, tracker, reporter, run))
        found = note(search.run(config.search, tracker, reporter, run))
        final = note(evaluate.run(replace(config.evaluate, from_run=found.run_id), tracker, reporter, run))
        note(compare.run(replace(config.compare, like=final.run_id), tracker, reporter, run))
        run.describe("\n".join(f"1. {result.headline}" for result in results))
