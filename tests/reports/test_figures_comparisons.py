from __future__ import annotations

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from pipeline.reports.figures import Interval, box_plot, forest_plot
from tests.reports.drawn import NAN, Drawings, curves, labels, legend, marked, save

DIFFERENCE = "difference in test error (percentage points); negative: the first has less"


def contrast(label: str, mean: float = 0.01, *, group: str = "mlp", significant: bool = True) -> Interval:
    return Interval(label, group, mean, mean - 0.02, mean + 0.03, significant)


def many(count: int) -> Figure:
    return forest_plot([contrast(f"variant_{n} - mlp", n / 100, group=f"family {n // 4}") for n in range(count)])


FIGURES: Drawings = {
    "boxes": (
        lambda: box_plot({f"variant_{number}": curves(15)[0] for number in range(8)}, "test error"),
        [("", "test error (%)")],
    ),
    "boxes of one round": (lambda: box_plot({"mlp": [0.1], "mlp_ws": [0.2]}, "test error"), [("", "test error (%)")]),
    "boxes of different rounds": (
        lambda: box_plot({"mlp": [0.1] * 3, "mlp_ws": [0.2, 0.3]}, "validation error"),
        [("", "validation error (%)")],
    ),
    "boxes of many": (
        lambda: box_plot({f"variant_{number}": curves(3)[0] for number in range(38)}, "test error"),
        [("", "test error (%)")],
    ),
    "one contrast": (lambda: many(1), [(DIFFERENCE, "")]),
    "many contrasts": (lambda: many(37), [(DIFFERENCE, "")]),
    "a contrast of one round": (lambda: forest_plot([Interval("a - b", "", 0, NAN, NAN, False)]), [(DIFFERENCE, "")]),
}


@pytest.mark.parametrize("name", FIGURES)
def test_comparisons_can_be_drawn_and_name_their_units(name: str) -> None:
    make, expected = FIGURES[name]
    figure = make()
    save(figure)
    assert labels(figure) == expected


def test_contrasts_stand_beside_those_of_their_family() -> None:
    figure = forest_plot(
        [contrast("a"), contrast("b", group="convnet"), contrast("c"), contrast("d", group="convnet"), contrast("e")]
    )
    axis = figure.axes[0]
    assert [text.get_text() for text in axis.get_yticklabels()] == ["a", "c", "e", "b", "d"]
    assert {text.get_text(): text.get_position()[1] for text in axis.texts} == {"mlp": 1, "convnet": 3.5}
    assert axis.yaxis_inverted()


def test_contrasts_are_filled_where_significant_and_in_percentage_points() -> None:
    figure = forest_plot([contrast("a", 0.05), contrast("b", -0.01, significant=False)])
    assert marked(figure, "significant") == pytest.approx(np.array([[5, 0]]))
    assert marked(figure, "not significant") == pytest.approx(np.array([[-1, 1]]))
    fills = {line.get_label(): line.get_markerfacecolor() for line in figure.axes[0].lines}
    assert fills["significant"] != fills["not significant"]
    assert legend(figure) == ["significant", "not significant"]
    bars = [found for found in figure.axes[0].collections if isinstance(found, LineCollection)]
    ends = [np.asarray(bar)[:, 0] for found in bars for bar in found.get_segments()]
    assert np.array(ends) == pytest.approx(np.array([[3, 8], [-3, 2]]))


def test_contrasts_are_seen_beside_zero() -> None:
    figure = forest_plot([contrast("a", 0.2)])
    (zero,) = (line for line in figure.axes[0].lines if len(np.asarray(line.get_xdata())) == 2)
    assert list(np.asarray(zero.get_xdata())) == [0, 0]
    low, high = figure.axes[0].get_xlim()
    assert low <= 0
    assert high >= 23
