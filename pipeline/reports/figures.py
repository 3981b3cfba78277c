"""Pictures of results, readable in grey and labelled with units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from pipeline.data.digits import CLASSES
from pipeline.data.pools import Samples

Curves = Sequence[Sequence[float]]
"""One curve for each fold or round; a value an epoch. Curves may differ in length."""
PANELS, CROWDED = 3, 10
"""Panels beside each other, and boxes whose names still have room beside each other."""
STYLES = (("#1b6ca8", "-"), ("#d1495b", "--"), ("#2e8b57", "-."), ("#6b4c9a", ":"))
"""Colour and line of each series; the lines tell them apart in grey."""


def sample_pairs(samples: Samples, columns: int = 8, rows: int = 3) -> Figure:
    """The first pairs of a round with their digits and targets."""
    figure = Figure(figsize=(1.5 * columns, 1.25 * rows + 0.4), layout="constrained")
    axes = list(figure.subplots(rows, columns).flat)
    for axis in axes:
        axis.axis("off")
    for axis, pair, digits, target in zip(axes, samples.x, samples.digits_NC, samples.target_N, strict=False):
        gap = np.full((pair.shape[1], 2), 128, dtype=pair.dtype)
        axis.imshow(np.hstack([pair[0], gap, pair[1]]), cmap="gray", vmin=0, vmax=255)
        axis.set_title(f"{digits[0]} {'≤' if target else '>'} {digits[1]}", fontsize=9)
    figure.suptitle("Pairs of 14x14 digits: is the first lesser than or equal to the second?", fontsize=11)
    return figure


def learning_curves(loss: Mapping[str, Curves], error: Mapping[str, Curves], title: str) -> Figure:
    """Loss and error by epoch: the mean of each series and a band of one standard deviation."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    _bands(left, loss, 1)
    left.set(ylabel="loss")
    _bands(right, error, 100)
    right.set(ylabel="error (%)", ylim=(0, None))
    figure.suptitle(title, fontsize=11)
    return figure


def _bands(axis: Axes, series: Mapping[str, Curves], scale: float) -> None:
    for (name, curves), style in zip(series.items(), STYLES * len(series), strict=False):
        longest = max(len(curve) for curve in curves)
        padded = np.ma.masked_invalid([[*curve, *[np.nan] * (longest - len(curve))] for curve in curves]) * scale
        mean_E = padded.mean(axis=0).filled(np.nan)
        _curve(axis, mean_E, style, name)
        _band(axis, mean_E, padded.std(axis=0).filled(np.nan), style)
    _epochs(axis)


def _curve(axis: Axes, value_E: ArrayLike, style: tuple[str, str], name: str) -> None:
    height_E = np.asarray(value_E, dtype=float)
    colour, line = style
    marker = "o" if len(height_E) == 1 else ""  # a line through one point cannot be seen
    axis.plot(np.arange(1, len(height_E) + 1), height_E, line, marker=marker, color=colour, label=name, linewidth=1.6)


def _band(axis: Axes, mean_E: NDArray[np.float64], std_E: NDArray[np.float64], style: tuple[str, str]) -> None:
    epochs = np.arange(1, len(mean_E) + 1)
    axis.fill_between(epochs, mean_E - std_E, mean_E + std_E, color=style[0], alpha=0.15, linewidth=0)


def _epochs(axis: Axes) -> None:
    axis.set_xlabel("epoch")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)


