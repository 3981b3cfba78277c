"""What compare says in tables: one line for each variant, and one for each contrast."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pipeline.reports.contrasts import Verdict
from pipeline.reports.statistics import summarise
from pipeline.reports.tables import Table
from pipeline.stages.comparing.evaluations import Evaluation
from pipeline.stages.stage import percent, show_hyper

LEAST_P = 0.001
"""What smaller p-values are only said to be less than."""


def variant_table(ranked: Sequence[Evaluation], *, paired: bool) -> Table:
    """The variants, the best first; differences to it where rounds can be paired."""
    digits = ["digit error"] if any(entry.rounds("test_digit_error") for entry in ranked) else []
    return Table(
        [
            *(
                "rank",
                "model",
                "test error",
                "95 % interval",
                "behind the best",
                "train error",
                "least",
                *digits,
                "rounds",
            ),
            *("parameters", "s/epoch", "searched", "configuration"),
        ],
        [
            [
                number,
                entry.model,
                entry.test_error.percent(),
                entry.test_error.interval(),
                behind(entry, ranked[0]) if paired and number > 1 else "-",
                summarise(entry.rounds("train_error")).percent(),
                percent(min(entry.test_error_R)),
                *(_digit_error(entry) for _ in digits),
                entry.test_error.n,
                entry.parameters,
                f"{entry.run.metrics['seconds_per_epoch']:.3f}",
                entry.search_cost,
                show_hyper(entry.variant, entry.hyper),
            ]
            for number, entry in enumerate(ranked, start=1)
        ],
    )


def _digit_error(entry: Evaluation) -> str:
    errors = entry.rounds("test_digit_error")
    return summarise(errors).percent() if errors else "-"


def behind(entry: Evaluation, best: Evaluation) -> str:
    """The mean difference in test error over rounds, in percentage points, with its 95 % interval."""
    pairs = zip(entry.test_error_R, best.test_error_R, strict=True)
    difference = summarise([mine - its for mine, its in pairs])
    return f"{points(difference.mean)} {difference.interval()}"


def contrast_table(verdicts: Sequence[Verdict]) -> Table:
    """Differences in percentage points: negative where the first has less error."""
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
                points(verdict.mean),
                f"[{points(verdict.low)}, {points(verdict.high)}]" if verdict.n > 1 else "-",
                probability(verdict.p),
                probability(verdict.p_holm),
                f"{verdict.effect:+.2f}" if math.isfinite(verdict.effect) else "-",
                f"{100 * verdict.detectable:.2f}" if math.isfinite(verdict.detectable) else "-",
                said(verdict),
            ]
            for verdict in verdicts
        ],
    )


def said(verdict: Verdict) -> str:
    """In words."""
    if verdict.contrast.name == "interaction":
        return ("less together" if verdict.mean > 0 else "more together") if verdict.significant else "not shown"
    return ("less error" if verdict.mean < 0 else "more error") if verdict.significant else "not shown"


def points(difference: float) -> str:
    """`-1.25`: a difference of shares in percentage points."""
    return f"{100 * difference:+.2f}"


def significance(p: float) -> str:
    """`p = 0.012`, or `p < 0.001`."""
    return f"p {'' if p < LEAST_P else '= '}{probability(p)}"


def probability(p: float) -> str:
    """`0.012`, or `< 0.001`."""
    if not math.isfinite(p):
        return "-"
    return f"< {LEAST_P}" if p < LEAST_P else f"{p:.3f}"
