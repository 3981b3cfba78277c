"""What is measured of predictions: named values of whole splits, each with its unit and its direction."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pipeline.data.dataset import Batch

if TYPE_CHECKING:
    from torch import Tensor

Predictions = Mapping[str, "Tensor"]
"""(R, N, ...) by name: what `Objective.predict` gives."""


@dataclass(frozen=True)
class Unit:
    """How values are shown.

    >>> SHARE.show(0.0989), SHARE.difference(-0.0125), Unit("mm").show(3.14159)
    ('9.89 %', '-1.25', '3.142 mm')
    """

    symbol: str
    scale: float = 1.0
    """What a value is multiplied by when it is shown."""
    form: str = ".4g"
    points: str = ""
    """What differences are in; empty for the unit itself."""

    def number(self, value: float) -> str:
        """A value without the unit; `-` for what could not be measured."""
        return f"{self.scale * value:{self.form}}" if math.isfinite(value) else "-"

    def show(self, value: float) -> str:
        """A value with the unit."""
        return f"{self.number(value)} {self.symbol}".rstrip() if math.isfinite(value) else "-"

    def difference(self, value: float) -> str:
        """A difference with its sign, without the unit."""
        return f"{self.scale * value:+{self.form}}"

    @property
    def suffix(self) -> str:
        """What follows a difference in a sentence: ` points`, or nothing where there is no unit."""
        return f" {self.points or self.symbol}".rstrip()


SHARE = Unit("%", scale=100.0, form=".2f", points="points")
"""Of numbers from 0 to 1, shown in percent."""


@dataclass(frozen=True)
class Metric:
    """One number about the predictions for a whole split.

    The first metric of a task is the one that searches minimise and comparisons rank by.
    """

    name: str
    """As it is logged: `test_<name>`, `validation_<name>`."""
    value_R: Callable[[Predictions, Batch], Tensor]
    """(R,) from predictions and samples (R, N, ...)."""
    unit: Unit = SHARE
    direction: Literal["minimize", "maximize"] = "minimize"
    loss_RN: Callable[[Predictions, Batch], Tensor] | None = None
    """(R, N) what each sample adds: the value is their mean. None where samples do not add up to it."""
    root: bool = False
    """Whether the value is the root of that mean."""

    @property
    def title(self) -> str:
        """In words."""
        return self.name.replace("_", " ")

    @property
    def bounds(self) -> tuple[float, float]:
        """What a value of it cannot lie outside of, if samples add up to it: losses are not negative."""
        return 0.0, 1.0 if self.unit == SHARE else math.inf


def share_of_wrong_R(predictions: Predictions, batch: Batch) -> Tensor:
    """(R,) the share of samples whose `answer` is not their `target` (scikit-learn's `zero_one_loss`)."""
    target_RN = batch["target"]
    return (predictions["answer"] != target_RN).sum(1).double() / target_RN.shape[1]


def wrong_RN(predictions: Predictions, batch: Batch) -> Tensor:
    """(R, N) 1 where the `answer` is not the `target`."""
    return (predictions["answer"] != batch["target"]).double()


def mean_share_of_wrong_R(predictions: Predictions, batch: Batch) -> Tensor:
    """(R,) the mean over classes of the share of each that is wrong (1 - scikit-learn's `balanced_accuracy_score`)."""
    target_RN = batch["target"]
    wrong_RN = (predictions["answer"] != target_RN).double()
    zeros = wrong_RN.new_zeros(len(wrong_RN), int(target_RN.max()) + 1)
    wrong_RK = zeros.scatter_add(1, target_RN, wrong_RN)
    seen_RK = zeros.scatter_add(1, target_RN, wrong_RN.new_ones(()).expand_as(wrong_RN))
    return (wrong_RK / seen_RK.clamp_min(1)).sum(1) / (seen_RK > 0).sum(1)


def balanced_wrong_RN(predictions: Predictions, batch: Batch) -> Tensor:
    """(R, N) where it is wrong, the more the fewer samples its class has; the mean is that over classes."""
    target_RN = batch["target"]
    one_RN = target_RN.double().new_ones(target_RN.shape)
    seen_RK = one_RN.new_zeros(len(target_RN), int(target_RN.max()) + 1).scatter_add(1, target_RN, one_RN)
    share_R = target_RN.shape[1] / (seen_RK > 0).double().sum(1)
    return wrong_RN(predictions, batch) * share_R.unsqueeze(1) / seen_RK.gather(1, target_RN)


def absolute_error_RN(predictions: Predictions, batch: Batch) -> Tensor:
    """(R, N) the distance of `value` from `target`."""
    return (predictions["value"].double() - batch["target"].double()).abs()


def squared_error_RN(predictions: Predictions, batch: Batch) -> Tensor:
    """(R, N) its square."""
    return (predictions["value"].double() - batch["target"].double()).square()


def mean_absolute_error_R(predictions: Predictions, batch: Batch) -> Tensor:
    """(R,) the mean distance of `value` from `target` (scikit-learn's `mean_absolute_error`)."""
    return absolute_error_RN(predictions, batch).mean(1)


def root_mean_squared_error_R(predictions: Predictions, batch: Batch) -> Tensor:
    """(R,) as scikit-learn's `root_mean_squared_error`."""
    return squared_error_RN(predictions, batch).mean(1).sqrt()


def r2_R(predictions: Predictions, batch: Batch) -> Tensor:
    """(R,) the share of the targets' variance that the predictions explain (scikit-learn's `r2_score`)."""
    target_RN = batch["target"].double()
    left_R = (predictions["value"].double() - target_RN).square().sum(1)
    return 1 - left_R / (target_RN - target_RN.mean(1, keepdim=True)).square().sum(1)


def log_loss_R(predictions: Predictions, batch: Batch) -> Tensor:
    """(R,) the mean of -log P(true class) (scikit-learn's `log_loss`); NaN where probabilities are not predicted."""
    return log_loss_RN(predictions, batch).mean(1)


def log_loss_RN(predictions: Predictions, batch: Batch) -> Tensor:
    """(R, N) -log P(true class); NaN where probabilities are not predicted."""
    target_RN = batch["target"]
    if "log_probabilities" not in predictions:
        return target_RN.double() * math.nan
    return -predictions["log_probabilities"].double().gather(-1, target_RN.unsqueeze(-1)).squeeze(-1)


@dataclass(frozen=True)
class OfEach:
    """`value_R` of a function of (targets, predictions) of one replica, such as those of `sklearn.metrics`.

    It is called once for each replica and split: those of this module, for all replicas at once, are faster.
    """

    function: Callable[..., float]
    prediction: str = "answer"
    """Which of the predictions it is given."""

    def __call__(self, predictions: Predictions, batch: Batch) -> Tensor:
        """(R,)."""
        target_RN = batch["target"]
        each = zip(target_RN.cpu().numpy(), predictions[self.prediction].cpu().numpy(), strict=True)
        values = [float(self.function(true, said)) for true, said in each]
        return predictions[self.prediction].new_tensor(values, dtype=target_RN.double().dtype)


ERROR = Metric("error", share_of_wrong_R, loss_RN=wrong_RN)
BALANCED_ERROR = Metric("balanced_error", mean_share_of_wrong_R, loss_RN=balanced_wrong_RN)
LOG_LOSS = Metric("log_loss", log_loss_R, Unit("nats", form=".3f"), loss_RN=log_loss_RN)