def loss_by_family(families: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    """Mean training loss by epoch, one panel a family, one line a variant (report 000, figures 1 and 2)."""
    columns = min(len(families), PANELS)
    rows = -(-len(families) // columns)
    figure = Figure(figsize=(5.2 * columns, 4 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for axis, (family, variants) in zip(panels, families.items(), strict=False):
        _bands(axis, {name: [curve] for name, curve in variants.items()}, 1)
        axis.set(ylabel="mean training loss", title=family)
    for axis in panels:  # those that are left
        axis.axis("off")
    return figure


def loss_curve(training: Sequence[float], validation: Sequence[float], title: str) -> Figure:
    """Loss of one training by epoch, to see whether it has converged (report 003, figure 2c)."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axis = figure.subplots()
    _curve(axis, training, STYLES[0], "training")
    _curve(axis, validation, STYLES[1], "validation")
    _epochs(axis)
    axis.set(ylabel="loss")
    axis.set_title(title, fontsize=11)
    return figure


def error_by_epoch(
    mean_train_E: ArrayLike, mean_test_E: ArrayLike, std_test_E: ArrayLike, min_test_E: ArrayLike, title: str
) -> Figure:
    """Train and test error over runs by epoch, and the least test error of any run (report 004)."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axis = figure.subplots()
    train_E, test_E, std_E, min_E = (
        100 * np.asarray(share_E, dtype=float) for share_E in (mean_train_E, mean_test_E, std_test_E, min_test_E)
    )
    _curve(axis, train_E, STYLES[0], "training, mean")
    _curve(axis, test_E, STYLES[1], "test, mean and one standard deviation")
    _band(axis, test_E, std_E, STYLES[1])
    _curve(axis, min_E, STYLES[3], "test, least of the runs")
    _epochs(axis)
    axis.set(ylabel="error (%)", ylim=(0, None))
    axis.set_title(title, fontsize=11)
    return figure


def box_plot(errors: Mapping[str, Sequence[float]], label: str) -> Figure:
    """An error over rounds for each variant; every round is a point, the mean a diamond."""
    crowded = len(errors) > CROWDED
    figure = Figure(figsize=(max(4.5, (0.6 if crowded else 1.1) * len(errors) + 2), 4.4), layout="constrained")
    axis = figure.subplots()
    axis.boxplot(
        [100 * np.asarray(values) for values in errors.values()],
        tick_labels=list(errors),
        showmeans=True,
        medianprops={"color": "black"},
        meanprops={"marker": "D", "markerfacecolor": "white", "markeredgecolor": "black", "markersize": 5},
        showfliers=False,
    )
    for position, values in enumerate(errors.values(), start=1):
        spread = np.linspace(-0.14, 0.14, len(values)) if len(values) > 1 else np.zeros(1)
        axis.plot(position + spread, 100 * np.asarray(values), "o", color=STYLES[0][0], alpha=0.45, markersize=3)
    axis.set(ylabel=f"{label} (%)")
    axis.tick_params(axis="x", rotation=90 if crowded else 25)
    axis.grid(axis="y", alpha=0.3)
    return figure


def digit_confusion(wrong_KK: NDArray[np.int64], seen_KK: NDArray[np.int64]) -> Figure:
    """Share of wrong comparisons for each pair of digits; cells without a pair stay white."""
    figure = Figure(figsize=(6, 5.2), layout="constrained")
    axis = figure.subplots()
    share = np.full(wrong_KK.shape, np.nan)
    np.divide(100 * wrong_KK, seen_KK, out=share, where=seen_KK > 0)
    image = axis.imshow(share, cmap="Greys", vmin=0)
    limit = np.nanmax(share) if np.isfinite(share).any() else 1
    _numbers(axis, share, limit / 2, digits=0)
    axis.set(xticks=range(CLASSES), yticks=range(CLASSES), xlabel="second digit", ylabel="first digit")
    axis.set_title("Wrong comparisons by pair of digits (%)", fontsize=11)
    figure.colorbar(image, label="test error (%)")
    return figure


def _numbers(axis: Axes, value_VW: NDArray[np.float64], middle: float, digits: int) -> None:
    """Each finite value in its cell, white where the cell is darker than that of the middle value."""
    for row, column in np.argwhere(np.isfinite(value_VW)):
        value = value_VW[row, column]
        colour = "white" if value > middle else "black"
        axis.text(column, row, f"{value:.{digits}f}", ha="center", va="center", color=colour)


def grid_heat_map(
    error_VW: NDArray[np.float64],
    rows: Sequence[str],
    columns: Sequence[str],
    row_label: str,
    column_label: str,
    chosen: tuple[int, int] | None,
) -> Figure:
    """Mean validation error over a grid of two hyperparameters, the chosen cell framed (report 003, figure 2a)."""
    figure = Figure(figsize=(max(4.5, 0.8 * len(columns) + 2.2), max(3.2, 0.6 * len(rows) + 1.2)), layout="constrained")
    axis = figure.subplots()
    percent_VW = 100 * np.asarray(error_VW, dtype=float)
    known = percent_VW[np.isfinite(percent_VW)]
    least, most = (known.min(), known.max()) if known.size else (0.0, 1.0)
    lowest = max(least - max((most - least) / 4, 1.0), 0.0)  # white is left to cells without a value
    highest = max(most, lowest + 1.0)
    image = axis.imshow(percent_VW, cmap="Greys", vmin=lowest, vmax=highest, aspect="auto")
    _numbers(axis, percent_VW, 0.4 * lowest + 0.6 * highest, digits=1)
    for row, column in np.argwhere(~np.isfinite(percent_VW)):
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
    figure.colorbar(image, label="validation error (%)")
    return figure


def error_against(
    values: Sequence[float], mean: Sequence[float], std: Sequence[float], label: str, chosen: float | None
) -> Figure:
    """Mean validation error against one hyperparameter, bars of one standard deviation (report 003, figure 2b)."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axis = figure.subplots()
    order = np.argsort(values)
    value_V, mean_V, std_V = (np.asarray(given, dtype=float)[order] for given in (values, mean, std))
    axis.errorbar(
        value_V,
        100 * mean_V,
        yerr=100 * std_V,
        fmt="o-",
        color=STYLES[0][0],
        linewidth=1.6,
        markersize=5,
        capsize=3,
        label="mean and one standard deviation",
    )
    if chosen is not None:
        axis.axvline(chosen, color="black", linestyle=":", label=f"chosen: {chosen:g}")
    axis.set(xlabel=label, ylabel="validation error (%)")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    return figure


def search_history(
    errors: Mapping[int, float],
    pruned: Mapping[int, float],
    baseline: float | None,
    screened: Mapping[int, float] | None = None,
    rechecked: Mapping[int, float] | None = None,
) -> Figure:
    """Validation error of every trial, the best so far, and the error of the preset.

    `screened` are trials on fewer samples, whose errors are not to be compared with the others; `rechecked` are errors
    of the best on fresh folds.
    """
    figure = Figure(figsize=(8, 4), layout="constrained")
    axis = figure.subplots()
    numbers = sorted(errors)
    axis.plot(numbers, [100 * errors[number] for number in numbers], "o", color=STYLES[0][0], label="complete trial")
    best = np.minimum.accumulate([100 * errors[number] for number in numbers])
    axis.step(numbers, best, where="post", color=STYLES[1][0], label="best so far")
    if screened:
        values = [100 * error for error in screened.values()]
        axis.plot(list(screened), values, "o", color=STYLES[0][0], markerfacecolor="white", label="on fewer samples")
    if rechecked:
        values = [100 * error for error in rechecked.values()]
        axis.plot(list(rechecked), values, "D", color=STYLES[2][0], markersize=5, label="tried again on fresh folds")
    if pruned:
        axis.plot(
            list(pruned),
            [100 * error for error in pruned.values()],
            "x",
            color="grey",
            label="pruned (last error seen)",
        )
    if baseline is not None:
        axis.axhline(100 * baseline, color="black", linestyle=":", label="the report's configuration")
    axis.set(xlabel="trial", ylabel="mean validation error over folds (%)")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    return figure


def pareto_front(every: Sequence[tuple[float, float]], front: Sequence[tuple[float, float]], cost: str) -> Figure:
    """Error against cost of every trial, each as (cost, error), and a line through the front."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axis = figure.subplots()
    axis.plot([x for x, _ in every], [100 * y for _, y in every], "o", color="grey", label="complete trial")
    steps = [100 * y for _, y in front]
    axis.step([x for x, _ in front], steps, "o-", where="post", color=STYLES[1][0], label="none is better in both")
    axis.set(xlabel=cost, ylabel="mean validation error over folds (%)")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    return figure


def sample_points(
    points_ND: NDArray[np.float64], inside_N: NDArray[np.bool_], centre: tuple[float, float], radius: float
) -> Figure:
    """Points (N, 2) of the unit square, those inside of the disc filled and those outside hollow."""
    figure, axis = _unit_square(centre, radius)
    inside_N = np.asarray(inside_N, dtype=bool)
    axis.plot(*points_ND[inside_N].T, "o", color=STYLES[0][0], markersize=4, label="inside")
    axis.plot(*points_ND[~inside_N].T, "o", color=STYLES[1][0], markersize=4, fillstyle="none", label="outside")
    figure.legend(loc="outside lower center", ncols=3, fontsize=8)
    return figure


def point_errors(
    points_ND: NDArray[np.float64], wrong_N: NDArray[np.bool_], centre: tuple[float, float], radius: float
) -> Figure:
    """Points (N, 2) of the unit square; those that a model puts on the wrong side of the circle are crossed."""
    figure, axis = _unit_square(centre, radius)
    wrong_N = np.asarray(wrong_N, dtype=bool)
    axis.plot(*points_ND[~wrong_N].T, "o", color="grey", alpha=0.3, markersize=3, label="right")
    axis.plot(*points_ND[wrong_N].T, "x", color=STYLES[1][0], markersize=7, markeredgewidth=2, label="wrong")
    axis.set_title(f"{wrong_N.sum()} of {len(wrong_N)} points classified wrongly", fontsize=11)
    figure.legend(loc="outside lower center", ncols=3, fontsize=8)
    return figure


def _unit_square(centre: tuple[float, float], radius: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(5, 5.2), layout="constrained")
    axis = figure.subplots()
    turn = np.linspace(0, 2 * np.pi, 361)
    edge = centre[0] + radius * np.cos(turn), centre[1] + radius * np.sin(turn)
    axis.plot(*edge, color="black", linewidth=1.2, label="edge of the disc")
    axis.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xlabel="first coordinate", ylabel="second coordinate")
    return figure, axis
