"""Variants beside each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.models.metrics import ERROR, SHARE, Metric
from pipeline.reports.figures.style import STYLES, in_unit

CROWDED = 10
"""Boxes whose names still have room beside each other."""


def box_plot(errors: Mapping[str, Sequence[float]], label: str, metric: Metric = ERROR) -> Figure:
    """A metric over rounds for each variant; every round is a point, the mean a diamond."""
    crowded = len(errors) > CROWDED
    figure = Figure(figsize=(max(4.5, (0.32 if crowded else 1.1) * len(errors) + 2), 4.4), layout="constrained")
    axis = figure.subplots()
    axis.boxplot(
        [metric.unit.scale * np.asarray(values) for values in errors.values()],
        tick_labels=list(errors),
        showmeans=True,
        medianprops={"color": "black"},
        meanprops={"marker": "D", "markerfacecolor": "white", "markeredgecolor": "black", "markersize": 5},
        showfliers=False,
    )
    for position, values in enumerate(errors.values(), start=1):
        spread = np.linspace(-0.14, 0.14, len(values)) if len(values) > 1 else np.zeros(1)
        shown = metric.unit.scale * np.asarray(values)
        axis.plot(position + spread, shown, "o", color=STYLES[0][0], alpha=0.45, markersize=3)
    axis.set(ylabel=in_unit(label, metric))
    axis.tick_params(axis="x", rotation=90 if crowded else 25)
    axis.grid(axis="y", alpha=0.3)
    return figure


@dataclass(frozen=True)
class Interval:
    """A difference between the test metrics of two variants: its mean over rounds and its interval."""

    label: str
    group: str
    mean: float
    low: float
    high: float
    significant: bool


def forest_plot(contrasts: Sequence[Interval], metric: Metric = ERROR) -> Figure:
    """One line for each contrast, those of a group together; filled where significant, hollow where not."""
    groups = list(dict.fromkeys(contrast.group for contrast in contrasts))
    rows = [contrast for group in groups for contrast in contrasts if contrast.group == group]
    figure = Figure(figsize=(7.5, 0.24 * len(rows) + 1.4), layout="constrained")
    axis, scale = figure.subplots(), metric.unit.scale
    _shade(axis, [contrast.group for contrast in rows])
    axis.axvline(0, color="black", linewidth=1, linestyle="--")
    for significant, name in ((True, "significant"), (False, "not significant")):
        shown = [(row, contrast) for row, contrast in enumerate(rows) if contrast.significant == significant]
        places = [row for row, _ in shown]
        axis.hlines(places, [scale * c.low for _, c in shown], [scale * c.high for _, c in shown], color="black")
        means = [scale * contrast.mean for _, contrast in shown]
        fill = "black" if significant else "white"
        axis.plot(means, places, "o", color="black", markerfacecolor=fill, markersize=5, label=name)
    unit = " (percentage points)" if metric.unit == SHARE else in_unit("", metric)
    axis.set(xlabel=f"difference in test {metric.title}{unit}; negative: the first has less")
    axis.set_yticks(range(len(rows)), [contrast.label for contrast in rows], fontsize=8)
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside lower center", ncols=2, fontsize=8)
    return figure


def _shade(axis: Axes, groups: Sequence[str]) -> None:
    """The name of each group beside its rows; every second group on light grey."""
    for number, group in enumerate(dict.fromkeys(groups)):
        first, count = groups.index(group), groups.count(group)
        if number % 2:
            axis.axhspan(first - 0.5, first + count - 0.5, color="0.93", zorder=0)
        middle = first + (count - 1) / 2
        axis.text(1.01, middle, group, transform=axis.get_yaxis_transform(), va="center", fontsize=8)
