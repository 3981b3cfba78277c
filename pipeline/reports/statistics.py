"""What a set of measurements of one thing says."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from pipeline.base.seeds import numpy_generator
from pipeline.models.metrics import SHARE, Unit

RESAMPLES = 9_999
DECIMALS = 12
"""To which means and differences are rounded: equal ones must not seem to differ by their last bits."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Mean and spread of measurements, NaN where there are too few."""

    n: int
    mean: float
    std: float
    """Sample standard deviation (n - 1)."""
    low: float
    high: float
    """95 % confidence interval of the mean."""
    unit: Unit = SHARE
    """In which they are shown."""

    def text(self) -> str:
        """Mean and standard deviation: `9.89 ± 1.36 %`; the mean alone of one value."""
        number = self.unit.number
        return self.unit.show(self.mean) if self.n < 2 else f"{number(self.mean)} ± {self.unit.show(self.std)}"

    def interval(self) -> str:
        """The confidence interval: `[9.25, 10.53]`; `-` of one value."""
        return f"[{self.unit.number(self.low)}, {self.unit.number(self.high)}]" if math.isfinite(self.low) else "-"


def summarise(values: Sequence[float], unit: Unit = SHARE, *, overlap: float | None = None) -> Summary:
    """Summarise measurements, at least one.

    The interval of independent ones is that of the bootstrap, bias-corrected and accelerated (Efron, 1987), with draws
    that are the same for the same values. Folds share training samples: for them `overlap` is the number of validation
    samples over that of training samples, by which their mean is less certain (Nadeau and Bengio, 2003), and the
    interval is Student's.
    """
    n = len(values)
    mean = float(np.mean(values))
    if n < 2:
        return Summary(n=n, mean=mean, std=math.nan, low=math.nan, high=math.nan, unit=unit)
    std = float(np.std(values, ddof=1))
    if overlap is not None:
        half = float(stdtrit(n - 1, 0.975)) * std * math.sqrt(1 / n + overlap)
        return Summary(n=n, mean=mean, std=std, low=mean - half, high=mean + half, unit=unit)
    if not np.ptp(values).round(DECIMALS) > 0:  # of equal values there is nothing to draw from, and NaN has no interval
        return Summary(n=n, mean=mean, std=std, low=mean, high=mean, unit=unit)
    from scipy.stats import bootstrap  # seconds to import, and a search needs only Student's interval

    drawn = bootstrap((values,), _mean, n_resamples=RESAMPLES, rng=numpy_generator(0, "bootstrap"))
    low, high = drawn.confidence_interval
    return Summary(n=n, mean=mean, std=std, low=float(low), high=float(high), unit=unit)


def _mean(values: NDArray[np.float64], axis: int = -1) -> NDArray[np.float64]:
    mean: NDArray[np.float64] = np.mean(values, axis=axis).round(DECIMALS)
    return mean
