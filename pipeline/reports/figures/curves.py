"""Loss and error by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from pipeline.models.metrics import ERROR, Metric
from pipeline.reports.figures.style import STYLES, band, by_epoch, curve, in_unit, panels

Curves = Sequence[Sequence[float]]
"""One curve for each fold or round; a value an epoch. Curves may differ in length."""


def learning_curves(
    loss: Mapping[str, Curves], error: Mapping[str, Curves], title: str, metric: Metric = ERROR
) -> Figure:
    """Loss and metric by epoch: the mean of each series and a band of one standard deviation."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    _means(left, loss, 1)
    left.set(ylabel="loss")
    _means(right, error, metric.unit.scale)
    right.set(ylabel=in_unit(metric.title, metric), ylim=(0, None))
    figure.suptitle(title, fontsize=11)
    return figure


def _means(axis: Axes, series: Mapping[str, Curves], scale: float) -> None:
    for (name, curves), style in zip(series.items(), STYLES * len(series), strict=False):
        longest = max(len(values) for values in curves)
        padded = np.ma.masked_invalid([[*values, *[np.nan] * (longest - len(values))] for values in curves]) * scale
        mean_E = padded.mean(axis=0).filled(np.nan)
        curve(axis, mean_E, style, name)
        band(axis, mean_E, padded.std(axis=0).filled(np.nan), style)
    by_epoch(axis)


def loss_by_family(families: Mapping[str, Mapping[str, tuple[Sequence[float], Sequence[float]]]]) -> Figure:
    """Training loss by epoch, one panel a family, one line a variant (report 000, figures 1 and 2).

    Each variant has the mean and the standard deviation over rounds; without the latter, it has no band.
    """
    figure, axes = panels(len(families), columns=3, width=5.2, height=4)
    for axis, (family, variants) in zip(axes, families.items(), strict=True):
        for (name, (mean, std)), style in zip(variants.items(), STYLES * len(variants), strict=False):
            curve(axis, mean, style, name)
            if len(std):
                band(axis, np.asarray(mean, dtype=float), np.asarray(std, dtype=float), style)
        by_epoch(axis)
        axis.set(ylabel="mean training loss", title=family)
    return figure


def loss_curve(training: Sequence[float], validation: Sequence[float], title: str) -> Figure:
    """Loss of one training by epoch, to see whether it has converged (report 003, figure 2c)."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axis = figure.subplots()
    curve(axis, training, STYLES[0], "training")
    curve(axis, validation, STYLES[1], "validation")
    by_epoch(axis)
    axis.set(ylabel="loss")
    axis.set_title(title, fontsize=11)
    return figure


def error_by_epoch(
    mean_train_E: ArrayLike,
    mean_test_E: ArrayLike,
    std_test_E: ArrayLike,
    min_test_E: ArrayLike,
    title: str,
    metric: Metric = ERROR,
) -> Figure:
    """Train and test metric over runs by epoch, and the least test value of any run (report 004)."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axis = figure.subplots()
    train_E, test_E, std_E, min_E = (
        metric.unit.scale * np.asarray(value_E, dtype=float)
        for value_E in (mean_train_E, mean_test_E, std_test_E, min_test_E)
    )
    curve(axis, train_E, STYLES[0], "training, mean")
    curve(axis, test_E, STYLES[1], "test, mean and one standard deviation")
    band(axis, test_E, std_E, STYLES[1])
    curve(axis, min_E, STYLES[3], "test, least of the runs")
    by_epoch(axis)
    axis.set(ylabel=in_unit(metric.title, metric), ylim=(0, None))
    axis.set_title(title, fontsize=11)
    return figure
