"""The pictures of a published table, drawn from our rounds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping

from pipeline.reports.figures import box_plot, error_against_compute, error_by_epoch, loss_by_family
from pipeline.stages.comparing.evaluations import Evaluation
from pipeline.stages.comparing.pictures import Picture
from pipeline.stages.reproducing.reproduced import Reproduced

Evaluations = Mapping[str, Evaluation]


def pictures(reproduced: Reproduced) -> list[Picture]:
    """Those that the report has."""
    evaluations = reproduced.evaluations
    return [picture for name in reproduced.table.pictures for picture in DRAWN[name](evaluations)]


def _loss_by_family(evaluations: Evaluations) -> list[Picture]:
    families: dict[str, dict[str, tuple[list[float], list[float]]]] = defaultdict(dict)
    for label, entry in evaluations.items():
        families[entry.variant.arch][label] = entry.curve("train_loss")
    return [
        Picture(
            name="loss_by_family",
            title="Training loss by epoch",
            figure=loss_by_family(families),
            caption="Mean over rounds with a band of one standard deviation.",
        )
    ]


def _error_by_epoch(evaluations: Evaluations) -> list[Picture]:
    found = []
    for number, (label, entry) in enumerate(evaluations.items()):
        (train, _), (test, spread) = entry.curve("train_error"), entry.curve("test_error")
        least = entry.curve("test_error_min")[0] or test
        figure = error_by_epoch(train, test, spread or [0.0] * len(test), least, label)
        caption = "Mean over rounds; the band is one standard deviation. The training error is that while learning."
        found.append(Picture(name=f"error_by_epoch_{number:02d}", title=label, figure=figure, caption=caption))
    return found


def _curves(evaluations: Evaluations) -> list[Picture]:
    return [*_loss_by_family(evaluations), *_error_by_epoch(evaluations)]


def _box_plot(evaluations: Evaluations) -> list[Picture]:
    figure = box_plot({label: entry.test_error_R for label, entry in evaluations.items()}, "test error")
    caption = "Every round is a point, the mean a diamond; the box holds the middle half."
    return [Picture(name="box_plot", title="Test error over rounds", figure=figure, caption=caption)]


def _seconds(evaluations: Evaluations) -> list[Picture]:
    points = {
        label: (entry.round_seconds, entry.test_error.mean, entry.test_error.low, entry.test_error.high)
        for label, entry in evaluations.items()
    }
    caption = "Seconds that one training took on the machine that ran it, beside others of its batch."
    return [
        Picture(name="seconds", title="Error against compute", figure=error_against_compute(points), caption=caption)
    ]


DRAWN: dict[str, Callable[[Evaluations], list[Picture]]] = {
    "loss_by_family": _loss_by_family,
    "error_by_epoch": _error_by_epoch,
    "curves": _curves,
    "box_plot": _box_plot,
    "seconds": _seconds,
}
"""By what `published/*.yaml` calls them."""
