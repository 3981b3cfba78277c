"""The reference: one training as an ordinary PyTorch loop, which the replica engine must equal."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.data.digits import DigitSet
from pipeline.data.pairs import gather
from pipeline.models.initial import build_network
from pipeline.models.registry import get_variant
from pipeline.seeds import derive
from pipeline.training.plan import Outcome, Replica


@dataclass(kw_only=True)
class PlainResult:
    """Curves by epoch, and the end."""

    train_loss_E: list[float] = field(default_factory=list)
    train_error_E: list[float] = field(default_factory=list)
    held_out_loss_E: list[float] = field(default_factory=list)
    held_out_error_E: list[float] = field(default_factory=list)
    train_error_at_E: list[float] = field(default_factory=list)
    mean: float
    std: float
    weights: dict[str, Tensor]
    predictions: Tensor

    def assert_equals(self, outcome: Outcome, tolerance: float = 1e-9) -> None:
        """Everything that the engine reports of a complete training is the same within `tolerance`."""
        assert (outcome.status, outcome.reason) == ("complete", "")
        for name in ("train_loss_E", "train_error_E", "held_out_loss_E", "held_out_error_E", "mean", "std"):
            expected = getattr(self, name)
            np.testing.assert_allclose(getattr(outcome, name), expected, tolerance, tolerance, err_msg=name)
        epochs = len(self.train_loss_E)
        for epoch, error in outcome.train_error_at.items():
            assert abs(error - self.train_error_at_E[epoch - 1]) <= tolerance
        assert outcome.train_error == outcome.train_error_at[epochs]
        if outcome.weights is not None:
            assert list(outcome.weights) == list(self.weights)
            for name, weight in self.weights.items():  # kept as float32
                torch.testing.assert_close(
                    torch.from_numpy(outcome.weights[name]), weight.float(), rtol=1e-6, atol=1e-7
                )
            assert outcome.predictions_M is not None
            assert outcome.predictions_M.tolist() == self.predictions.tolist()


def train_plain(variant: str, replica: Replica, train: DigitSet, held_out: DigitSet) -> PlainResult:
    """Train one replica in float64."""
    hyper = replica.hyper
    network = build_network(get_variant(variant), replica.seed, *replica.name, dtype=torch.float64)
    adam = torch.optim.Adam(network.parameters(), lr=hyper.lr, fused=False, foreach=False)
    order = torch.Generator().manual_seed(derive(replica.seed, "order", *replica.name))
    samples, held_out_samples = gather(train, replica.train), gather(held_out, replica.held_out)
    grey, held_out_grey = (torch.from_numpy(part.x_NCHW).double() for part in (samples, held_out_samples))
    mean, std = grey.mean(), grey.std()
    x, held_out_x = (grey - mean) / std, (held_out_grey - mean) / std
    target, held_out_target = (torch.from_numpy(part.target_N) for part in (samples, held_out_samples))
    digits, held_out_digits = (torch.from_numpy(part.digits_NC) for part in (samples, held_out_samples))

    result = PlainResult(mean=mean.item(), std=std.item(), weights={}, predictions=torch.empty(0))
    for _ in range(hyper.epochs):
        loss_sum, wrong = 0.0, 0
        for batch in torch.randperm(len(target), generator=order).split(hyper.batch_size):
            loss, predictions = evaluate(network, x[batch], target[batch], digits[batch], hyper.alpha)
            adam.zero_grad()
            loss.backward()
            adam.step()
            loss_sum += loss.item() * len(batch)
            wrong += int((predictions != target[batch]).sum())
        with torch.no_grad():
            _, train_predictions = evaluate(network, x, target, digits, hyper.alpha)
            loss, predictions = evaluate(network, held_out_x, held_out_target, held_out_digits, hyper.alpha)
        result.train_loss_E.append(loss_sum / len(target))
        result.train_error_E.append(wrong / len(target))
        result.held_out_loss_E.append(loss.item())
        result.held_out_error_E.append(float((predictions != held_out_target).double().mean()))
        result.train_error_at_E.append(float((train_predictions != target).double().mean()))
        result.predictions = predictions.bool()
    result.weights = {name: weight.detach().clone() for name, weight in network.state_dict().items()}
    return result


def evaluate(network: nn.Module, x: Tensor, target: Tensor, digits: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    """The loss of a batch, and 1 for each pair that is called "lesser or equal"."""
    comparison, scores = network(x)
    loss = functional.cross_entropy(comparison, target)
    for digit in (0, 1):
        loss = loss + alpha * functional.cross_entropy(scores[:, digit], digits[:, digit])
    return loss, comparison.argmax(1)
