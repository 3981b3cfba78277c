from __future__ import annotations

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from pipeline.reports.figures import error_against, grid_heat_map, pareto_front, search_history
from tests.reports.drawn import NAN, Drawings, colours, heights, labels, legend, marked, save


def heat_map(error_VW: list[list[float]], chosen: tuple[int, int] | None = None) -> Figure:
    rows, columns = ["0.001", "0.01"][: len(error_VW)], ["8", "16", "32"][: len(error_VW[0])]
    return grid_heat_map(np.array(error_VW), rows, columns, "learning rate", "batch size", chosen)


FIGURES: Drawings = {
    "history": (
        lambda: search_history({0: 0.2, 1: 0.3, 4: 0.1}, {2: 0.4, 3: 0.5}, 0.2),
        [("trial", "mean validation error over folds (%)")],
    ),
    "history of the preset": (
        lambda: search_history({0: 0.2}, {}, 0.2),
        [("trial", "mean validation error over folds (%)")],
    ),
    "history without the preset": (
        lambda: search_history({1: 0.2, 2: 0.1}, {}, None),
        [("trial", "mean validation error over folds (%)")],
    ),
    "history of pruned trials": (
        lambda: search_history({}, {1: 0.4}, None),
        [("trial", "mean validation error over folds (%)")],
    ),
    "history with a recheck": (
        lambda: search_history({0: 0.2, 1: 0.1}, {}, 0.2, rechecked={1: 0.15}),
        [("trial", "mean validation error over folds (%)")],
    ),
    "front": (
        lambda: pareto_front([(1, 0.3), (2, 0.2), (3, 0.25)], [(1, 0.3), (2, 0.2)], "parameters"),
        [("parameters", "mean validation error over folds (%)")],
    ),
    "front of one trial": (
        lambda: pareto_front([(1, 0.3)], [(1, 0.3)], "time"),
        [("time", "mean validation error over folds (%)")],
    ),
    "grid": (
        lambda: heat_map([[0.1, 0.2, NAN], [0.3, 0.15, 0.4]], (0, 0)),
        [("batch size", "learning rate"), ("", "validation error (%)")],
    ),
    "grid of equal errors": (
        lambda: heat_map([[0.1, 0.1]]),
        [("batch size", "learning rate"), ("", "validation error (%)")],
    ),
    "grid never wrong": (
        lambda: heat_map([[0.0]], (0, 0)),
        [("batch size", "learning rate"), ("", "validation error (%)")],
    ),
    "grid without a value": (
        lambda: heat_map([[NAN, NAN]]),
        [("batch size", "learning rate"), ("", "validation error (%)")],
    ),
    "error against alpha": (
        lambda: error_against([0.0, 0.1, 0.2], [0.2, 0.1, 0.15], [0.01, NAN, 0.02], "alpha", 0.1),
        [("alpha", "validation error (%)")],
    ),
    "error against one value": (
        lambda: error_against([0.5], [0.2], [NAN], "alpha", None),
        [("alpha", "validation error (%)")],
    ),
}


@pytest.mark.parametrize("name", FIGURES)
def test_searches_can_be_drawn_and_name_their_units(name: str) -> None:
    make, expected = FIGURES[name]
    figure = make()
    save(figure)
    assert labels(figure) == expected


def test_the_history_shows_percent_and_the_best_so_far() -> None:
    figure = search_history({4: 0.1, 0: 0.2, 1: 0.3}, {}, 0.2)
    assert heights(figure, 0, 0) == pytest.approx([20.0, 30.0, 10.0])
    assert heights(figure, 0, 1) == pytest.approx([20.0, 20.0, 10.0])


def test_the_history_shows_what_the_best_gave_on_fresh_folds() -> None:
    figure = search_history({0: 0.2, 1: 0.1, 2: 0.3}, {}, None, rechecked={0: 0.25, 1: 0.15})
    assert marked(figure, "tried again on fresh folds").tolist() == [[0, 25], [1, 15]]
    assert not [name for name in legend(search_history({0: 0.2}, {}, None)) if "fresh" in name]


def test_the_front_goes_down_in_steps_between_all_trials() -> None:
    every, front = [(30.0, 0.25), (10.0, 0.3), (20.0, 0.2)], [(10.0, 0.3), (20.0, 0.2)]
    figure = pareto_front(every, front, "parameters")
    assert marked(figure, "complete trial") == pytest.approx(np.array([(x, 100 * y) for x, y in every]))
    assert marked(figure, "none is better in both") == pytest.approx(np.array([(10, 30), (20, 20)]))
    assert figure.axes[0].lines[1].get_drawstyle() == "steps-post"


def test_the_grid_shows_percent_in_its_cells_and_a_dash_without_a_value() -> None:
    figure = heat_map([[0.1, NAN, 0.25], [0.3, 0.1234, 0.4]])
    axis = figure.axes[0]
    shown = {text.get_position(): text.get_text() for text in axis.texts}
    assert shown == {(0, 0): "10.0", (1, 0): "-", (2, 0): "25.0", (0, 1): "30.0", (1, 1): "12.3", (2, 1): "40.0"}
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["8", "16", "32"]
    assert [tick.get_text() for tick in axis.get_yticklabels()] == ["0.001", "0.01"]


def test_only_cells_without_a_value_are_white() -> None:
    colours_VWC = colours(heat_map([[0.1, NAN, 0.101], [0.1, 0.4, 0.2]]))
    assert not colours_VWC[0, 1, 3]
    assert (np.delete(colours_VWC.reshape(-1, 4), 1, axis=0)[:, :3] < 0.95).all()


def test_numbers_stand_out_from_their_cells() -> None:
    figure = heat_map([[0.1, 0.2, 0.25], [0.3, 0.35, 0.4]])
    brightness_VW = colours(figure)[..., :3].mean(-1)
    for text in figure.axes[0].texts:
        column, row = text.get_position()
        assert abs(brightness_VW[int(row), int(column)] - (text.get_color() == "white")) > 0.35


def test_the_chosen_cell_is_framed() -> None:
    framed = heat_map([[0.1, 0.2, 0.3], [0.3, 0.1, 0.4]], (1, 2)).axes[0].patches
    assert framed
    for frame in framed:
        assert isinstance(frame, Rectangle)
        assert (frame.get_xy(), frame.get_width(), frame.get_height()) == ((1.5, 0.5), 1, 1)
    assert not heat_map([[0.1, 0.2]]).axes[0].patches


def test_the_error_against_a_hyperparameter_has_bars_and_the_chosen_value() -> None:
    figure = error_against([0.3, 0.1, 0.2], [0.2, 0.1, 0.15], [0.01, NAN, 0.02], "alpha", 0.2)
    mean, chosen = figure.axes[0].lines[0], figure.axes[0].lines[-1]
    assert np.asarray(mean.get_xdata()) == pytest.approx([0.1, 0.2, 0.3])
    assert np.asarray(mean.get_ydata()) == pytest.approx([10, 15, 20])
    assert mean.get_marker() == "o"
    (bars,) = (found for found in figure.axes[0].collections if isinstance(found, LineCollection))
    ends = [[height for _, height in bar] for bar in bars.get_segments()]
    assert [end for end in ends if end] == [pytest.approx([13, 17]), pytest.approx([19, 21])]
    assert (chosen.get_linestyle(), list(np.asarray(chosen.get_xdata()))) == (":", [0.2, 0.2])
    assert "chosen: 0.2" in legend(figure)
    assert not [name for name in legend(error_against([0.1], [0.2], [NAN], "alpha", None)) if "chosen" in name]
