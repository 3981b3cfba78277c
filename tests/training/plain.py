"""The reference: one training as an ordinary PyTorch loop, which the replica engine must equal."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import SGD, Adam, Optimizer, RMSprop
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, CosineAnnealingWarmRestarts, LRScheduler

from pipeline.data.digits import DigitSet
from pipeline.data.pairs import gather
from pipeline.models.initial import build_network
from pipeline.models.registry import get_variant
from pipeline.models.variant import Hyperparameters
from pipeline.seeds import derive
from pipeline.training.augmentation import augment
from pipeline.training.layers import keep_mask
from pipeline.training.plan import Outcome, Replica


@dataclass(kw_only=True)
class PlainResult:
    """Curves by epoch, and the end."""

    train_loss_E: list[float] = field(default_factory=list)
    train_error_E: list[float] = field(default_factory=list)
    held_out_loss_E: list[float] = field(default_factory=list)
    held_out_error_E: list[float] = field(default_factory=list)
    train_error_at_E: list[float] = field(default_factory=list)
    status: str = "complete"
    reason: str = ""
    mean: float
    std: float
    weights: dict[str, Tensor]
    predictions: Tensor

    def assert_equals(self, outcome: Outcome, tolerance: float = 1e-9) -> None:
        """Everything that the engine reports of a training is the same within `tolerance`."""
        assert (outcome.status, outcome.reason) == (self.status, self.reason)
        for name in ("train_loss_E", "train_error_E", "held_out_loss_E", "held_out_error_E", "mean", "std"):
            expected = getattr(self, name)
            np.testing.assert_allclose(getattr(outcome, name), expected, tolerance, tolerance, err_msg=name)
        epochs = len(self.train_loss_E)
        for epoch, error in outcome.train_error_at.items():
            assert abs(error - self.train_error_at_E[epoch - 1]) <= tolerance
        assert outcome.train_error == outcome.train_error_at[epochs]
        if outcome.weights is not None:
            assert list(outcome.weights) == list(self.weights)
            for name, weight in self.weights.items():
                kept = weight.float() if weight.is_floating_point() else weight
                torch.testing.assert_close(torch.from_numpy(outcome.weights[name]), kept, rtol=1e-6, atol=1e-7)
            assert outcome.predictions_M is not None
            assert outcome.predictions_M.tolist() == self.predictions.tolist()


class PlainDropout(nn.Module):
    """Dropout of one training, by its own generator."""

    def __init__(self, p: float, generator: torch.Generator) -> None:
        super().__init__()
        self.p, self.generator = p, generator

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        return torch.where(keep_mask(x.shape, self.p, self.generator), x / (1 - self.p), 0.0)


def torch_optimiser(parameters: Iterable[Tensor], hyper: Hyperparameters) -> Optimizer:
    """What these hyperparameters mean in torch."""
    lr, decay = hyper.lr, hyper.weight_decay
    if hyper.optimiser == "sgd":
        return SGD(parameters, lr=lr, momentum=hyper.momentum, weight_decay=decay, foreach=False)
    if hyper.optimiser == "rmsprop":
        return RMSprop(parameters, lr=lr, weight_decay=decay, foreach=False)
    return Adam(parameters, lr=lr, weight_decay=decay, fused=False, foreach=False)


def torch_schedule(optimiser: Optimizer, hyper: Hyperparameters) -> LRScheduler:
    """What the schedule means in torch, stepped once an epoch."""
    if hyper.schedule == "cosine":
        return CosineAnnealingLR(optimiser, hyper.epochs, hyper.lr_min)
    if hyper.schedule == "cosine_restarts":
        return CosineAnnealingWarmRestarts(optimiser, hyper.restart_epochs, eta_min=hyper.lr_min)
    return ConstantLR(optimiser, factor=1.0)


def train_plain(variant: str, replica: Replica, train: DigitSet, held_out: DigitSet) -> PlainResult:
    """Train one replica in float64."""
    hyper = replica.hyper
    network = build_network(get_variant(variant), replica.seed, *replica.name, dtype=torch.float64)
    order, dropout, augmentation = (
        torch.Generator().manual_seed(derive(replica.seed, purpose, *replica.name))
        for purpose in ("order", "dropout", "augmentation")
    )
    use_own_dropout(network, dropout)
    optimiser = torch_optimiser(network.parameters(), hyper)
    schedule = torch_schedule(optimiser, hyper)
    samples, held_out_samples = gather(train, replica.train), gather(held_out, replica.held_out)
    grey, held_out_grey = (torch.from_numpy(part.x_NCHW).double() for part in (samples, held_out_samples))
    mean, std = grey.mean(), grey.std()
    x, held_out_x = (grey - mean) / std, (held_out_grey - mean) / std
    target, held_out_target = (torch.from_numpy(part.target_N) for part in (samples, held_out_samples))
    digits, held_out_digits = (torch.from_numpy(part.digits_NC) for part in (samples, held_out_samples))

    result = PlainResult(mean=mean.item(), std=std.item(), weights={}, predictions=torch.empty(0))
    for epoch in range(1, hyper.epochs + 1):
        loss_sum, wrong = 0.0, 0
        network.train()
        order_N = torch.randperm(len(target), generator=order)
        seen_x = augment(x[order_N], hyper.augmentation, (-mean / std).item(), augmentation)
        for batch_x, batch in zip(seen_x.split(hyper.batch_size), order_N.split(hyper.batch_size), strict=True):
            loss, predictions = evaluate(network, batch_x, target[batch], digits[batch], hyper.alpha)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            loss_sum += loss.item() * len(batch)
            wrong += int((predictions != target[batch]).sum())
        schedule.step()
        network.eval()
        with torch.no_grad():
            _, train_predictions = evaluate(network, x, target, digits, hyper.alpha)
            loss, predictions = evaluate(network, held_out_x, held_out_target, held_out_digits, hyper.alpha)
        result.train_loss_E.append(loss_sum / len(target))
        result.train_error_E.append(wrong / len(target))
        result.held_out_loss_E.append(loss.item())
        result.held_out_error_E.append(float((predictions != held_out_target).double().mean()))
        result.train_error_at_E.append(float((train_predictions != target).double().mean()))
        result.predictions = predictions.bool()
        since_best = epoch - 1 - int(np.argmin(result.held_out_error_E))
        if 0 < replica.patience <= since_best and epoch < hyper.epochs:
            result.status = "stopped"
            result.reason = f"stopped after epoch {epoch}: no lower error for {replica.patience} epochs"
            break
    result.weights = {name: weight.detach().clone() for name, weight in network.state_dict().items()}
    return result


def use_own_dropout(network: nn.Module, generator: torch.Generator) -> None:
    """Exchange torch's dropout, which draws from the global generator."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.Dropout):
                setattr(module, name, PlainDropout(child.p, generator))


def evaluate(network: nn.Module, x: Tensor, target: Tensor, digits: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    """The loss of a batch, and 1 for each pair that is called "lesser or equal"."""
    comparison, scores = network(x)
    loss = functional.cross_entropy(comparison, target)
    for digit in (0, 1):
        loss = loss + alpha * functional.cross_entropy(scores[:, digit], digits[:, digit])
    return loss, comparison.argmax(1)
