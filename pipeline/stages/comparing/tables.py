"""What compare says in tables: one line for each variant, and one for each contrast."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pipeline.models.metrics import SHARE, Metric, Unit
from pipeline.reports.contrasts import Verdict
from pipeline.reports.crossed import summarise_crossed
from pipeline.reports.statistics import summarise
from pipeline.reports.tables import Table
from pipeline.stages.comparing.evaluations import Evaluation, losses_by_model
from pipeline.stages.stage import show_hyper

LEAST_P = 0.001
"""What smaller p-values are only said to be less than."""


def variant_table(ranked: Sequence[Evaluation], *, paired: bool) -> Table:
    """The variants, the best first; differences to it where rounds can be paired."""
    first = ranked[0].variant.metric
    others = _others(ranked)
    return Table(
        [
            *(
                "rank",
                "model",
                f"test {first.title}",
                "95 % interval",
                "behind the best",
                f"train {first.title}",
                "least",
                *(metric.title for metric in others),
                "rounds",
            ),
            *("parameters", "s/epoch", "searched", "configuration"),
        ],
        [
            [
                number,
                entry.model,
                entry.test.text(),
                entry.test.interval(),
                behind(entry, ranked[0]) if paired and number > 1 else "-",
                summarise(entry.rounds(f"train_{first.name}"), first.unit).text(),
                first.unit.show(min(entry.test_R)),
                *(_mean(entry, metric) for metric in others),
                entry.test.n,
                entry.parameters or "-",
                f"{entry.run.metrics['seconds_per_epoch']:.3f}",
                entry.search_cost,
                show_hyper(entry.variant, entry.hyper),
            ]
            for number, entry in enumerate(ranked, start=1)
        ],
    )


def _others(ranked: Sequence[Evaluation]) -> list[Metric]:
    """The metrics besides the first one that any of them has measured."""
    known = {metric.name: metric for entry in ranked for metric in entry.variant.metrics[1:]}
    return [metric for name, metric in known.items() if any(entry.rounds(f"test_{name}") for entry in ranked)]


def _mean(entry: Evaluation, metric: Metric) -> str:
    values = entry.rounds(f"test_{metric.name}")
    return summarise(values, metric.unit).text() if values else "-"


def behind(entry: Evaluation, best: Evaluation) -> str:
    """The mean difference in the test metric over rounds, with its 95 % interval."""
    losses, unit = losses_by_model([entry, best]), best.variant.metric.unit
    difference = summarise_crossed(
        [mine - its for mine, its in zip(entry.test_R, best.test_R, strict=True)],
        None if losses is None else losses[entry.model] - losses[best.model],
        unit,
    )
    return f"{unit.difference(difference.mean)} {difference.interval()}"


def contrast_table(verdicts: Sequence[Verdict], unit: Unit = SHARE) -> Table:
    """Differences: negative where the first has less error."""
    return Table(
        [
            *("family", "contrast", "computed as", "difference", "95 % interval", "p", "p (Holm)", "effect size"),
            *("detectable", "verdict"),
        ],
        [
            [
                verdict.contrast.family,
                verdict.contrast.name,
                verdict.contrast.formula,
                unit.difference(verdict.mean),
                f"[{unit.difference(verdict.low)}, {unit.difference(verdict.high)}]" if verdict.n > 1 else "-",
                probability(verdict.p),
                probability(verdict.p_holm),
                f"{verdict.effect:+.2f}" if math.isfinite(verdict.effect) else "-",
                unit.number(verdict.detectable),
                said(verdict),
            ]
            for verdict in verdicts
        ],
    )


def said(verdict: Verdict) -> str:
    """In words."""
    if verdict.contrast.interaction:
        return ("less together" if verdict.mean > 0 else "more together") if verdict.significant else "not shown"
    return ("less error" if verdict.mean < 0 else "more error") if verdict.significant else "not shown"


def significance(p: float) -> str:
    """`p = 0.012`, or `p < 0.001`."""
    return f"p {'' if p < LEAST_P else '= '}{probability(p)}"


def probability(p: float) -> str:
    """`0.012`, or `< 0.001`."""
    if not math.isfinite(p):
        return "-"
    return f"< {LEAST_P}" if p < LEAST_P else f"{p:.3f}"
