"""What compare shows in pictures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from pipeline.reports.contrasts import Verdict
from pipeline.reports.figures import (
    Interval,
    box_plot,
    digit_pair_errors,
    error_against_compute,
    forest_plot,
    loss_by_family,
)
from pipeline.reports.figures.ranks import critical_differences
from pipeline.stages.comparing.evaluations import Evaluation


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A figure with its name as a file and what a reader should know."""

    name: str
    title: str
    figure: Figure
    caption: str


def pictures(ranked: Sequence[Evaluation], verdicts: Sequence[Verdict], *, paired: bool) -> list[Picture]:
    """Those that these evaluations and verdicts give, in the order in which they are read."""
    found = []
    if any(verdict.n > 1 for verdict in verdicts):
        found.append(_forest(verdicts))
    labelled = {entry.model: entry for entry in ranked}
    found.append(boxes("test_error", labelled))
    if paired and len(ranked) > 2 and ranked[0].test_error.n > 1:
        found.append(
            Picture(
                name="critical_differences",
                title="Mean ranks",
                figure=critical_differences({entry.model: entry.test_error_R for entry in ranked}),
                caption="Variants that a bar joins are not told apart by Nemenyi's test at 5 %.",
            )
        )
    if len(ranked) > 1:
        found.append(compute("error_against_compute", labelled))
    found.append(losses(labelled))
    shares = {entry.model: share for entry in ranked if (share := entry.digit_pair_error_KK()) is not None}
    if shares:
        found.append(
            Picture(
                name="error_by_digit_pair",
                title="Error by pair of digits",
                figure=digit_pair_errors(shares),
                caption="Share of wrong answers over all rounds; the first digit is the row.",
            )
        )
    return found


def _forest(verdicts: Sequence[Verdict]) -> Picture:
    lines = [
        Interval(
            label=verdict.contrast.name,
            group=verdict.contrast.family,
            mean=verdict.mean,
            low=verdict.low,
            high=verdict.high,
            significant=verdict.significant,
        )
        for verdict in verdicts
        if verdict.n > 1
    ]
    return Picture(
        name="contrasts",
        title="Forest plot of the contrasts",
        figure=forest_plot(lines),
        caption="Paired difference over rounds with its 95 % interval; filled: significant at 5 % after Holm.",
    )


def boxes(name: str, labelled: Mapping[str, Evaluation]) -> Picture:
    """The test error of every round, by label."""
    return Picture(
        name=name,
        title="Test error over rounds",
        figure=box_plot({label: entry.test_error_R for label, entry in labelled.items()}, "test error"),
        caption="Every round is a point, the mean a diamond; the box holds the middle half.",
    )


def compute(name: str, labelled: Mapping[str, Evaluation]) -> Picture:
    """The test error against what one training took, by label."""
    points = {
        label: (entry.round_seconds, entry.test_error.mean, entry.test_error.low, entry.test_error.high)
        for label, entry in labelled.items()
    }
    return Picture(
        name=name,
        title="Error against compute",
        figure=error_against_compute(points),
        caption="Seconds that one training took on the machine that ran it, beside others of its batch.",
    )


def losses(labelled: Mapping[str, Evaluation]) -> Picture:
    """The training loss by epoch, a panel for each family, by label."""
    families: dict[str, dict[str, tuple[list[float], list[float]]]] = defaultdict(dict)
    for label, entry in labelled.items():
        families[entry.variant.arch][label] = entry.curve("train_loss")
    return Picture(
        name="loss_by_family",
        title="Training loss by family",
        figure=loss_by_family(families),
        caption="Mean over rounds with a band of one standard deviation; losses of variants with an auxiliary loss "
        "contain it.",
    )
