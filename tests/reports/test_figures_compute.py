from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from matplotlib.transforms import Bbox

from pipeline.base.seeds import numpy_generator
from pipeline.reports.figures import error_against_compute
from tests.reports.drawn import NAN, Drawings, labels, legend, marked, save

Points = Mapping[str, Sequence[float]]
LABELS = [("training time of one round (s)", "test error, mean and interval (%)")]
FRONT = "none is better in both"


def cluster(count: int) -> Points:
    """Variants of much the same time and error, in pairs."""
    draws = numpy_generator(0, "cluster").normal(0, 0.05, (count, 2))
    centres = [(3 * 1.5 ** (n // 2), 0.03 + 0.002 * (n // 2)) for n in range(count)]
    return {
        f"simplecnn_{n}_ws_al": (seconds * (1 + across), error * (1 + up), error - 0.004, error + 0.004)
        for n, ((seconds, error), (across, up)) in enumerate(zip(centres, draws, strict=True))
    }


FIGURES: Drawings = {
    "two": (lambda: error_against_compute(cluster(2)), LABELS),
    "named": (lambda: error_against_compute(cluster(12)), LABELS),
    "numbered": (lambda: error_against_compute(cluster(13)), LABELS),
    "many": (lambda: error_against_compute(cluster(38)), LABELS),
    "the same": (lambda: error_against_compute({"a": (1, 0, 0, 0), "b": (1, 0, 0, 0)}), LABELS),
    "without intervals": (lambda: error_against_compute({"a": (1, 0.1, NAN, NAN), "b": (2, 0.2, NAN, NAN)}), LABELS),
}


@pytest.mark.parametrize("name", FIGURES)
def test_costs_can_be_drawn_and_name_their_units(name: str) -> None:
    make, expected = FIGURES[name]
    figure = make()
    save(figure)
    assert labels(figure) == expected


def test_the_front_is_of_those_that_no_other_beats_in_both() -> None:
    points = {"slow": (9, 0.1, 0.1, 0.1), "fast": (1, 0.3, 0.3, 0.3), "beaten": (9, 0.2, 0.2, 0.2)}
    figure = error_against_compute({**points, "as slow": (8, 0.3, 0.3, 0.3)})
    assert marked(figure, FRONT) == pytest.approx(np.array([[1, 30], [9, 10]]))
    assert figure.axes[0].get_xscale() == "log"
    assert legend(figure) == [FRONT]


@given(st.lists(st.tuples(st.sampled_from([1.0, 2.0, 3.0]), st.sampled_from([0.1, 0.2, 0.3])), min_size=1, max_size=6))
@settings(max_examples=15, deadline=None)
def test_every_variant_is_on_the_front_or_beaten_by_one_that_is(costs: list[tuple[float, float]]) -> None:
    figure = error_against_compute({str(n): (*cost, cost[1], cost[1]) for n, cost in enumerate(costs)})
    front = {(float(seconds), round(float(percent) / 100, 3)) for seconds, percent in marked(figure, FRONT)}
    assert front <= set(costs)
    for cost in set(costs):
        beats = [best for best in front if best != cost and best[0] <= cost[0] and best[1] <= cost[1]]
        assert bool(beats) == (cost not in front)


def names(figure: Figure) -> list[Annotation]:
    return [text for text in figure.axes[0].texts if isinstance(text, Annotation)]


def boxes_of_names(figure: Figure) -> list[Bbox]:
    """Where the names are, in pixels and less their edges."""
    figure.savefig(io.BytesIO(), dpi="figure")  # names are placed when they are drawn
    return [Text.get_window_extent(name).padded(-1) for name in names(figure)]


@pytest.mark.parametrize("count", [2, 8, 12, 38])
def test_names_cover_neither_one_another_nor_the_points(count: int) -> None:
    figure = error_against_compute(cluster(count))
    boxes = boxes_of_names(figure)
    assert len(boxes) == count
    assert not [pair for pair in combinations(boxes, 2) if pair[0].overlaps(pair[1])]
    places = figure.axes[0].transData.transform([name.xy for name in names(figure)])
    assert not [place for place in places for box in boxes if box.contains(*place)]


def test_long_names_stay_within_the_picture() -> None:
    figure = error_against_compute({letter * 50: (seconds, 0.1, 0.1, 0.1) for letter, seconds in (("a", 1), ("b", 99))})
    frame = figure.axes[0].bbox
    for box in boxes_of_names(figure):
        assert frame.x0 < box.x0 < box.x1 < frame.x1
        assert frame.y0 < box.y0 < box.y1 < frame.y1


def test_many_variants_are_numbered_by_their_error() -> None:
    points = cluster(13)
    figure = error_against_compute(points)
    listed = dict(entry.split("  ") for entry in legend(figure) if entry != FRONT)
    assert list(listed.values()) == sorted(points, key=lambda name: points[name][1])
    for text in names(figure):
        seconds, error, *_ = points[listed[text.get_text()]]
        assert text.xy == pytest.approx((seconds, 100 * error))
