"""Pictures of pairs, and of where models err by the digits of a pair."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pipeline.data.dataset import Samples, Splits
from pipeline.models.variant import Variant
from pipeline.reports.figures.style import GREYS, numbers, panels
from pipeline.reports.tables import Table
from pipeline.tasks.api import Breakdown, Kept
from pipeline.tasks.digit_pairs.dataset import CLASSES
from pipeline.training.plan import Outcome, Replica

BY_DIGIT_PAIR = "confusion_by_digit_pair"


def errors(_variant: Variant, splits: Splits, replicas: Sequence[Replica], outcomes: Sequence[Outcome]) -> list[Kept]:
    """Wrong answers by first and second digit."""
    wrong_KK, seen_KK = count_digit_pairs(splits, replicas, outcomes)
    table = Table(
        ["first digit", "second digit", "pairs", "wrong"],
        [
            [first, second, int(seen_KK[first, second]), int(wrong_KK[first, second])]
            for first, second in np.ndindex(seen_KK.shape)
        ],
    )
    return [
        Kept(name=BY_DIGIT_PAIR, content=digit_confusion(wrong_KK, seen_KK)),
        Kept(name=BY_DIGIT_PAIR, content=table),
    ]


def count_digit_pairs(
    splits: Splits, replicas: Sequence[Replica], outcomes: Sequence[Outcome]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(10, 10) counts of wrong answers and of all test pairs by (first digit, second digit), over all rounds."""
    wrong = np.zeros((CLASSES, CLASSES), dtype=np.int64)
    seen = np.zeros_like(wrong)
    for replica, outcome in zip(replicas, outcomes, strict=True):
        samples = splits.test.gather(replica.held_out)
        where = tuple(samples["digits"].T)
        np.add.at(seen, where, 1)
        np.add.at(wrong, where, outcome.predictions["answer"] != samples["target"])
    return wrong, seen


def draw_breakdown(texts: Mapping[str, str]) -> Figure:
    """The error of each variant by pair of digits, from the tables that `errors` keeps."""
    return digit_pair_errors({model: digit_pair_shares(text) for model, text in texts.items()})


def digit_pair_shares(text: str) -> NDArray[np.float64]:
    """(10, 10) share of wrong answers by first and second digit, NaN where there was no pair."""
    share_KK = np.full((CLASSES, CLASSES), np.nan)
    for row in csv.DictReader(text.splitlines()):
        if pairs := int(row["pairs"]):
            share_KK[int(row["first digit"]), int(row["second digit"])] = int(row["wrong"]) / pairs
    return share_KK


BREAKDOWN = Breakdown(
    name=BY_DIGIT_PAIR,
    picture="error_by_digit_pair",
    title="Error by pair of digits",
    caption="Share of wrong answers over all rounds; the first digit is the row.",
    draw=draw_breakdown,
)


def sample_pairs(samples: Samples, columns: int = 8, rows: int = 3) -> Figure:
    """The first pairs of a round with their digits and targets."""
    height, width = samples["x"].shape[2:]
    figure = Figure(figsize=(1.5 * columns, 1.25 * rows + 0.4), layout="constrained")
    axes = list(figure.subplots(rows, columns).flat)
    for axis in axes:
        axis.axis("off")
    for axis, pair, digits, target in zip(axes, samples["x"], samples["digits"], samples["target"], strict=False):
        gap = np.full((pair.shape[1], 2), 128, dtype=pair.dtype)
        axis.imshow(np.hstack([pair[0], gap, pair[1]]), cmap="gray", vmin=0, vmax=255)
        axis.set_title(f"{digits[0]} {'≤' if target else '>'} {digits[1]}", fontsize=9)
    figure.suptitle(f"Pairs of {height}x{width} digits: is the first lesser than or equal to the second?", fontsize=11)
    return figure


def digit_confusion(wrong_KK: NDArray[np.int64], seen_KK: NDArray[np.int64]) -> Figure:
    """Share of wrong comparisons for each pair of digits; cells without a pair stay white."""
    figure = Figure(figsize=(6, 5.2), layout="constrained")
    axis = figure.subplots()
    share = np.full(wrong_KK.shape, np.nan)
    np.divide(100 * wrong_KK, seen_KK, out=share, where=seen_KK > 0)
    image = axis.imshow(share, cmap="Greys", vmin=0)
    limit = np.nanmax(share) if np.isfinite(share).any() else 1
    numbers(axis, share, limit / 2, decimals=0)
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
