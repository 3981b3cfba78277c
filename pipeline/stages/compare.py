"""compare: which of the evaluated variants is better, and by how much."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.base.errors import InputError, UnknownNameError
from pipeline.reports.contrasts import Contrast, Verdict, declared_contrasts, judge, parse_contrasts
from pipeline.stages.comparing.evaluations import (
    Evaluation,
    computed_otherwise,
    losses_by_model,
    measured_otherwise,
    newest_evaluations,
    ranked_otherwise,
    searched_otherwise,
)
from pipeline.stages.comparing.page import log_page
from pipeline.stages.comparing.pictures import pictures
from pipeline.stages.comparing.summaries import summarise_variants
from pipeline.stages.comparing.tables import behind, contrast_table, significance, variant_table
from pipeline.stages.planning import Work
from pipeline.stages.stage import ALL, Reporter, StageResult, open_store
from pipeline.tasks.registry import tasks, variants
from pipeline.tracking.port import Metric, Run, RunStart, Tracker, stage_run

OVER_ROUNDS = (
    "Intervals of errors are those of the bootstrap over rounds (bias-corrected and accelerated, 9,999 draws).",
    "Differences are paired: computed within each round, in which all variants see the same samples. Their intervals "
    "are Student's; p is that of a permutation test that flips the signs of rounds, p (Holm) the same corrected for "
    "all contrasts asked together.",
)
OVER_ROUNDS_AND_SAMPLES = (
    "All rounds are tested on the same samples, so intervals and tests are those of crossed random effects, rounds and "
    "test samples (or groups of samples, where there are any): more rounds do not make up for few test samples.",
    "Differences are paired: computed within each round and test sample. p (Holm) is corrected for all contrasts asked "
    "together.",
)
EFFECTS = (
    "The effect size is the mean difference over its standard deviation (Cohen's d). Detectable is the least "
    "difference that so many rounds would have shown in four of five cases.",
)


@dataclass(frozen=True, kw_only=True)
class CompareConfig:
    """What to compare."""

    experiment: str = ""
    """Name of the experiment whose evaluate runs are compared; empty for the present one."""
    models: str = "all"
    """`all` that were evaluated, or names separated by commas."""
    contrast: str = ""
    """Differences to test, such as `mlp_ws_al:mlp_al,mlp:convnet`; empty for those of the families."""
    allow_unequal: bool = False
    """Whether to rank what was not measured or searched alike."""
    like: str = ""
    """Id of an evaluate run: those that are not comparable with it are left out, instead of being refused."""


def plan(config: CompareConfig, tracker: Tracker) -> list[Work]:
    """Nothing to train; the evaluations that would be read."""
    chosen, _ = _choose(config, tracker)
    return [
        Work(what=f"compare {entry.model}", done=f"run {entry.run.id}, {entry.run.params['rounds']} rounds")
        for entry in chosen
    ]


def run(config: CompareConfig, tracker: Tracker, reporter: Reporter, parent: Run | None = None) -> StageResult:
    """Rank the newest finished evaluation of each variant and test the contrasts; log tables, pictures and a page.

    Raises InputError where they are not comparable and `allow_unequal` is not set.
    """
    chosen, notes = _choose(config, tracker)
    ranked = sorted(chosen, key=lambda entry: entry.test.mean)
    paired = not measured_otherwise(ranked)
    verdicts, untested = _test(config, ranked)
    open_store(tracker, reporter)
    start = RunStart(
        name=f"compare {len(ranked)} variants",
        role="compare",
        params={"models": config.models, "contrast": config.contrast, "allow_unequal": config.allow_unequal},
        tags={"evaluate_runs": ",".join(entry.run.id for entry in ranked)},
        data_of=[entry.run for entry in ranked],
    )
    with stage_run(tracker, start, parent) as run:
        result = StageResult(
            run_id=run.id,
            headline=_headline(ranked, paired=paired),
            table=variant_table(ranked, paired=paired),
            more=[contrast_table(verdicts, ranked[0].variant.metric.unit)] if verdicts else [],
            notes=[*notes, *computed_otherwise(ranked), *untested, *_methods(ranked)],
            links={entry.run.name: tracker.reference(entry.run.id) for entry in ranked},
        )
        tables = dict(zip(("comparison", "contrasts"), (result.table, *result.more), strict=False))
        shown = pictures(ranked, verdicts, paired=paired)
        log_page(run, "Which variant is better, and by how much", result, tables, shown)
        run.log(
            metrics=[
                *(Metric(f"final_test_{entry.variant.metric.name}/{entry.model}", entry.test.mean) for entry in ranked),
                *(Metric(f"rank/{entry.model}", rank) for rank, entry in enumerate(ranked, start=1)),
            ]
        )
        summarise_variants(ranked, tracker, run, whole=config.models == ALL and not notes)
        run.describe(result.description)
    return result


def _choose(config: CompareConfig, tracker: Tracker) -> tuple[list[Evaluation], list[str]]:
    """The evaluations to compare, and what a careful reader should know of them."""
    found = newest_evaluations(tracker, config.experiment, config.models)
    if not config.like and (apart := ranked_otherwise(found)):
        raise InputError(f"variants are ranked by one metric, but {apart}; choose some with --models")
    if config.like:
        mine = Evaluation(run=tracker.get(config.like), tracker=tracker)
        alike = [entry for entry in found if not _reasons([mine, entry])] or [mine]
        left = ", ".join(entry.model for entry in found if entry not in alike)
        return alike, [f"Left out, since not measured or searched alike: {left}."] if left else []
    reasons = _reasons(found)
    if reasons and not config.allow_unequal:
        raise InputError(
            f"variants are ranked when they were measured and searched alike, but {'; '.join(reasons)}; evaluate them "
            f"alike, choose some with --models, or rank them all the same with --allow-unequal"
        )
    return found, [f"Not comparable: {reason}. A difference can come from there." for reason in reasons]


def _reasons(entries: Sequence[Evaluation]) -> list[str]:
    return [*measured_otherwise(entries), *searched_otherwise(entries)]


def _test(config: CompareConfig, entries: Sequence[Evaluation]) -> tuple[list[Verdict], list[str]]:
    """Verdicts on the contrasts, and why some contrast has none."""
    known = {entry.model: entry for entry in entries}
    if config.contrast:
        contrasts = parse_contrasts(
            config.contrast, {**variants(), **{name: each.variant for name, each in known.items()}}
        )
        for name in (name for contrast in contrasts for name in contrast.weights):
            if name not in known:
                raise UnknownNameError("variant among those compared", name, known)
    else:
        titles = {name: title for task in tasks().values() for name, title in task.factor_titles.items()}
        contrasts = declared_contrasts([entry.variant for entry in entries], titles)
    possible = [
        contrast for contrast in contrasts if not measured_otherwise([known[name] for name in contrast.weights])
    ]
    impossible = [
        f"Not tested, since not measured alike: {contrast.family}, {contrast.name}."
        for contrast in contrasts
        if contrast not in possible
    ]
    asked = [known[name] for name in dict.fromkeys(name for contrast in possible for name in contrast.weights)]
    return judge(possible, {entry.model: entry.test_R for entry in asked}, losses=losses_by_model(asked)), impossible


def _methods(ranked: Sequence[Evaluation]) -> list[str]:
    """How the numbers are computed, and what they cover."""
    how = OVER_ROUNDS if losses_by_model(ranked) is None else OVER_ROUNDS_AND_SAMPLES
    return [*dict.fromkeys(entry.reading for entry in ranked), *how, *EFFECTS]


def _headline(ranked: Sequence[Evaluation], *, paired: bool) -> str:
    best, metric = ranked[0], ranked[0].variant.metric
    if len(ranked) == 1:
        return f"{best.model} has a test {metric.title} of {best.test.text()}; it is the only variant evaluated so far"
    second = ranked[1]
    text = f"{best.model} has the least mean test {metric.title}, {best.test.text()}, of {len(ranked)} variants"
    if not paired or not math.isfinite(best.test.low):
        return f"{text}; {second.model} is next with {second.test.text()}"
    contrast = Contrast(name="", family="", weights={second.model: 1.0, best.model: -1.0})
    both = (best, second)
    [verdict] = judge([contrast], {entry.model: entry.test_R for entry in both}, losses=losses_by_model(both))
    gap = f"{behind(second, best)}{metric.unit.suffix}"
    return f"{text}; {second.model} is next, {gap} behind ({significance(verdict.p)})"
