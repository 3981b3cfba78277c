"""The reference: one training as an ordinary PyTorch loop, which the replica engine must equal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import SGD, Adam, Optimizer, RMSprop
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, CosineAnnealingWarmRestarts, LRScheduler

from pipeline import mini
from pipeline.base.seeds import derive
from pipeline.data.pools import Pool
from pipeline.models.hyperparameters import Hyperparameters
from pipeline.models.initial import build_network, weights_generator
from pipeline.models.objectives import Digits, Objective, OneLogit, Square, TwoLogits, TwoSigmoids
from pipeline.models.registry import get_variant
from pipeline.training.augmentation import augment
from pipeline.training.layers import keep_mask
from pipeline.training.plan import Outcome, Replica
from tests.mini.twins import twin


class Batch(NamedTuple):
    """Samples of one replica."""

    x: Tensor
    target: Tensor
    digits: Tensor

    def at(self, positions: Tensor) -> Batch:
        return Batch(self.x[positions], self.target[positions], self.digits[positions])


class Reading(NamedTuple):
    """What a network makes of a batch."""

    loss: Tensor
    answers: Tensor
    digits: Tensor | None
    """(N, 2) as they were read, by a network that is trained to read them."""


@dataclass(kw_only=True)
class PlainResult:
    """Curves by epoch, and the end."""

    train_loss_E: list[float] = field(default_factory=list)
    train_error_E: list[float] = field(default_factory=list)
    held_out_loss_E: list[float] = field(default_factory=list)
    held_out_error_E: list[float] = field(default_factory=list)
    held_out_digit_error_E: list[float] = field(default_factory=list)
    train_error_at_E: list[float] = field(default_factory=list)
    train_digit_error_at_E: list[float] = field(default_factory=list)
    status: str = "complete"
    reason: str = ""
    mean: float
    std: float
    weights: dict[str, Tensor]
    answers: Tensor

    def assert_equals(self, outcome: Outcome, tolerance: float = 1e-9) -> None:
        """Everything that the engine reports of a training is the same within `tolerance`."""
        assert (outcome.status, outcome.reason) == (self.status, self.reason)
        for name in (*CURVES, "mean", "std"):
            expected = getattr(self, name)
            np.testing.assert_allclose(getattr(outcome, name), expected, tolerance, tolerance, err_msg=name)
        epochs = len(self.train_loss_E)
        for found, expected_E in (
            (outcome.train_error_at, self.train_error_at_E),
            (outcome.train_digit_error_at, self.train_digit_error_at_E),
        ):
            for epoch, error in found.items():
                assert abs(error - expected_E[epoch - 1]) <= tolerance
        assert outcome.train_error == outcome.train_error_at[epochs]
        read = outcome.train_error_at if self.train_digit_error_at_E else {}
        assert outcome.train_digit_error_at.keys() == read.keys()
        if outcome.weights is not None:
            assert list(outcome.weights) == list(self.weights)
            for name, weight in self.weights.items():
                kept = weight.float() if weight.is_floating_point() else weight
                torch.testing.assert_close(torch.from_numpy(outcome.weights[name]), kept, rtol=1e-6, atol=1e-7)
            assert outcome.answers_M is not None
            assert outcome.answers_M.tolist() == self.answers.tolist()


CURVES = ("train_loss_E", "train_error_E", "held_out_loss_E", "held_out_error_E", "held_out_digit_error_E")
"""Of an outcome, as of a `PlainResult`."""


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


def train_plain(variant: str, replica: Replica, train: Pool, held_out: Pool) -> PlainResult:
    """Train one replica in float64."""
    hyper = replica.hyper
    network, read = plain_network(variant, replica), READINGS[type(get_variant(variant).objective)]
    alpha = hyper.alpha if get_variant(variant).auxiliary_loss else None
    order, dropout, augmentation = (
        torch.Generator().manual_seed(derive(replica.seed, purpose, *replica.name))
        for purpose in ("order", "dropout", "augmentation")
    )
    use_own_dropout(network, dropout)
    optimiser = torch_optimiser(network.parameters(), hyper)
    schedule = torch_schedule(optimiser, hyper)
    samples, held_out_samples = gather(train, replica.train), gather(held_out, replica.held_out)
    mean, std = {
        "standardised": (samples.x.mean(), samples.x.std()),
        "unit": (torch.tensor(0.0), torch.tensor(255.0)),
        "grey": (torch.tensor(0.0), torch.tensor(1.0)),
    }[hyper.inputs]
    samples, held_out_samples = (part._replace(x=(part.x - mean) / std) for part in (samples, held_out_samples))

    result = PlainResult(mean=mean.item(), std=std.item(), weights={}, answers=torch.empty(0))
    for epoch in range(1, hyper.epochs + 1):
        loss_sum, wrong = 0.0, 0.0
        network.train()
        order_N = torch.randperm(len(samples.target), generator=order)
        shuffled = samples.at(order_N)
        shuffled = shuffled._replace(x=augment(shuffled.x, hyper.augmentation, (-mean / std).item(), augmentation))
        for positions in batches(len(order_N), hyper.batch_size, network):
            batch = shuffled.at(positions)
            reading = read(network(batch.x), batch, alpha)
            optimiser.zero_grad()
            reading.loss.backward()
            optimiser.step()
            loss_sum += reading.loss.item() * len(positions)
            wrong += error(reading.answers, batch.target) * len(positions)
        schedule.step()
        network.eval()
        with torch.no_grad():
            of_train = read(network(samples.x), samples, alpha)
            found = read(network(held_out_samples.x), held_out_samples, alpha)
        result.train_loss_E.append(loss_sum / len(order_N))
        result.train_error_E.append(wrong / len(order_N))
        result.held_out_loss_E.append(found.loss.item())
        result.held_out_error_E.append(error(found.answers, held_out_samples.target))
        result.train_error_at_E.append(error(of_train.answers, samples.target))
        if found.digits is not None and of_train.digits is not None:
            result.held_out_digit_error_E.append(error(found.digits, held_out_samples.digits))
            result.train_digit_error_at_E.append(error(of_train.digits, samples.digits))
        result.answers = found.answers
        since_best = epoch - 1 - int(np.argmin(result.held_out_error_E))
        if 0 < replica.patience <= since_best and epoch < hyper.epochs:
            result.status = "stopped"
            result.reason = f"stopped after epoch {epoch}: no lower error for {replica.patience} epochs"
            break
    result.weights = plain_weights(variant, network)
    return result


def gather(pool: Pool, positions: np.ndarray) -> Batch:
    """Samples as they are in the pool."""
    samples = pool.gather(positions)
    return Batch(*map(torch.from_numpy, (samples.x.astype(np.float64), samples.target_N, samples.digits_NC)))


def error(found: Tensor, expected: Tensor) -> float:
    """Share of those that differ."""
    return float((found != expected).double().mean())


def batches(count: int, size: int, network: nn.Module) -> Sequence[Tensor]:
    """Positions of each batch; batch normalisation cannot learn from one sample, which joins those before it."""
    parts = [*torch.arange(count).split(size)]
    normalised = any("BatchNorm" in type(layer).__name__ for layer in network.modules())
    if normalised and len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [torch.cat(parts[-2:])]
    return parts


def plain_network(variant: str, replica: Replica) -> nn.Module:
    """An ordinary network with the replica's initial weights."""
    row, structure = get_variant(variant), replica.hyper.structure
    network = row.build(structure)
    if isinstance(network, mini.Sequential):
        network.initialise([weights_generator(replica.seed, *replica.name)], torch.float64)
        return twin(network, 0)
    return build_network(row, replica.seed, *replica.name, structure=structure, dtype=torch.float64)


