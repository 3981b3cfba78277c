"""What compare shows in pictures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from pipeline.models.metrics import Metric
from pipeline.reports.contrasts import Verdict
from pipeline.reports.figures import (
    Interval,
    box_plot,
    error_against_compute,
    forest_plot,
    loss_by_family,
)
from pipeline.reports.figures.ranks import critical_differences
from pipeline.stages.comparing.evaluations import Evaluation
from pipeline.tasks.registry import tasks


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
        found.append(_forest(verdicts, ranked[0]))
    labelled = {entry.model: entry for entry in ranked}
    found.append(boxes(f"test_{ranked[0].variant.metric.name}", labelled))
    if paired and len(ranked) > 2 and ranked[0].test.n > 1:
        found.append(
            Picture(
                name="critical_differences",
                title="Mean ranks",
                figure=critical_differences({entry.model: entry.test_R for entry in ranked}),
                caption="Variants that a bar joins are not told apart by Nemenyi's test at 5 %.",
            )
        )
    if len(ranked) > 1:
        found.append(compute("error_against_compute", labelled))
    found.append(losses(labelled))
    return [*found, *_breakdowns(ranked)]


def _breakdowns(ranked: Sequence[Evaluation]) -> list[Picture]:
    """What tasks show of errors, of all their variants side by side."""
    found = []
    for task in tasks().values():
        breakdown = task.views().breakdown
        if breakdown is None:
            continue
        names = {variant.name for variant in task.variants}
        mine = [entry for entry in ranked if entry.model in names]
        texts = {entry.model: text for entry in mine if (text := entry.breakdown(breakdown.name)) is not None}
        if texts:
            figure = breakdown.draw(texts)
            found.append(
                Picture(name=breakdown.picture, title=breakdown.title, figure=figure, caption=breakdown.caption)
            )
    return found


def _forest(verdicts: Sequence[Verdict], best: Evaluation) -> Picture:
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
        figure=forest_plot(lines, best.variant.metric),
        caption="Paired difference over rounds with its 95 % interval; filled: significant at 5 % after Holm.",
    )


def boxes(name: str, labelled: Mapping[str, Evaluation]) -> Picture:
    """The test metric of every round, by label."""
    metric = _metric(labelled)
    return Picture(
        name=name,
        title=f"Test {metric.title} over rounds",
        figure=box_plot({label: entry.test_R for label, entry in labelled.items()}, f"test {metric.title}", metric),
        caption="Every round is a point, the mean a diamond; the box holds the middle half.",
    )


def compute(name: str, labelled: Mapping[str, Evaluation]) -> Picture:
    """The test metric against what one training took, by label."""
    metric = _metric(labelled)
    points = {
        label: (entry.round_seconds, entry.test.mean, entry.test.low, entry.test.high)
        for label, entry in labelled.items()
    }
    return Picture(
        name=name,
        title=f"{metric.title.capitalize()} against compute",
        figure=error_against_compute(points, metric),
        caption="Seconds that one training took on the machine that ran it, beside others of its batch.",
    )


def losses(labelled: Mapping[str, Evaluation]) -> Picture:
    """The training loss by epoch, a panel for each family, by label."""
    families: dict[str, dict[str, tuple[list[float], list[float]]]] = defaultdict(dict)
    for label, entry in labelled.items():
        families[entry.variant.family][label] = entry.curve("train_loss")
    return Picture(
        name="loss_by_family",
        title="Training loss by family",
        figure=loss_by_family(families),
        caption="Mean over rounds with a band of one standard deviation; losses of variants with an auxiliary loss "
        "contain it.",
    )


def _metric(labelled: Mapping[str, Evaluation]) -> Metric:
    """What they are ranked by."""
    return next(iter(labelled.values())).variant.metric
