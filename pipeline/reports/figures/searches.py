"""What a search has tried, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from pipeline.models.metrics import ERROR, Metric
from pipeline.reports.figures.style import STYLES, in_unit, numbers


def grid_heat_map(
    error_VW: NDArray[np.float64],
    rows: Sequence[str],
    columns: Sequence[str],
    row_label: str,
    column_label: str,
    chosen: tuple[int, int] | None,
    metric: Metric = ERROR,
) -> Figure:
    """Mean validation metric over a grid of two hyperparameters, the chosen cell framed (report 003, figure 2a)."""
    figure = Figure(figsize=(max(4.5, 0.8 * len(columns) + 2.2), max(3.2, 0.6 * len(rows) + 1.2)), layout="constrained")
    axis = figure.subplots()
    shown_VW = metric.unit.scale * np.asarray(error_VW, dtype=float)
    known = shown_VW[np.isfinite(shown_VW)]
    least, most = (known.min(), known.max()) if known.size else (0.0, 1.0)
    lowest = max(least - max((most - least) / 4, 1.0), 0.0)  # white is left to cells without a value
    highest = max(most, lowest + 1.0)
    image = axis.imshow(shown_VW, cmap="Greys", vmin=lowest, vmax=highest, aspect="auto")
    numbers(axis, shown_VW, 0.4 * lowest + 0.6 * highest, decimals=1)
    for row, column in np.argwhere(~np.isfinite(shown_VW)):
        axis.text(column, row, "-", ha="center", va="center")
    if chosen is not None:
        corner = (chosen[1] - 0.5, chosen[0] - 0.5)
        for colour, width in (("black", 5), ("white", 2)):  # seen on light cells and on dark ones
            axis.add_patch(
                Rectangle(corner, 1, 1, fill=False, edgecolor=colour, linewidth=width, clip_on=False, zorder=3)
            )
    axis.set(xticks=range(len(columns)), yticks=range(len(rows)), xlabel=column_label, ylabel=row_label)
    axis.set_xticklabels(columns)
    axis.set_yticklabels(rows)
    figure.colorbar(image, label=in_unit(f"validation {metric.title}", metric))
    return figure


def error_against(
    values: Sequence[float],
    mean: Sequence[float],
    std: Sequence[float],
    label: str,
    chosen: float | None,
    metric: Metric = ERROR,
) -> Figure:
    """Mean validation metric against one hyperparameter, bars of one standard deviation (report 003, figure 2b)."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axis = figure.subplots()
    order = np.argsort(values)
    value_V, mean_V, std_V = (np.asarray(given, dtype=float)[order] for given in (values, mean, std))
    scale = metric.unit.scale
    axis.errorbar(
        value_V,
        scale * mean_V,
        yerr=scale * std_V,
        fmt="o-",
        color=STYLES[0][0],
        linewidth=1.6,
        markersize=5,
        capsize=3,
        label="mean and one standard deviation",
    )
    if chosen is not None:
        axis.axvline(chosen, color="black", linestyle=":", label=f"chosen: {chosen:g}")
    axis.set(xlabel=label, ylabel=in_unit(f"validation {metric.title}", metric))
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    return figure


def search_history(
    errors: Mapping[int, float],
    pruned: Mapping[int, float],
    baseline: float | None,
    screened: Mapping[int, float] | None = None,
    rechecked: Mapping[int, float] | None = None,
    metric: Metric = ERROR,
) -> Figure:
    """Validation metric of every trial, the best so far, and that of the preset.

    `screened` are trials on fewer samples, whose errors are not to be compared with the others; `rechecked` are errors
    of the best on fresh folds.
    """
    figure = Figure(figsize=(8, 4), layout="constrained")
    axis, scale = figure.subplots(), metric.unit.scale
    tried = sorted(errors)
    axis.plot(tried, [scale * errors[number] for number in tried], "o", color=STYLES[0][0], label="complete trial")
    best = np.minimum.accumulate([scale * errors[number] for number in tried])
    axis.step(tried, best, where="post", color=STYLES[1][0], label="best so far")
    if screened:
        values = [scale * error for error in screened.values()]
        axis.plot(list(screened), values, "o", color=STYLES[0][0], markerfacecolor="white", label="on fewer samples")
    if rechecked:
        values = [scale * error for error in rechecked.values()]
        axis.plot(list(rechecked), values, "D", color=STYLES[2][0], markersize=5, label="tried again on fresh folds")
    if pruned:
        axis.plot(
            list(pruned),
            [scale * error for error in pruned.values()],
            "x",
            color="grey",
            label="pruned (last error seen)",
        )
    if baseline is not None:
        axis.axhline(scale * baseline, color="black", linestyle=":", label="the preset")
    axis.set(xlabel="trial", ylabel=in_unit(f"mean validation {metric.title} over folds", metric))
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    return figure


def pareto_front(
    every: Sequence[tuple[float, float]], front: Sequence[tuple[float, float]], cost: str, metric: Metric = ERROR
) -> Figure:
    """Metric against cost of every trial, each as (cost, metric), and a line through the front."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axis, scale = figure.subplots(), metric.unit.scale
    axis.plot([x for x, _ in every], [scale * y for _, y in every], "o", color="grey", label="complete trial")
    steps = [scale * y for _, y in front]
    axis.step([x for x, _ in front], steps, "o-", where="post", color=STYLES[1][0], label="none is better in both")
    axis.set(xlabel=cost, ylabel=in_unit(f"mean validation {metric.title} over folds", metric))
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    return figure
