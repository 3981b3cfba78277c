"""What the outputs of pair and digit models mean. Batches hold `target` (R, B) and `digits` (R, B, 2)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.data.dataset import Batch
from pipeline.models.metrics import ERROR, Metric, Predictions
from pipeline.models.objectives import Objective, cross_entropy_R


class PairOutput(NamedTuple):
    """What a pair model says of a batch."""

    comparison: Tensor
    """(..., B, 2) scores of "greater" and "lesser or equal", or (..., B, 1) of the latter alone."""
    digits: Tensor | None
    """(..., B, 2, 10) scores of the two digits, where it has any; trained only with an auxiliary loss."""


class DigitOutput(NamedTuple):
    """What a digit model says of a batch of pairs, whose digits it reads one by one."""

    digits: Tensor
    """(..., B, 2, 10) scores of the two digits."""
    auxiliary: Tensor | None
    """The same by an auxiliary classifier on an intermediate feature map."""


@dataclass(frozen=True)
class PairObjective(Objective):
    """Comparison loss plus, with an auxiliary loss, alpha times the sum of the two digits' losses."""

    auxiliary: bool = False
    description: ClassVar[str] = "P(first > second), P(first <= second) of two 14x14 digits, grey values 0 to 255"

    @property
    def hyperparameters(self) -> frozenset[str]:  # type: ignore[override]
        """`alpha`, where there is an auxiliary loss."""
        return frozenset({"alpha"} if self.auxiliary else ())

    def loss_R(self, output: PairOutput, batch: Batch, hyper_R: Mapping[str, Tensor]) -> Tensor:
        """(R,), alpha multiplying the sum of two means (report 000)."""
        loss_R = self.comparison_loss_R(output.comparison, batch["target"])
        if not self.auxiliary:
            return loss_R
        assert output.digits is not None
        # The mean over both digits is half the sum of each digit's mean.
        return torch.addcmul(loss_R, hyper_R["alpha"], cross_entropy_R(output.digits, batch["digits"]), value=2)

    def predict(self, output: PairOutput) -> dict[str, Tensor]:
        """`answer` (..., N), and with an auxiliary loss `digits` (..., N, 2)."""
        found = {"answer": self.answers(output.comparison)}
        if self.auxiliary:
            assert output.digits is not None
            found["digits"] = output.digits.argmax(-1)
        return found

    @abstractmethod
    def comparison_loss_R(self, comparison: Tensor, target_RB: Tensor) -> Tensor:
        """(R,) from the comparison alone."""

    def answers(self, comparison: Tensor) -> Tensor:
        """Whether the first is lesser than or equal to the second: which of the two scores is higher."""
        return comparison[..., 1] > comparison[..., 0]


class TwoLogits(PairObjective):
    """Cross-entropy on two logits (reports 000 and 002)."""

    def comparison_loss_R(self, comparison: Tensor, target_RB: Tensor) -> Tensor:
        """(R, B, 2) and (R, B) -> (R,)."""
        return cross_entropy_R(comparison, target_RB)

    def serve(self, output: PairOutput) -> Tensor:
        """(B, 2): P(first > second), P(first <= second)."""
        return output.comparison.softmax(-1)


class TwoSigmoids(PairObjective):
    """Binary cross-entropy on two sigmoid outputs, one for each answer (report 003)."""

    def comparison_loss_R(self, comparison: Tensor, target_RB: Tensor) -> Tensor:
        """(R, B, 2) before the sigmoid, and (R, B) -> (R,), the mean over both outputs."""
        wanted = torch.stack((1 - target_RB, target_RB), -1).to(comparison.dtype)
        return functional.binary_cross_entropy_with_logits(comparison, wanted, reduction="none").flatten(1).mean(1)

    def serve(self, output: PairOutput) -> Tensor:
        """(B, 2): both sigmoids, divided by their sum."""
        return functional.logsigmoid(output.comparison).softmax(-1)  # a quotient of sigmoids can be 0 / 0


class OneLogit(PairObjective):
    """Binary cross-entropy on one logit (report 004)."""

    def comparison_loss_R(self, comparison: Tensor, target_RB: Tensor) -> Tensor:
        """(R, B, 1) and (R, B) -> (R,)."""
        logits_RB = comparison.squeeze(-1)
        wanted = target_RB.to(logits_RB.dtype)
        return functional.binary_cross_entropy_with_logits(logits_RB, wanted, reduction="none").mean(1)

    def answers(self, comparison: Tensor) -> Tensor:
        """Whether the logit is positive."""
        return comparison[..., 0] > 0

    def serve(self, output: PairOutput) -> Tensor:
        """(B, 2): P(first > second), P(first <= second)."""
        lesser_or_equal = output.comparison.sigmoid()
        return torch.cat((1 - lesser_or_equal, lesser_or_equal), -1)


@dataclass(frozen=True)
class Digits(Objective):
    """Cross-entropy on single digits; the predicted digits are compared by arithmetic (reports 001 and 002)."""

    auxiliary: bool = False
    description: ClassVar[str] = (
        "P(digit 0 to 9) of each of two 14x14 digits, grey values 0 to 255, to be compared by arithmetic"
    )

    @property
    def hyperparameters(self) -> frozenset[str]:  # type: ignore[override]
        """`alpha`, where there may be an auxiliary classifier."""
        return frozenset({"alpha"} if self.auxiliary else ())

    def loss_R(self, output: DigitOutput, batch: Batch, hyper_R: Mapping[str, Tensor]) -> Tensor:
        """(R,): mean over all digits, plus alpha times that of the auxiliary classifier, where there is one."""
        loss_R = cross_entropy_R(output.digits, batch["digits"])
        if not self.auxiliary or output.auxiliary is None:
            return loss_R
        return torch.addcmul(loss_R, hyper_R["alpha"], cross_entropy_R(output.auxiliary, batch["digits"]))

    def predict(self, output: DigitOutput) -> dict[str, Tensor]:
        """`digits` (..., N, 2) as they are read, and the `answer` (..., N) that follows from them."""
        read = output.digits.argmax(-1)
        return {"answer": read[..., 0] <= read[..., 1], "digits": read}

    def serve(self, output: DigitOutput) -> Tensor:
        """(B, 2, 10): P(digit) of both digits."""
        return output.digits.softmax(-1)


def share_of_misread_R(predictions: Predictions, batch: Batch) -> Tensor:
    """(R,) the share of all digits that are named wrong."""
    digits_RNC = batch["digits"]
    return (predictions["digits"] != digits_RNC).sum((1, 2)).double() / digits_RNC[0].numel()


DIGIT_ERROR = Metric("digit_error", share_of_misread_R)
METRICS = (ERROR, DIGIT_ERROR)
"""Of all variants the share of wrong answers; of those that are trained to name digits also that of digits."""
