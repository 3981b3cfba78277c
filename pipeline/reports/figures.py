"""Pictures of results, readable in grey and labelled with units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from pipeline.data.digits import CLASSES
from pipeline.data.pairs import Samples

Curves = Sequence[Sequence[float]]
"""One curve for each fold or round; a value an epoch. Curves may differ in length."""
STYLES = (("#1b6ca8", "-"), ("#d1495b", "--"), ("#2e8b57", "-."), ("#6b4c9a", ":"))
"""Colour and line of each series; the lines tell them apart in grey."""


def sample_pairs(samples: Samples, columns: int = 8, rows: int = 3) -> Figure:
    """The first pairs of a round with their digits and targets."""
    figure = Figure(figsize=(1.5 * columns, 1.25 * rows + 0.4), layout="constrained")
    axes = list(figure.subplots(rows, columns).flat)
    for axis in axes:
        axis.axis("off")
    for axis, pair, digits, target in zip(axes, samples.x_NCHW, samples.digits_NC, samples.target_N, strict=False):
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
    left.set(xlabel="epoch", ylabel="loss (nats)")
    _bands(right, error, 100)
    right.set(xlabel="epoch", ylabel="error (%)", ylim=(0, None))
    figure.suptitle(title, fontsize=11)
    return figure


def _bands(axis: Axes, series: Mapping[str, Curves], scale: float) -> None:
    for (name, curves), (colour, line) in zip(series.items(), STYLES * len(series), strict=False):
        longest = max(len(curve) for curve in curves)
        padded = np.array([[*curve, *[np.nan] * (longest - len(curve))] for curve in curves]) * scale
        epochs = np.arange(1, longest + 1)
        mean, std = np.nanmean(padded, axis=0), np.nanstd(padded, axis=0)
        axis.plot(epochs, mean, line, color=colour, label=name, linewidth=1.6)
        axis.fill_between(epochs, mean - std, mean + std, color=colour, alpha=0.15, linewidth=0)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)


def loss_by_family(families: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    """Mean training loss by epoch, one panel a family, one line a variant (report 000, figures 1 and 2)."""
    figure = Figure(figsize=(5.2 * len(families), 4), layout="constrained")
    panels = figure.subplots(1, len(families), squeeze=False)[0]
    for axis, (family, variants) in zip(panels, families.items(), strict=True):
        _bands(axis, {name: [curve] for name, curve in variants.items()}, 1)
        axis.set(xlabel="epoch", ylabel="mean training loss (nats)", title=family)
    return figure


def box_plot(errors: Mapping[str, Sequence[float]], label: str) -> Figure:
    """An error over rounds for each variant; every round is a point, the mean a diamond."""
    figure = Figure(figsize=(max(4.5, 1.1 * len(errors) + 2), 4.4), layout="constrained")
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
    axis.tick_params(axis="x", rotation=25)
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
    for first, second in np.argwhere(seen_KK > 0):
        value = share[first, second]
        axis.text(
            second, first, f"{value:.0f}", ha="center", va="center", color="white" if value > limit / 2 else "black"
        )
    axis.set(xticks=range(CLASSES), yticks=range(CLASSES), xlabel="second digit", ylabel="first digit")
    axis.set_title("Wrong comparisons by pair of digits (%)", fontsize=11)
    figure.colorbar(image, label="test error (%)")
    return figure


def search_history(errors: Mapping[int, float], pruned: Mapping[int, float], baseline: float | None) -> Figure:
    """Validation error of every trial, the best so far, and the error of the preset (trial 0)."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    axis = figure.subplots()
    numbers = sorted(errors)
    axis.plot(numbers, [100 * errors[number] for number in numbers], "o", color=STYLES[0][0], label="complete trial")
    best = np.minimum.accumulate([100 * errors[number] for number in numbers])
    axis.step(numbers, best, where="post", color=STYLES[1][0], label="best so far")
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
