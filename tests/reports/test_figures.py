from __future__ import annotations

import io
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pipeline.data.pairs import Samples
from pipeline.reports.figures import (
    box_plot,
    digit_confusion,
    learning_curves,
    loss_by_family,
    sample_pairs,
    search_history,
)
from pipeline.seeds import numpy_generator


def samples(count: int) -> Samples:
    digits_NC = np.arange(2 * count).reshape(count, 2) * 7 % 10
    return Samples(
        x_NCHW=numpy_generator(0, "pictures").uniform(0, 255, (count, 2, 14, 14)).astype(np.float32),
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


FIGURES: dict[str, tuple[Callable[[], Figure], list[tuple[str, str]]]] = {
    "pairs": (lambda: sample_pairs(samples(24)), []),
    "more pairs than fit": (lambda: sample_pairs(samples(9), columns=4, rows=2), []),
    "one pair": (lambda: sample_pairs(samples(1)), []),
    "curves": (
        lambda: learning_curves({"training": curves(9, 9), "test": curves(9, 9)}, {"test": curves(9, 9)}, "mlp"),
        [("epoch", "loss (nats)"), ("epoch", "error (%)")],
    ),
    "curves of one round": (
        lambda: learning_curves({"training": curves(9)}, {"test": curves(9)}, "mlp"),
        [("epoch", "loss (nats)"), ("epoch", "error (%)")],
    ),
    "curves of one epoch": (
        lambda: learning_curves({"training": curves(1, 1)}, {"test": curves(1)}, "mlp"),
        [("epoch", "loss (nats)"), ("epoch", "error (%)")],
    ),
    "curves of different lengths": (
        lambda: learning_curves({"training": curves(3, 9, 1)}, {"test": curves(9, 2)}, "mlp"),
        [("epoch", "loss (nats)"), ("epoch", "error (%)")],
    ),
    "more series than styles": (
        lambda: learning_curves({str(number): curves(3) for number in range(6)}, {"test": curves(3)}, "mlp"),
        [("epoch", "loss (nats)"), ("epoch", "error (%)")],
    ),
    "families": (
        lambda: loss_by_family({"mlp": {"mlp": curves(5)[0], "mlp_ws": curves(7)[0]}, "convnet": {"c": curves(9)[0]}}),
        [("epoch", "mean training loss (nats)")] * 2,
    ),
    "one family": (lambda: loss_by_family({"mlp": {"mlp": [0.5]}}), [("epoch", "mean training loss (nats)")]),
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