def plain_weights(variant: str, network: nn.Module) -> dict[str, Tensor]:
    """Copies, laid out as the variant's own network has them: those of `pipeline.mini` are (inputs, outputs)."""
    turned = isinstance(get_variant(variant).build(), mini.Sequential)
    return {name: (x.t() if turned else x).detach().clone() for name, x in network.state_dict().items()}


def use_own_dropout(network: nn.Module, generator: torch.Generator) -> None:
    """Exchange torch's dropout, which draws from the global generator."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.Dropout):
                setattr(module, name, PlainDropout(child.p, generator))


def of_comparison(
    loss: Callable[[Tensor, Tensor], Tensor], answer: Callable[[Tensor], Tensor]
) -> Callable[[Any, Batch, float | None], Reading]:
    """How a pair model is read: its comparison, and the digits if an auxiliary loss trains them."""

    def read(output: Any, batch: Batch, alpha: float | None) -> Reading:
        comparison, scores = output
        total = loss(comparison, batch.target)
        if alpha is None:
            return Reading(total, answer(comparison), None)
        for digit in (0, 1):
            total = total + alpha * functional.cross_entropy(scores[:, digit], batch.digits[:, digit])
        return Reading(total, answer(comparison), scores.argmax(-1))

    return read


def on_two_sigmoids(comparison: Tensor, target: Tensor) -> Tensor:
    return functional.binary_cross_entropy(comparison.sigmoid(), functional.one_hot(target, 2).double())


def on_one_logit(comparison: Tensor, target: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(comparison[:, 0], target.double())


def of_digits(output: Any, batch: Batch, alpha: float | None) -> Reading:
    """Both digits of all pairs count alike, for the auxiliary classifier too; what was read is compared."""
    scores, auxiliary = output
    loss = functional.cross_entropy(scores.reshape(-1, 10), batch.digits.reshape(-1))
    if auxiliary is not None:
        assert alpha is not None
        loss = loss + alpha * functional.cross_entropy(auxiliary.reshape(-1, 10), batch.digits.reshape(-1))
    digits = scores.argmax(-1)
    return Reading(loss, digits[:, 0] <= digits[:, 1], digits)


def of_points(output: Tensor, batch: Batch, _alpha: float | None) -> Reading:
    wanted = torch.where(batch.target == 1, 1.0, -1.0).double()
    return Reading(functional.mse_loss(output[:, 0], wanted), output[:, 0] > 0, None)


READINGS: dict[type[Objective], Callable[[Any, Batch, float | None], Reading]] = {
    TwoLogits: of_comparison(functional.cross_entropy, lambda comparison: comparison.argmax(1) == 1),
    TwoSigmoids: of_comparison(on_two_sigmoids, lambda comparison: comparison.argmax(1) == 1),
    OneLogit: of_comparison(on_one_logit, lambda comparison: comparison[:, 0] > 0),
    Digits: of_digits,
    Square: of_points,
}
"""What each objective means, written out."""
