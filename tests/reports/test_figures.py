from __future__ import annotations

import io
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from pipeline.data.pools import Samples
from pipeline.reports.figures import (
    box_plot,
    digit_confusion,
    error_against,
    error_by_epoch,
    grid_heat_map,
    learning_curves,
    loss_by_family,
    loss_curve,
    pareto_front,
    point_errors,
    sample_pairs,
    sample_points,
    search_history,
)
from pipeline.seeds import numpy_generator


def samples(count: int) -> Samples:
    digits_NC = np.arange(2 * count).reshape(count, 2) * 7 % 10
    return Samples(
        x=numpy_generator(0, "pictures").uniform(0, 255, (count, 2, 14, 14)).astype(np.float32),
        target_N=(digits_NC[:, 0] <= digits_NC[:, 1]).astype(np.int64),
        digits_NC=digits_NC,
    )


def curves(*lengths: int) -> list[list[float]]:
    return [[1 / epoch + 0.1 * index for epoch in range(1, length + 1)] for index, length in enumerate(lengths)]


def confusion(seen: int, wrong: int, *, pairs: int = 100) -> Figure:
    """`wrong` of `seen` for the first so many pairs of digits, and no other pair."""
    shown = np.arange(100).reshape(10, 10) < pairs
    seen_KK: NDArray[np.int64] = np.where(shown, seen, 0)
    return digit_confusion(np.minimum(seen_KK, wrong), seen_KK)


NAN = float("nan")


def heat_map(error_VW: list[list[float]], chosen: tuple[int, int] | None = None) -> Figure:
    rows, columns = ["0.001", "0.01"][: len(error_VW)], ["8", "16", "32"][: len(error_VW[0])]
    return grid_heat_map(np.array(error_VW), rows, columns, "learning rate", "batch size", chosen)


def epochs(count: int, std: float = 0.01) -> Figure:
    mean = curves(count)[0]
    return error_by_epoch(mean, [2 * value for value in mean], [std] * count, mean, "bncnn")


CENTRE, RADIUS = (0.5, 0.5), 0.3
POINTS_ND = np.array([[0.5, 0.5], [0.5, 0.75], [0.1, 0.1], [0.9, 0.5], [0.0, 1.0]])
INSIDE_N = np.array([True, True, False, False, False])


FIGURES: dict[str, tuple[Callable[[], Figure], list[tuple[str, str]]]] = {
    "pairs": (lambda: sample_pairs(samples(24)), []),
    "more pairs than fit": (lambda: sample_pairs(samples(9), columns=4, rows=2), []),
    "one pair": (lambda: sample_pairs(samples(1)), []),
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
        lambda: learning_curves({str(number): curves(3) for number in range(6)}, {"test": curves(3)}, "mlp"),
        [("epoch", "loss"), ("epoch", "error (%)")],
    ),
    "families": (
        lambda: loss_by_family({"mlp": {"mlp": curves(5)[0], "mlp_ws": curves(7)[0]}, "convnet": {"c": curves(9)[0]}}),
        [("epoch", "mean training loss")] * 2,
    ),
    "one family": (lambda: loss_by_family({"mlp": {"mlp": [0.5]}}), [("epoch", "mean training loss")]),
    "boxes": (
        lambda: box_plot({f"variant_{number}": curves(15)[0] for number in range(8)}, "test error"),
        [("", "test error (%)")],
    ),
    "boxes of one round": (lambda: box_plot({"mlp": [0.1], "mlp_ws": [0.2]}, "test error"), [("", "test error (%)")]),
    "boxes of different rounds": (
        lambda: box_plot({"mlp": [0.1] * 3, "mlp_ws": [0.2, 0.3]}, "validation error"),
        [("", "validation error (%)")],
    ),
    "digits": (lambda: confusion(9, 3), [("second digit", "first digit"), ("", "test error (%)")]),
    "digits never seen": (lambda: confusion(9, 3, pairs=7), [("second digit", "first digit"), ("", "test error (%)")]),
    "digits never wrong": (lambda: confusion(9, 0), [("second digit", "first digit"), ("", "test error (%)")]),
    "no digits": (lambda: confusion(0, 0), [("second digit", "first digit"), ("", "test error (%)")]),
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
    "loss": (lambda: loss_curve(curves(9)[0], curves(7)[0], "cnn5"), [("epoch", "loss")]),
    "loss of one epoch": (lambda: loss_curve([0.5], [0.6], "cnn5"), [("epoch", "loss")]),
    "loss that is lost": (lambda: loss_curve([0.5, NAN], [0.6, NAN], "cnn5"), [("epoch", "loss")]),
    "error by epoch": (lambda: epochs(9), [("epoch", "error (%)")]),
    "error by epoch of one run": (lambda: epochs(9, std=NAN), [("epoch", "error (%)")]),
    "error of one epoch": (lambda: epochs(1), [("epoch", "error (%)")]),
    "points": (
        lambda: sample_points(POINTS_ND, INSIDE_N, CENTRE, RADIUS),
        [("first coordinate", "second coordinate")],
    ),
    "points all outside": (
        lambda: sample_points(POINTS_ND[2:], INSIDE_N[2:], CENTRE, RADIUS),
        [("first coordinate", "second coordinate")],
    ),
    "wrong points": (
        lambda: point_errors(POINTS_ND, INSIDE_N, CENTRE, RADIUS),
        [("first coordinate", "second coordinate")],
    ),
    "no wrong points": (
        lambda: point_errors(POINTS_ND, INSIDE_N & False, CENTRE, RADIUS),
        [("first coordinate", "second coordinate")],
    ),
}


