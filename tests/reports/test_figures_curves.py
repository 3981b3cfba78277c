from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

from pipeline.reports.figures import error_by_epoch, learning_curves, loss_by_family, loss_curve
from pipeline.reports.figures.style import STYLES
from tests.reports.drawn import NAN, Drawings, curves, heights, labels, legend, save


def epochs(count: int, std: float = 0.01) -> Figure:
    mean = curves(count)[0]
    return error_by_epoch(mean, [2 * value for value in mean], [std] * count, mean, "bncnn")


FIGURES: Drawings = {
    "curves": (
        lambda: learning_curves({"training": curves(9, 9), "test": curves(9, 9)}, {"test": curves(9, 9)}, "mlp"),
        [("epoch", "loss"), ("epoch", "error (%)")],
    ),
    "curves of one round": (
        lambda: learning_curves({"training": curves(9)}, {"test": curves(9)}, "mlp"),
        [("epoch", "loss"), ("epoch", "error (%)")],
    ),
    "curves of one epoch": (
        lambda: learning_curves({"training": curves(1, 1)}, {"test": curves(1)}, "mlp"),
        [("epoch", "loss"), ("epoch", "error (%)")],
    ),
    "curves of different lengths": (
        lambda: learning_curves({"training": curves(3, 9, 1)}, {"test": curves(9, 2)}, "mlp"),
        [("epoch", "loss"), ("epoch", "error (%)")],
    ),
    "more series than styles": (
        lambda: learning_curves({str(number): curves(3) for number in range(8)}, {"test": curves(3)}, "mlp"),
        [("epoch", "loss"), ("epoch", "error (%)")],
    ),
    "families": (
        lambda: loss_by_family(
            {"mlp": {"mlp": (curves(5)[0], []), "mlp_ws": (curves(7)[0], [0.1] * 7)}, "convnet": {"c": ([0.5], [NAN])}}
        ),
        [("epoch", "mean training loss")] * 2,
    ),
    "one family": (lambda: loss_by_family({"mlp": {"mlp": ([0.5], [])}}), [("epoch", "mean training loss")]),
    "loss": (lambda: loss_curve(curves(9)[0], curves(7)[0], "cnn5"), [("epoch", "loss")]),
    "loss of one epoch": (lambda: loss_curve([0.5], [0.6], "cnn5"), [("epoch", "loss")]),
    "loss that is lost": (lambda: loss_curve([0.5, NAN], [0.6, NAN], "cnn5"), [("epoch", "loss")]),
    "error by epoch": (lambda: epochs(9), [("epoch", "error (%)")]),
    "error by epoch of one run": (lambda: epochs(9, std=NAN), [("epoch", "error (%)")]),
    "error of one epoch": (lambda: epochs(1), [("epoch", "error (%)")]),
}


@pytest.mark.parametrize("name", FIGURES)
def test_curves_can_be_drawn_and_name_their_units(name: str) -> None:
    make, expected = FIGURES[name]
    figure = make()
    save(figure)
    assert labels(figure) == expected


def test_a_curve_is_the_mean_of_those_that_last_as_long() -> None:
    figure = learning_curves({"training": [[1.0, 2.0], [3.0]]}, {"test": [[0.1, 0.2], [0.3]]}, "mlp")
    assert heights(figure, 0, 0) == pytest.approx([2.0, 2.0])
    assert heights(figure, 1, 0) == pytest.approx([20.0, 20.0])


def test_series_are_told_apart_without_colour() -> None:
    figure = learning_curves({name: curves(3) for name in "abcd"}, {"test": curves(3)}, "mlp")
    assert len({line.get_linestyle() for line in figure.axes[0].lines}) == 4
    assert len({line for _, line in STYLES}) == len(STYLES)


def test_a_family_shows_the_mean_of_each_variant_and_a_band_where_it_has_one() -> None:
    figure = loss_by_family({"mlp": {"mlp": ([3.0, 2.0], [0.5, 0.25]), "mlp_ws": ([4.0, 1.0], [])}})
    assert [heights(figure, 0, line) for line in range(2)] == [[3.0, 2.0], [4.0, 1.0]]
    (band,) = figure.axes[0].collections
    corners = {tuple(corner) for corner in np.asarray(band.get_paths()[0].vertices)}
    assert corners == {(1, 2.5), (1, 3.5), (2, 1.75), (2, 2.25)}
    assert legend(figure) == ["mlp", "mlp_ws"]
    assert figure.axes[0].get_title() == "mlp"


def test_the_loss_of_both_parts_is_shown_by_epoch() -> None:
    figure = loss_curve([3.0, 2.0, 1.0], [4.0, 3.0], "cnn5")
    assert heights(figure, 0, 0) == [3.0, 2.0, 1.0]
    assert heights(figure, 0, 1) == [4.0, 3.0]
    assert list(np.asarray(figure.axes[0].lines[0].get_xdata())) == [1, 2, 3]
    assert legend(figure) == ["training", "validation"]
    assert figure.axes[0].get_title() == "cnn5"
    assert len({line.get_linestyle() for line in figure.axes[0].lines}) == 2


def test_a_single_epoch_is_marked() -> None:
    assert [line.get_marker() for line in loss_curve([0.5], [0.6], "cnn5").axes[0].lines] == ["o", "o"]


def test_errors_by_epoch_are_in_percent_with_a_band_and_the_least_of_the_runs() -> None:
    figure = error_by_epoch([0.1, 0.05], [0.3, 0.2], [0.02, 0.01], [0.25, 0.18], "bncnn")
    assert [heights(figure, 0, line) for line in range(3)] == [
        pytest.approx([10, 5]),
        pytest.approx([30, 20]),
        pytest.approx([25, 18]),
    ]
    corners = figure.axes[0].collections[0].get_paths()[0].vertices
    assert {tuple(np.round(corner, 6)) for corner in np.asarray(corners)} == {(1, 28), (1, 32), (2, 19), (2, 21)}
    assert len({line.get_linestyle() for line in figure.axes[0].lines}) == 3
    assert [name.split(",")[0] for name in legend(figure)] == ["training", "test", "test"]


def test_a_single_run_is_drawn_without_a_band() -> None:
    figure = epochs(4, std=NAN)
    assert heights(figure, 0, 1) == pytest.approx([200, 100, 200 / 3, 50])
    assert not any(np.size(path.vertices) for band in figure.axes[0].collections for path in band.get_paths())
