"""Pictures of points, and of those that a model puts on the wrong side of the circle."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pipeline.data.dataset import Samples, Splits
from pipeline.models.variant import Variant
from pipeline.reports.figures.style import STYLES
from pipeline.tasks.api import Kept
from pipeline.tasks.disc.points import CENTRE, RADIUS
from pipeline.training.plan import Outcome, Replica


def sample_picture(samples: Samples) -> Figure:
    """All points of a round."""
    return sample_points(samples["x"].astype(np.float64), samples["target"].astype(bool))


def errors(_variant: Variant, splits: Splits, replicas: Sequence[Replica], outcomes: Sequence[Outcome]) -> list[Kept]:
    """The test points of all rounds, with those that are classified wrongly."""
    samples = [splits.test.gather(replica.held_out) for replica in replicas]
    wrong = [outcome.predictions["answer"] != part["target"] for outcome, part in zip(outcomes, samples, strict=True)]
    points_ND = np.concatenate([part["x"] for part in samples]).astype(np.float64)
    return [Kept(name="wrong_points", content=point_errors(points_ND, np.concatenate(wrong)))]


def sample_points(points_ND: NDArray[np.float64], inside_N: NDArray[np.bool_]) -> Figure:
    """Points (N, 2) of the unit square, those inside of the disc filled and those outside hollow."""
    figure, axis = _unit_square()
    inside_N = np.asarray(inside_N, dtype=bool)
    axis.plot(*points_ND[inside_N].T, "o", color=STYLES[0][0], markersize=4, label="inside")
    axis.plot(*points_ND[~inside_N].T, "o", color=STYLES[1][0], markersize=4, fillstyle="none", label="outside")
    figure.legend(loc="outside lower center", ncols=3, fontsize=8)
    return figure


def point_errors(points_ND: NDArray[np.float64], wrong_N: NDArray[np.bool_]) -> Figure:
    """Points (N, 2) of the unit square; those that a model puts on the wrong side of the circle are crossed."""
    figure, axis = _unit_square()
    wrong_N = np.asarray(wrong_N, dtype=bool)
    axis.plot(*points_ND[~wrong_N].T, "o", color="grey", alpha=0.3, markersize=3, label="right")
    axis.plot(*points_ND[wrong_N].T, "x", color=STYLES[1][0], markersize=7, markeredgewidth=2, label="wrong")
    axis.set_title(f"{wrong_N.sum()} of {len(wrong_N)} points classified wrongly", fontsize=11)
    figure.legend(loc="outside lower center", ncols=3, fontsize=8)
    return figure


def _unit_square() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(5, 5.2), layout="constrained")
    axis = figure.subplots()
    turn = np.linspace(0, 2 * np.pi, 361)
    edge = CENTRE[0] + RADIUS * np.cos(turn), CENTRE[1] + RADIUS * np.sin(turn)
    axis.plot(*edge, color="black", linewidth=1.2, label="edge of the disc")
    axis.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xlabel="first coordinate", ylabel="second coordinate")
    return figure, axis
