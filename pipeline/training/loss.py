"""The loss of each replica in a batch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.models.parts import PairOutput


def cross_entropy_R(logits: Tensor, target: Tensor) -> Tensor:
    """Mean cross-entropy of each replica: logits (R, ..., K) and targets (R, ...) -> (R,)."""
    logits_RKM = logits.flatten(1, -2).transpose(1, 2)  # with few classes last, softmax takes 4 times as long
    return functional.cross_entropy(logits_RKM, target.flatten(1), reduction="none").mean(1)


def pair_loss_R(output: PairOutput, target_RB: Tensor, digits_RBC: Tensor, alpha_R: Tensor | None) -> Tensor:
    """Comparison loss plus alpha times the sum of the two digits' losses, for each replica (R,).

    With `alpha_R` None there is no auxiliary loss. (Report 000; alpha multiplies the sum of two means.)
    """
    loss_R = cross_entropy_R(output.comparison, target_RB)
    if alpha_R is None:
        return loss_R
    # The mean over both digits is half the sum of each digit's mean.
    return torch.addcmul(loss_R, alpha_R, cross_entropy_R(output.digits, digits_RBC), value=2)
