"""Dimensions of a search space: the values that one hyperparameter may have."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from pipeline.base.errors import InputError
from pipeline.models.hyperparameters import Value


@dataclass(frozen=True)
class FloatRange:
    """Real numbers from `low` to `high`; a constant if they are equal.

    >>> FloatRange(1e-4, 1e-1, log=True).ends
    (0.0001, 0.1)
    """

    low: float
    high: float
    _: KW_ONLY
    log: bool = False
    """Whether it is searched by its logarithm; `low` must be above 0."""
    step: float | None = None
    significant_digits: int | None = None
    """Significant figures that a proposal is rounded to; None for all of them."""

    def __post_init__(self) -> None:
        """Raise InputError for a range that holds nothing."""
        _check_range(self.low, self.high, self.step, log=self.log)

    @property
    def ends(self) -> tuple[float, float]:
        """The least and the greatest."""
        return self.low, self.high

    @property
    def grid(self) -> tuple[float, ...]:
        """All values; none without a step, but for a constant."""
        if self.low == self.high:
            return (self.low,)
        if self.step is None:
            return ()
        steps = round((self.high - self.low) / self.step)
        return tuple(self.rounded(self.low + index * self.step) for index in range(steps + 1))

    @property
    def distribution(self) -> BaseDistribution:
        """What Optuna calls it."""
        return FloatDistribution(self.low, self.high, log=self.log, step=self.step)

    def suggest(self, trial: optuna.Trial, name: str) -> float:
        """Let the sampler choose."""
        return trial.suggest_float(name, self.low, self.high, log=self.log, step=self.step)

    def rounded(self, value: Any) -> float:
        """A proposal as it is tried: the same number for all that the space does not tell apart."""
        if self.step is not None:
            return round(float(value), 12)
        if self.significant_digits is None:
            return float(value)
        return min(max(float(f"{value:.{self.significant_digits}g}"), self.low), self.high)

    def __contains__(self, value: Value) -> bool:
        return (
            not isinstance(value, str)
            and self.low <= value <= self.high
            and (self.step is None or on_grid(value - self.low, self.step))
            and (self.significant_digits is None or self.rounded(value) == value)
        )


@dataclass(frozen=True)
class IntRange:
    """Whole numbers from `low` to `high` in steps of `step`; a constant if they are equal."""

    low: int
    high: int
    _: KW_ONLY
    log: bool = False
    step: int = 1

    def __post_init__(self) -> None:
        """Raise InputError for a range that holds nothing."""
        _check_range(self.low, self.high, self.step if self.low < self.high else None, log=self.log)

    @property
    def ends(self) -> tuple[int, int]:
        """The least and the greatest."""
        return self.low, self.high

    @property
    def grid(self) -> tuple[int, ...]:
        """All values."""
        return tuple(range(self.low, self.high + 1, self.step))

    @property
    def distribution(self) -> BaseDistribution:
        """What Optuna calls it."""
        return IntDistribution(self.low, self.high, log=self.log, step=self.step)

    def suggest(self, trial: optuna.Trial, name: str) -> int:
        """Let the sampler choose."""
        return trial.suggest_int(name, self.low, self.high, log=self.log, step=self.step)

    def rounded(self, value: Any) -> int:
        """A proposal as it is tried."""
        return int(value)

    def __contains__(self, value: Value) -> bool:
        return not isinstance(value, str) and self.low <= value <= self.high and (value - self.low) % self.step == 0


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One of several values."""

    values: tuple[Value, ...]

    @property
    def ends(self) -> tuple[Value, ...]:
        """All values, the least and the greatest among them."""
        return self.values

    @property
    def grid(self) -> tuple[Value, ...]:
        """All values."""
        return self.values

    @property
    def distribution(self) -> BaseDistribution:
        """What Optuna calls it."""
        return CategoricalDistribution(self.values)

    def suggest(self, trial: optuna.Trial, name: str) -> Value:
        """Let the sampler choose."""
        chosen: Any = trial.suggest_categorical(name, self.values)
        value: Value = chosen
        return value

    def rounded(self, value: Any) -> Value:
        """A proposal as it is tried."""
        chosen: Value = value
        return chosen

    def __contains__(self, value: Value) -> bool:
        return value in self.values


Dimension = FloatRange | IntRange | Choice


def _check_range(low: float, high: float, step: float | None, *, log: bool) -> None:
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise InputError(f"a range goes from a finite low to a high that is not below it, but got {low} and {high}")
    if log and low <= 0:
        raise InputError(f"a range by its logarithm begins above 0, but got {low}")
    if step is not None and not (step > 0 and on_grid(high - low, step)):
        raise InputError(f"a range is a whole number of steps above 0, but got {step} from {low} to {high}")


def on_grid(distance: float, step: float) -> bool:
    """Whether a distance is a whole number of steps, but for rounding."""
    steps = distance / step
    return math.isfinite(steps) and math.isclose(round(steps) * step, distance, rel_tol=1e-9, abs_tol=1e-12)
