"""How certain a mean is over rounds that were all tested on the same samples.

Axes: R round, N test sample. Each round and each test sample is one of many that could have been drawn, and both leave
their mark on the whole row or column of the table (R, N) of losses. More rounds therefore cannot make up for few test
samples. The variance is that of crossed random effects with one observation in each cell (Searle, Casella and
McCulloch, 1992, chapter 4; Owen, 2007), with the degrees of freedom of Satterthwaite (1946).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

from pipeline.models.metrics import SHARE, Unit
from pipeline.reports.statistics import DECIMALS, Summary, summarise

UNBOUNDED = -math.inf, math.inf


def crossed(value_RN: ArrayLike) -> tuple[float, float, float]:
    """The mean of a table, its standard error, and the degrees of freedom of the latter.

    The error is taken to be at least that of the rounds alone and that of the samples alone, each with the other held
    fixed: an estimate of the other's variance that is negative by chance must not make the mean more certain.
    A single row or column is a sample of independent values, as in a t test; of one value the error is NaN.
    """
    value_RN = np.asarray(value_RN, dtype=np.float64)
    mean_R, mean_N = value_RN.mean(1), value_RN.mean(0)
    mean, (rounds, samples) = float(mean_R.mean()), value_RN.shape
    if value_RN.size == 1:
        return mean, math.nan, 0.0
    if rounds == 1 or samples == 1:
        return mean, _root(float(value_RN.var(ddof=1)) / value_RN.size), value_RN.size - 1.0
    of_rounds = samples * float(mean_R.var(ddof=1))
    of_samples = rounds * float(mean_N.var(ddof=1))
    shift_R = mean_R - mean
    squares = sum(  # row by row, as the table of residuals can be large
        float(np.square(value_N - mean_N - shift).sum()) for value_N, shift in zip(value_RN, shift_R, strict=True)
    )
    df_rounds, df_samples = rounds - 1.0, samples - 1.0
    of_rest = squares / (df_rounds * df_samples)
    total = max(of_rounds + of_samples - of_rest, of_rounds, of_samples)
    uncertainty = of_rounds**2 / df_rounds + of_samples**2 / df_samples + of_rest**2 / (df_rounds * df_samples)
    least = min(df_rounds, df_samples)
    df = max(total**2 / uncertainty, least) if uncertainty > 0 else least
    return mean, _root(total / value_RN.size), df


def _root(variance: float) -> float:
    return round(math.sqrt(variance), DECIMALS)


def contributions(losses_RN: ArrayLike, *, root: bool = False) -> NDArray[np.float64]:
    """(R, N) values whose mean over samples is the error of each round, to be analysed in the place of losses.

    They are the losses themselves where the error is their mean. Where it is the `root` of their mean they are its
    linear approximation (delta method): a sample with more loss than the mean moves the root by the excess / (2 root).
    """
    losses_RN = np.asarray(losses_RN, dtype=np.float64)
    if not root:
        return losses_RN
    error_R1 = np.sqrt(losses_RN.mean(1, keepdims=True))
    relative_RN = np.divide(losses_RN, error_R1, out=np.zeros_like(losses_RN), where=error_R1 != 0)
    contribution_RN: NDArray[np.float64] = (error_R1 + relative_RN) / 2
    return contribution_RN


def crossed_interval(value_RN: ArrayLike) -> tuple[float, float]:
    """The 95 % interval of a mean (Student's), from the `contributions` of each round and test sample.

    A single one has no interval: (NaN, NaN).
    """
    mean, error, df = crossed(value_RN)
    half = half_width(error, df)
    return mean - half, mean + half


def summarise_crossed(
    values: Sequence[float],
    value_RN: NDArray[np.float64] | None,
    unit: Unit = SHARE,
    *,
    within: tuple[float, float] = UNBOUNDED,
) -> Summary:
    """The summary of rounds, with an interval that also covers which test samples were held out, by `contributions`.

    Without these (None) that of the rounds alone. The interval is cut off at the bounds that values lie `within`.
    """
    summary = summarise(values, unit)
    if value_RN is None:
        return summary
    low, high = crossed_interval(value_RN)
    return replace(summary, low=max(low, within[0]), high=min(high, within[1]))


def half_width(error: float, df: float) -> float:
    """Half of a 95 % interval of Student's, from a standard error and its degrees of freedom."""
    return float(stdtrit(df, 0.975)) * error


def reading(*, shared_test: bool, all_train: bool, resampling: str, rounds: int, losses: bool = True) -> str:
    """One sentence that says what intervals of differences and errors cover, to be shown below them.

    `shared_test`: all rounds have the same test samples; `losses`: and those of each sample were kept and analysed.
    `all_train`: all rounds have all training samples; `resampling`: `none`, or `bootstrap` of these.
    """
    held_out = shared_test and losses
    if rounds < 2 and not held_out:
        return "One round has no interval: only more rounds can say how far its differences hold."
    covered, missing = [], []
    if rounds > 1 and not all_train:
        covered.append("which training samples were drawn")
    elif rounds > 1 and resampling == "bootstrap":
        covered.append("another training set (imitated by drawing again from this one)")
    else:
        missing.append("no training set other than this one")
    if rounds > 1:
        covered.append("the randomness of training (initial weights, order of samples)")
    else:
        missing.append("no second run of the training")
    if shared_test and not losses:
        missing.append("no test samples other than these")
    else:
        covered.append(f"which test samples were {'held out' if held_out else 'drawn'}")
    return f"Intervals and p-values cover {_list(covered)}{', but ' if missing else ''}{_list(missing)}."


def _list(parts: list[str]) -> str:
    """`a`, `a and b`, or `a, b and c`."""
    return " and ".join([", ".join(parts[:-1])] * (len(parts) > 1) + parts[-1:])
