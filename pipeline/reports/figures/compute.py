"""What less error costs in time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator
from numpy.typing import NDArray

from pipeline.models.metrics import ERROR, Metric
from pipeline.reports.figures.labels import write_beside
from pipeline.reports.figures.style import STYLES, in_unit

NAMED = 12
"""Points that bear their names; more bear numbers, and a list says which is which."""


def error_against_compute(points: Mapping[str, Sequence[float]], metric: Metric = ERROR) -> Figure:
    """A test metric against the training time of one round; each point is (seconds, mean, low, high).

    A line goes through those that no other beats in both.
    """
    names = sorted(points, key=lambda name: points[name][1])
    value_NP = np.array([points[name] for name in names], dtype=float) * [1, *[metric.unit.scale] * 3]
    seconds_N, mean_N, low_N, high_N = value_NP.T
    figure = _frame(
        value_NP, in_unit(f"test {metric.title}, mean and interval", metric), 0.22 if len(names) > NAMED else 0
    )
    (axis,) = figure.axes
    axis.vlines(seconds_N, low_N, high_N, color="0.6", linewidth=1)
    axis.plot(seconds_N, mean_N, "o", color="black", markerfacecolor="white", markersize=5)
    front_ND = value_NP[_unbeaten(value_NP[:, :2]), :2][::-1]  # the fastest of them first
    axis.step(
        *front_ND.T,
        "o--",
        where="post",
        color=STYLES[1][0],
        markerfacecolor="black",
        markeredgecolor="black",
        markersize=5,
        label="none is better in both",
    )
    axis.legend(loc="lower right", bbox_to_anchor=(1, 1), frameon=False, fontsize=8)
    bars_ND = np.stack([seconds_N, low_N, seconds_N, high_N], axis=1)
    lines_ND = np.concatenate([bars_ND[np.isfinite(bars_ND).all(axis=1)], _steps(front_ND)])
    if len(names) > NAMED:
        _list(figure, names)
        names = [str(number) for number in range(1, len(names) + 1)]
    write_beside(axis, value_NP[:, :2], names, lines_ND, size=8)
    return figure


def _frame(value_NP: NDArray[np.float64], label: str, room: float) -> Figure:
    """Axes at a place and with limits that stay, so that names can be put where they have room."""
    figure = Figure(figsize=(9, max(5.0, 0.17 * len(value_NP) + 0.6)))
    axis = figure.add_axes((0.08, 0.11, 0.9 - room, 0.82))
    axis.set(xscale="log", xlabel="training time of one round (s)", ylabel=label)
    axis.set(xlim=np.exp(_limits(np.log(value_NP[:, 0]), 0.5)), ylim=_limits(value_NP[:, 1:], 0.1))
    least, most = axis.get_xlim()
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5) if most < 100 * least else (1,)))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.xaxis.set_minor_locator(NullLocator())
    axis.grid(alpha=0.3)
    return figure


def _limits(values: NDArray[np.float64], margin: float) -> tuple[float, float]:
    """Of an axis that shows these values with at least that margin."""
    least, most = np.nanmin(values), np.nanmax(values)
    margin = max(margin, 0.12 * (most - least))
    return least - margin, most + margin


def _unbeaten(cost_ND: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which rows (N,) have no other that is nowhere greater and somewhere less."""
    no_greater_NN = (cost_ND[:, None] <= cost_ND[None]).all(axis=2)
    less_NN = (cost_ND[:, None] < cost_ND[None]).any(axis=2)
    return np.asarray(~(no_greater_NN & less_NN).any(axis=0))


def _steps(front_ND: NDArray[np.float64]) -> NDArray[np.float64]:
    """The level and the upright parts (N, 4) of the line through the front, as left, bottom, right and top."""
    (left, top), (right, bottom) = front_ND[:-1].T, front_ND[1:].T
    return np.concatenate([np.stack([left, top, right, top], axis=1), np.stack([right, bottom, right, top], axis=1)])


def _list(figure: Figure, names: Sequence[str]) -> None:
    entries = [
        Line2D([], [], linestyle="none", label=f"{number}  {name}") for number, name in enumerate(names, start=1)
    ]
    figure.legend(handles=entries, loc="center left", bbox_to_anchor=(0.79, 0.5), handlelength=0, fontsize=8)
