"""What pictures share: styles of series that differ in grey too, curves by epoch, panels, numbers in cells."""

from __future__ import annotations

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from matplotlib.typing import LineStyleType
from numpy.typing import ArrayLike, NDArray

from pipeline.models.metrics import Metric

Style = tuple[str, LineStyleType]
"""Colour and line of a series."""
STYLES: tuple[Style, ...] = (
    ("#1b6ca8", "-"),
    ("#d1495b", "--"),
    ("#2e8b57", "-."),
    ("#6b4c9a", ":"),
    ("#8a6d00", (0, (6, 1, 1, 1, 1, 1))),
    ("#444444", (0, (1, 3))),
)
"""One for each series; the lines tell them apart in grey."""
GREYS = ListedColormap(colormaps["Greys"](np.linspace(0.12, 1, 256)), name="GreysWithoutWhite")
"""White is left to cells without a value."""


def in_unit(text: str, metric: Metric) -> str:
    """What an axis shows, with the unit of its numbers."""
    return f"{text} ({metric.unit.symbol})" if metric.unit.symbol else text


def curve(axis: Axes, value_E: ArrayLike, style: Style, name: str) -> None:
    """A line through one value an epoch."""
    height_E = np.asarray(value_E, dtype=float)
    colour, line = style
    marker = "o" if len(height_E) == 1 else ""  # a line through one point cannot be seen
    epochs = np.arange(1, len(height_E) + 1)
    axis.plot(epochs, height_E, linestyle=line, marker=marker, color=colour, label=name, linewidth=1.6)


def band(axis: Axes, mean_E: NDArray[np.float64], std_E: NDArray[np.float64], style: Style) -> None:
    """One standard deviation on either side of the mean."""
    epochs = np.arange(1, len(mean_E) + 1)
    axis.fill_between(epochs, mean_E - std_E, mean_E + std_E, color=style[0], alpha=0.15, linewidth=0)


def by_epoch(axis: Axes) -> None:
    """Whole epochs along the x axis, and a legend of the curves."""
    axis.set_xlabel("epoch")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)


def panels(count: int, columns: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """So many panels of that size (inches), row by row; what is left of the last row stays empty."""
    columns = min(count, columns)
    rows = -(-count // columns)
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis in axes[count:]:
        axis.axis("off")
    return figure, axes[:count]


def numbers(axis: Axes, value_VW: NDArray[np.float64], middle: float, decimals: int) -> None:
    """Each finite value in its cell, white where the cell is darker than that of the middle value."""
    for row, column in np.argwhere(np.isfinite(value_VW)):
        value = value_VW[row, column]
        colour = "white" if value > middle else "black"
        axis.text(column, row, f"{value:.{decimals}f}", ha="center", va="center", color=colour)
