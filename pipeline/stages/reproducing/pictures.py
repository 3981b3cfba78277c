"""The pictures of a published table, drawn from our rounds."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pipeline.reports.figures import error_by_epoch
from pipeline.stages.comparing.evaluations import Evaluation
from pipeline.stages.comparing.pictures import Picture, boxes, compute, losses
from pipeline.stages.reproducing.reproduced import Reproduced

Evaluations = Mapping[str, Evaluation]


def pictures(reproduced: Reproduced) -> list[Picture]:
    """Those that the report has; none where nothing was measured."""
    evaluations = reproduced.evaluations
    wanted = reproduced.table.pictures if evaluations else ()
    return [picture for name in wanted for picture in DRAWN[name](evaluations)]


def _error_by_epoch(evaluations: Evaluations) -> list[Picture]:
    found = []
    for number, (label, entry) in enumerate(evaluations.items()):
        metric = entry.variant.metric
        (train, _), (test, spread) = (entry.curve(f"{part}_{metric.name}") for part in ("train", "test"))
        least = entry.curve(f"test_{metric.name}_min")[0] or test
        figure = error_by_epoch(train, test, spread or [0.0] * len(test), least, label, metric)
        caption = "Mean over rounds; the band is one standard deviation. The training error is that while learning."
        found.append(Picture(name=f"error_by_epoch_{number:02d}", title=label, figure=figure, caption=caption))
    return found


def _curves(evaluations: Evaluations) -> list[Picture]:
    return [losses(evaluations), *_error_by_epoch(evaluations)]


DRAWN: dict[str, Callable[[Evaluations], list[Picture]]] = {
    "loss_by_family": lambda evaluations: [losses(evaluations)],
    "error_by_epoch": _error_by_epoch,
    "curves": _curves,
    "box_plot": lambda evaluations: [boxes("box_plot", evaluations)],
    "seconds": lambda evaluations: [compute("seconds", evaluations)],
}
"""By what `published/*.yaml` calls them."""
