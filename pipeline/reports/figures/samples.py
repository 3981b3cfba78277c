"""What the samples look like, and which of them are classified wrongly."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pipeline.data.digits import CLASSES
from pipeline.data.pools import Samples
from pipeline.reports.figures.style import GREYS, STYLES, numbers, panels


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


def digit_confusion(wrong_KK: NDArray[np.int64], seen_KK: NDArray[np.int64]) -> Figure:
    """Share of wrong comparisons for each pair of digits; cells without a pair stay white."""
    figure = Figure(figsize=(6, 5.2), layout="constrained")
    axis = figure.subplots()
    share = np.full(wrong_KK.shape, np.nan)
    np.divide(100 * wrong_KK, seen_KK, out=share, where=seen_KK > 0)
    image = axis.imshow(share, cmap="Greys", vmin=0)
    limit = np.nanmax(share) if np.isfinite(share).any() else 1
    numbers(axis, share, limit / 2, digits=0)
    axis.set(xticks=range(CLASSES), yticks=range(CLASSES), xlabel="second digit", ylabel="first digit")
    axis.set_title("Wrong comparisons by pair of digits (%)", fontsize=11)
    figure.colorbar(image, label="test error (%)")
    return figure


def digit_pair_errors(shares: Mapping[str, NDArray[np.float64]]) -> Figure:
    """Error of each variant by pair of digits (K, K), all in one scale of greys; cells without a pair stay white."""
    columns = int(np.ceil(np.sqrt(1.5 * len(shares))))
    figure, axes = panels(len(shares), columns, width=1.5, height=1.62)
    width, height = figure.get_size_inches()
    figure.set_size_inches(width + 1.2, height + 0.5)  # for the colour bar and the labels
    percents = {name: 100 * np.asarray(share_KK, dtype=float) for name, share_KK in shares.items()}
    most = max((percent[np.isfinite(percent)].max(initial=0) for percent in percents.values()), default=0) or 1
    for number, (axis, (name, percent_KK)) in enumerate(zip(axes, percents.items(), strict=True)):
        image = axis.imshow(percent_KK, cmap=GREYS, vmin=0, vmax=most)
        axis.set_title(name, fontsize=8)
        ticks = range(0, CLASSES, 3)
        axis.set(xticks=ticks, yticks=ticks)
        axis.tick_params(
            labelsize=7, labelbottom=number + columns >= len(shares), labelleft=number % columns == 0, length=2
        )
    figure.supxlabel("second digit", fontsize=9)
    figure.supylabel("first digit", fontsize=9)
    figure.colorbar(image, ax=axes, label="test error (%)", shrink=0.8, aspect=30)
    return figure
