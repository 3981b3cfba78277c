from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pipeline.base.seeds import numpy_generator
from pipeline.data.dataset import Samples
from pipeline.tasks.digit_pairs.pictures import digit_confusion, digit_pair_errors, sample_pairs
from tests.reports.drawn import NAN, Drawings, colours, labels, save


def samples(count: int) -> Samples:
    digits_NC = np.arange(2 * count).reshape(count, 2) * 7 % 10
    return {
        "x": numpy_generator(0, "pictures").uniform(0, 255, (count, 2, 14, 14)).astype(np.float32),
        "target": (digits_NC[:, 0] <= digits_NC[:, 1]).astype(np.int64),
        "digits": digits_NC,
    }


def confusion(seen: int, wrong: int, *, pairs: int = 100) -> Figure:
    """`wrong` of `seen` for the first so many pairs of digits, and no other pair."""
    shown = np.arange(100).reshape(10, 10) < pairs
    seen_KK: NDArray[np.int64] = np.where(shown, seen, 0)
    return digit_confusion(np.minimum(seen_KK, wrong), seen_KK)


def pair_errors(count: int) -> Figure:
    """A panel for each of so many variants; the first pair is never seen."""
    share_KK = np.arange(100).reshape(10, 10) / 1000
    share_KK[0, 0] = NAN
    return digit_pair_errors({f"variant_{number}": share_KK / (1 + number) for number in range(count)})


PANEL, BAR = ("", ""), ("", "test error (%)")
FIGURES: Drawings = {
    "pair errors": (lambda: pair_errors(2), [PANEL, PANEL, BAR]),
    "pair errors of many": (lambda: pair_errors(38), [*[PANEL] * 38, BAR]),
    "pair errors never seen": (lambda: digit_pair_errors({"mlp": np.full((10, 10), NAN)}), [PANEL, BAR]),
    "pair errors never wrong": (lambda: digit_pair_errors({"mlp": np.zeros((10, 10))}), [PANEL, BAR]),
    "pairs": (lambda: sample_pairs(samples(24)), []),
    "more pairs than fit": (lambda: sample_pairs(samples(9), columns=4, rows=2), []),
    "one pair": (lambda: sample_pairs(samples(1)), []),
    "digits": (lambda: confusion(9, 3), [("second digit", "first digit"), ("", "test error (%)")]),
    "digits never seen": (lambda: confusion(9, 3, pairs=7), [("second digit", "first digit"), ("", "test error (%)")]),
    "digits never wrong": (lambda: confusion(9, 0), [("second digit", "first digit"), ("", "test error (%)")]),
    "no digits": (lambda: confusion(0, 0), [("second digit", "first digit"), ("", "test error (%)")]),
}


@pytest.mark.parametrize("name", FIGURES)
def test_pictures_of_samples_can_be_drawn_and_name_their_units(name: str) -> None:
    make, expected = FIGURES[name]
    figure = make()
    save(figure)
    assert labels(figure) == expected


def test_the_confusion_shows_the_share_of_the_pairs_that_were_seen() -> None:
    figure = confusion(8, 2, pairs=3)
    assert [text.get_text() for text in figure.axes[0].texts] == ["25"] * 3


def test_pairs_bear_their_digits_and_the_right_sign() -> None:
    shown = samples(8)
    titles = [axis.get_title() for axis in sample_pairs(shown).axes if axis.get_title()]
    assert len(titles) == 8
    for title, (first, second) in zip(titles, shown["digits"], strict=True):
        assert title == f"{first} {'≤' if first <= second else '>'} {second}"


def test_pair_errors_share_one_scale_in_percent_and_leave_pairs_never_seen_white() -> None:
    figure = pair_errors(3)
    images = [axis.images[0] for axis in figure.axes[:3]]
    assert [image.get_clim() for image in images] == [pytest.approx((0, 9.9))] * 3
    for number, image in enumerate(images):
        value_KK = image.get_array()
        assert value_KK is not None
        assert value_KK[9, 9] == pytest.approx(9.9 / (1 + number))
    colours_KKC = colours(figure)
    assert not colours_KKC[0, 0, 3]
    assert (colours_KKC.reshape(-1, 4)[1:, :3] < 0.98).all()


@pytest.mark.parametrize("count", [1, 3, 7, 38])
def test_pair_errors_have_ticks_at_the_edges_alone(count: int) -> None:
    panels = pair_errors(count).axes[:count]
    places = [axis.get_subplotspec() for axis in panels]
    cells = {(place.rowspan.start, place.colspan.start) for place in places if place}
    assert len(cells) == count
    for axis, (row, column) in zip(panels, sorted(cells), strict=True):
        assert axis.yaxis.get_tick_params()["labelleft"] == (column == 0)
        assert axis.xaxis.get_tick_params()["labelbottom"] == ((row + 1, column) not in cells)
