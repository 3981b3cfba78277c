"""Which variants rank before others over rounds, and which ranks cannot be told apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.stats import friedmanchisquare, rankdata, studentized_range

ALPHA = 0.05
"""Level at which ranks are said to differ."""


def critical_differences(errors: Mapping[str, Sequence[float]]) -> Figure:
    """Mean rank of each variant over the same rounds; bars join those that Nemenyi's test does not tell apart.

    Raises ValueError with fewer than 3 variants or 2 rounds, for which there is no such test.
    """
    error_NV = np.array(list(errors.values()), dtype=float).T
    if error_NV.ndim != 2 or error_NV.shape[0] < 2 or error_NV.shape[1] < 3:
        raise ValueError(f"ranks need at least 3 variants and 2 rounds, but got an array of {error_NV.T.shape}")
    figure = Figure(figsize=(9, 4), layout="constrained")
    axis = figure.subplots()
    _diagram(axis, list(errors), error_NV)
    rounds, variants = error_NV.shape
    axis.set(xlabel=f"mean rank over {rounds} rounds (1 is the best)")
    axis.xaxis.set_label_position("top")
    apart = (
        studentized_range.isf(ALPHA, variants, np.inf) / np.sqrt(2) * np.sqrt(variants * (variants + 1) / 6 / rounds)
    )
    figure.suptitle(
        f"Friedman's test: p = {_friedman(error_NV):.2g}\nNemenyi's: bars join variants that it does not tell apart, "
        f"with ranks less than {apart:.2g} from one another",
        fontsize=10,
    )
    figure.set_figheight(1.4 - 0.2 * axis.get_ylim()[0])  # a row is a unit of the y axis, downwards
    return figure


def _diagram(axis: Axes, names: Sequence[str], error_NV: NDArray[np.float64]) -> None:
    from scikit_posthocs import critical_difference_diagram, posthoc_nemenyi_friedman  # slow to import

    margin = 0.01 * len(names)
    axis.set_xlim(1 - margin, len(names) + margin)
    p_VV = posthoc_nemenyi_friedman(error_NV).set_axis(names, axis=0).set_axis(names, axis=1)
    rank_V = rankdata(error_NV, axis=1).mean(axis=0)
    drawn = critical_difference_diagram(
        dict(zip(names, rank_V, strict=True)),
        p_VV,
        alpha=ALPHA,
        ax=axis,
        label_fmt_left="{label} ({rank:.1f})",
        label_fmt_right="({rank:.1f}) {label}",
        text_h_margin=margin,
        label_props={"fontsize": 8},
        marker_props={"s": 14},
        elbow_props={"color": "black", "linewidth": 0.7},
        crossbar_props={"linewidth": 3, "solid_capstyle": "butt"},
    )
    for (bar,) in drawn["crossbars"]:  # they go to and fro between their ranks, in the order of a set
        bar.set_data([min(bar.get_xdata()), max(bar.get_xdata())], bar.get_ydata()[:2])


def _friedman(error_NV: NDArray[np.float64]) -> float:
    if (error_NV == error_NV[:, :1]).all():  # 0 / 0 in its statistic
        return 1.0
    return float(friedmanchisquare(*error_NV.T).pvalue)
