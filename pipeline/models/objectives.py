"""What a network's outputs mean: the loss that they are trained by, and the answer that is read from them.

Losses are one number for each replica: outputs are (R, B, ...), targets (R, B), digits (R, B, 2).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional


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


class Objective(ABC):
    """How outputs are trained and read."""

    @abstractmethod
    def loss_R(self, output: Any, target_RB: Tensor, digits_RBC: Tensor, alpha_R: Tensor | None) -> Tensor:
        """The mean loss of each replica (R,); with `alpha_R` None there is no auxiliary loss."""

    @abstractmethod
    def verdict(self, output: Any) -> Tensor:
        """The part of the output (..., B, ...) that the answer is read from."""

    @abstractmethod
    def answers(self, verdict: Tensor) -> Tensor:
        """(..., B) bool: whether each sample is of class 1: "lesser or equal", or inside."""

    @abstractmethod
    def probabilities(self, output: Any) -> Tensor:
        """The outputs as probabilities, for use elsewhere."""

    def digits(self, output: Any) -> Tensor | None:
        """(..., B, 2, 10) scores of the two digits, where there are any."""
        return None


class PairObjective(Objective):
    """Comparison loss plus alpha times the sum of the two digits' losses."""

    def loss_R(self, output: PairOutput, target_RB: Tensor, digits_RBC: Tensor, alpha_R: Tensor | None) -> Tensor:
        """(R,), alpha multiplying the sum of two means (report 000)."""
        loss_R = self.comparison_loss_R(output.comparison, target_RB)
        if alpha_R is None:
            return loss_R
        assert output.digits is not None
        # The mean over both digits is half the sum of each digit's mean.
        return torch.addcmul(loss_R, alpha_R, cross_entropy_R(output.digits, digits_RBC), value=2)

    @abstractmethod
    def comparison_loss_R(self, comparison: Tensor, target_RB: Tensor) -> Tensor:
        """(R,) from the comparison alone."""

    def verdict(self, output: PairOutput) -> Tensor:
        """The comparison."""
        return output.comparison

    def answers(self, verdict: Tensor) -> Tensor:
        """Which of the two scores is higher."""
        return verdict[..., 1] > verdict[..., 0]

    def digits(self, output: PairOutput) -> Tensor | None:
        """The scores that the auxiliary loss trains."""
        return output.digits


class TwoLogits(PairObjective):
    """Cross-entropy on two logits (reports 000 and 002)."""

    def comparison_loss_R(self, comparison: Tensor, target_RB: Tensor) -> Tensor:
        """(R, B, 2) and (R, B) -> (R,)."""
        return cross_entropy_R(comparison, target_RB)

    def probabilities(self, output: PairOutput) -> Tensor:
        """(B, 2): P(first > second), P(first <= second)."""
        return output.comparison.softmax(-1)


class TwoSigmoids(PairObjective):
    """Binary cross-entropy on two sigmoid outputs, one for each answer (report 003)."""

    def comparison_loss_R(self, comparison: Tensor, target_RB: Tensor) -> Tensor:
        """(R, B, 2) before the sigmoid, and (R, B) -> (R,), the mean over both outputs."""
        wanted = torch.stack((1 - target_RB, target_RB), -1).to(comparison.dtype)
        return functional.binary_cross_entropy_with_logits(comparison, wanted, reduction="none").flatten(1).mean(1)

    def probabilities(self, output: PairOutput) -> Tensor:
        """(B, 2): both sigmoids, divided by their sum."""
        return functional.logsigmoid(output.comparison).softmax(-1)  # a quotient of sigmoids can be 0 / 0


class OneLogit(PairObjective):
    """Binary cross-entropy on one logit (report 004)."""

    def comparison_loss_R(self, comparison: Tensor, target_RB: Tensor) -> Tensor:
        """(R, B, 1) and (R, B) -> (R,)."""
        logits_RB = comparison.squeeze(-1)
        wanted = target_RB.to(logits_RB.dtype)
        return functional.binary_cross_entropy_with_logits(logits_RB, wanted, reduction="none").mean(1)

    def answers(self, verdict: Tensor) -> Tensor:
        """Whether the logit is positive."""
        return verdict[..., 0] > 0

    def probabilities(self, output: PairOutput) -> Tensor:
        """(B, 2): P(first > second), P(first <= second)."""
        lesser_or_equal = output.comparison.sigmoid()
        return torch.cat((1 - lesser_or_equal, lesser_or_equal), -1)


class Digits(Objective):
    """Cross-entropy on single digits; the predicted digits are compared by arithmetic (reports 001 and 002)."""

    def loss_R(self, output: DigitOutput, target_RB: Tensor, digits_RBC: Tensor, alpha_R: Tensor | None) -> Tensor:
        """(R,): mean over all digits, plus alpha times that of the auxiliary classifier, where there is one."""
        loss_R = cross_entropy_R(output.digits, digits_RBC)
        if alpha_R is None or output.auxiliary is None:
            return loss_R
        return torch.addcmul(loss_R, alpha_R, cross_entropy_R(output.auxiliary, digits_RBC))

    def verdict(self, output: DigitOutput) -> Tensor:
        """The scores of both digits."""
        return output.digits

    def answers(self, verdict: Tensor) -> Tensor:
        """Whether the first digit, as it was read, is lesser than or equal to the second."""
        read = verdict.argmax(-1)
        return read[..., 0] <= read[..., 1]

    def digits(self, output: DigitOutput) -> Tensor:
        """The scores of both digits."""
        return output.digits

    def probabilities(self, output: DigitOutput) -> Tensor:
        """(B, 2, 10): P(digit) of both digits."""
        return output.digits.softmax(-1)


class Square(Objective):
    """Mean squared error against 1 (inside) and -1 (outside), as `pipeline.mini` has it (report 004, part 2).

    The output is (R, B, 1).
    """

    def loss_R(self, output: Tensor, target_RB: Tensor, digits_RBC: Tensor, alpha_R: Tensor | None) -> Tensor:
        """(R,)."""
        return (output.squeeze(-1) - signs(target_RB, output.dtype)).square().mean(1)

    def verdict(self, output: Tensor) -> Tensor:
        """The output."""
        return output

    def answers(self, verdict: Tensor) -> Tensor:
        """Whether the output is positive."""
        return verdict[..., 0] > 0

    def probabilities(self, output: Tensor) -> Tensor:
        """(B, 1): the output from -1 to 1 as it is, which is not a probability."""
        return output


def signs(target: Tensor, dtype: torch.dtype) -> Tensor:
    """1 and 0 -> 1 and -1."""
    return (2 * target - 1).to(dtype)


def cross_entropy_R(logits: Tensor, target: Tensor) -> Tensor:
    """Mean cross-entropy of each replica: logits (R, ..., K) and targets (R, ...) -> (R,)."""
    logits_RKM = logits.flatten(1, -2).transpose(1, 2)  # with few classes last, softmax takes 4 times as long
    return functional.cross_entropy(logits_RKM, target.flatten(1), reduction="none").mean(1)
