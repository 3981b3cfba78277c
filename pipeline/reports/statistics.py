"""What a set of independent measurements says."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Mean and spread of measurements, NaN where there are too few."""

    n: int
    mean: float
    std: float
    """Sample standard deviation (n - 1)."""
    low: float
    high: float
    """95 % confidence interval of the mean (Student's t)."""

    def percent(self) -> str:
        """Mean and standard deviation as the reports print them: `9.89 ± 1.36 %`; the mean alone of one value."""
        if self.n < 2:
            return f"{100 * self.mean:.2f} %"
        return f"{100 * self.mean:.2f} ± {100 * self.std:.2f} %"

    def interval(self) -> str:
        """The confidence interval in percent: `[9.25, 10.53]`; `-` of one value."""
        if self.n < 2:
            return "-"
        return f"[{100 * self.low:.2f}, {100 * self.high:.2f}]"


def summarise(values: Sequence[float], *, overlap: float = 0.0) -> Summary:
    """Summarise measurements, at least one.

    `overlap` is 0 for independent ones. Folds are not, since they share training samples: for them it is the number of
    validation samples over that of training samples, by which their mean is less certain (Nadeau and Bengio, 2003).
    """
    n = len(values)
    mean = float(np.mean(values))
    if n < 2:
        return Summary(n=n, mean=mean, std=math.nan, low=math.nan, high=math.nan)
    std = float(np.std(values, ddof=1))
    half = float(stats.t.ppf(0.975, n - 1)) * std * math.sqrt(1 / n + overlap)
    return Summary(n=n, mean=mean, std=std, low=mean - half, high=mean + half)