def labels(figure: Figure) -> list[tuple[str, str]]:
    return [(axis.get_xlabel(), axis.get_ylabel()) for axis in figure.axes if axis.axison]


@pytest.mark.parametrize("name", FIGURES)
def test_figures_can_be_drawn_and_name_their_units(name: str) -> None:
    make, expected = FIGURES[name]
    figure = make()
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=50)
    assert picture.getvalue().startswith(b"\x89PNG")
    assert labels(figure) == expected


def heights(figure: Figure, axis: int, line: int) -> Sequence[float]:
    return [float(height) for height in np.asarray(figure.axes[axis].lines[line].get_ydata())]


def test_a_curve_is_the_mean_of_those_that_last_as_long() -> None:
    figure = learning_curves({"training": [[1.0, 2.0], [3.0]]}, {"test": [[0.1, 0.2], [0.3]]}, "mlp")
    assert heights(figure, 0, 0) == pytest.approx([2.0, 2.0])
    assert heights(figure, 1, 0) == pytest.approx([20.0, 20.0])


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


def test_the_confusion_shows_the_share_of_the_pairs_that_were_seen() -> None:
    figure = confusion(8, 2, pairs=3)
    assert [text.get_text() for text in figure.axes[0].texts] == ["25"] * 3


def test_pairs_bear_their_digits_and_the_right_sign() -> None:
    shown = samples(8)
    titles = [axis.get_title() for axis in sample_pairs(shown).axes if axis.get_title()]
    assert len(titles) == 8
    for title, (first, second) in zip(titles, shown.digits_NC, strict=True):
        assert title == f"{first} {'≤' if first <= second else '>'} {second}"


def test_series_are_told_apart_without_colour() -> None:
    figure = learning_curves({name: curves(3) for name in "abcd"}, {"test": curves(3)}, "mlp")
    assert len({line.get_linestyle() for line in figure.axes[0].lines}) == 4


def test_the_grid_shows_percent_in_its_cells_and_a_dash_without_a_value() -> None:
    figure = heat_map([[0.1, NAN, 0.25], [0.3, 0.1234, 0.4]])
    axis = figure.axes[0]
    shown = {text.get_position(): text.get_text() for text in axis.texts}
    assert shown == {(0, 0): "10.0", (1, 0): "-", (2, 0): "25.0", (0, 1): "30.0", (1, 1): "12.3", (2, 1): "40.0"}
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["8", "16", "32"]
    assert [tick.get_text() for tick in axis.get_yticklabels()] == ["0.001", "0.01"]


def colours(figure: Figure) -> NDArray[np.float64]:
    """Of the cells of a grid, (V, W, 4)."""
    image = figure.axes[0].images[0]
    values = image.get_array()
    assert values is not None
    return np.asarray(image.cmap(image.norm(values)))


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


def legend(figure: Figure) -> list[str]:
    return [
        text.get_text() for shown in [*figure.legends, figure.axes[0].get_legend()] if shown for text in shown.texts
    ]


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


def marked(figure: Figure, name: str) -> NDArray[np.float64]:
    """The points (N, 2) of the series of that name."""
    (line,) = (found for found in figure.axes[0].lines if found.get_label() == name)
    return np.asarray(line.get_xydata())


def test_points_inside_and_outside_of_the_disc_differ_in_their_markers() -> None:
    figure = sample_points(POINTS_ND, INSIDE_N, CENTRE, RADIUS)
    assert np.array_equal(marked(figure, "inside"), POINTS_ND[:2])
    assert np.array_equal(marked(figure, "outside"), POINTS_ND[2:])
    styles = {line.get_label(): (line.get_marker(), line.get_fillstyle()) for line in figure.axes[0].lines}
    assert styles["inside"] != styles["outside"]
    assert {"inside", "outside"} <= set(legend(figure))


@pytest.mark.parametrize("make", [sample_points, point_errors])
def test_the_disc_is_drawn_round(make: Callable[..., Figure]) -> None:
    figure = make(POINTS_ND, INSIDE_N, (0.4, 0.6), 0.25)
    edge = marked(figure, "edge of the disc")
    assert np.hypot(*(edge - (0.4, 0.6)).T) == pytest.approx(np.full(len(edge), 0.25))
    assert edge[0] == pytest.approx(edge[-1])
    assert figure.axes[0].get_aspect() == 1


def test_wrong_points_stand_out_and_are_counted() -> None:
    figure = point_errors(POINTS_ND, np.array([False, True, False, True, False]), CENTRE, RADIUS)
    assert np.array_equal(marked(figure, "wrong"), POINTS_ND[[1, 3]])
    assert np.array_equal(marked(figure, "right"), POINTS_ND[[0, 2, 4]])
    opacity = {line.get_label(): line.get_alpha() or 1 for line in figure.axes[0].lines}
    assert opacity["right"] < opacity["wrong"]
    assert figure.axes[0].get_title() == "2 of 5 points classified wrongly"
