from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.figure import Figure

from pipeline.tasks.disc.pictures import point_errors, sample_points
from pipeline.tasks.disc.points import CENTRE, RADIUS
from tests.reports.drawn import Drawings, labels, legend, marked, save

POINTS_ND = np.array([[0.5, 0.5], [0.5, 0.75], [0.1, 0.1], [0.9, 0.5], [0.0, 1.0]])
INSIDE_N = np.array([True, True, False, False, False])
FIGURES: Drawings = {
    "points": (
        lambda: sample_points(POINTS_ND, INSIDE_N),
        [("first coordinate", "second coordinate")],
    ),
    "points all outside": (
        lambda: sample_points(POINTS_ND[2:], INSIDE_N[2:]),
        [("first coordinate", "second coordinate")],
    ),
    "wrong points": (
        lambda: point_errors(POINTS_ND, INSIDE_N),
        [("first coordinate", "second coordinate")],
    ),
    "no wrong points": (
        lambda: point_errors(POINTS_ND, INSIDE_N & False),
        [("first coordinate", "second coordinate")],
    ),
}


@pytest.mark.parametrize("name", FIGURES)
def test_pictures_of_points_can_be_drawn_and_name_their_units(name: str) -> None:
    make, expected = FIGURES[name]
    figure = make()
    save(figure)
    assert labels(figure) == expected


def test_points_inside_and_outside_of_the_disc_differ_in_their_markers() -> None:
    figure = sample_points(POINTS_ND, INSIDE_N)
    assert np.array_equal(marked(figure, "inside"), POINTS_ND[:2])
    assert np.array_equal(marked(figure, "outside"), POINTS_ND[2:])
    styles = {line.get_label(): (line.get_marker(), line.get_fillstyle()) for line in figure.axes[0].lines}
    assert styles["inside"] != styles["outside"]
    assert {"inside", "outside"} <= set(legend(figure))


@pytest.mark.parametrize("make", [sample_points, point_errors])
def test_the_disc_is_drawn_round(make: Callable[..., Figure]) -> None:
    figure = make(POINTS_ND, INSIDE_N)
    edge = marked(figure, "edge of the disc")
    assert np.hypot(*(edge - CENTRE).T) == pytest.approx(np.full(len(edge), RADIUS))
    assert edge[0] == pytest.approx(edge[-1])
    assert figure.axes[0].get_aspect() == 1


def test_wrong_points_stand_out_and_are_counted() -> None:
    figure = point_errors(POINTS_ND, np.array([False, True, False, True, False]))
    assert np.array_equal(marked(figure, "wrong"), POINTS_ND[[1, 3]])
    assert np.array_equal(marked(figure, "right"), POINTS_ND[[0, 2, 4]])
    opacity = {line.get_label(): line.get_alpha() or 1 for line in figure.axes[0].lines}
    assert opacity["right"] < opacity["wrong"]
    assert figure.axes[0].get_title() == "2 of 5 points classified wrongly"
