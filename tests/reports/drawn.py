"""What a figure shows, and whether it can be saved."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

NAN = float("nan")
Drawings = dict[str, tuple[Callable[[], Figure], list[tuple[str, str]]]]
"""How to make each figure, and the labels (x, y) of its axes."""


def save(figure: Figure) -> None:
    """As a PNG and as an SVG."""
    for form, start in (("png", b"\x89PNG"), ("svg", b"<?xml")):
        picture = io.BytesIO()
        figure.savefig(picture, format=form, dpi=50)
        assert picture.getvalue().startswith(start)


def curves(*lengths: int) -> list[list[float]]:
    return [[1 / epoch + 0.1 * index for epoch in range(1, length + 1)] for index, length in enumerate(lengths)]


def labels(figure: Figure) -> list[tuple[str, str]]:
    return [(axis.get_xlabel(), axis.get_ylabel()) for axis in figure.axes if axis.axison]


def heights(figure: Figure, axis: int, line: int) -> Sequence[float]:
    return [float(height) for height in np.asarray(figure.axes[axis].lines[line].get_ydata())]


def legend(figure: Figure) -> list[str]:
    return [
        text.get_text() for shown in [*figure.legends, figure.axes[0].get_legend()] if shown for text in shown.texts
    ]


def marked(figure: Figure, name: str) -> NDArray[np.float64]:
    """The points (N, 2) of the series of that name."""
    (line,) = (found for found in figure.axes[0].lines if found.get_label() == name)
    return np.asarray(line.get_xydata())


def colours(figure: Figure) -> NDArray[np.float64]:
    """Of the cells of the first image, (V, W, 4)."""
    image = figure.axes[0].images[0]
    values = image.get_array()
    assert values is not None
    return np.asarray(image.cmap(image.norm(values)))
