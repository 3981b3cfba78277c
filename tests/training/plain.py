"""The reference: one training as an ordinary PyTorch loop, which the replica engine must equal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from sklearn import metrics as sklearn
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import SGD, Adam, Optimizer, RMSprop
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, CosineAnnealingWarmRestarts, LRScheduler

from pipeline.base.seeds import derive
from pipeline.data.dataset import Dataset
from pipeline.models.hyperparameters import Hyperparameters
from pipeline.models.initial import build_network, weights_generator
from pipeline.models.objectives import CrossEntropy, Objective, SquaredError
from pipeline.models.variant import Variant
from pipeline.tasks.digit_pairs.objectives import Digits, OneLogit, TwoLogits, TwoSigmoids
from pipeline.tasks.disc.objective import Square
from pipeline.tasks.disc.step import MiniStep, network_of
from pipeline.training.layers import keep_mask
from pipeline.training.plan import Outcome, Replica
from tests.tasks.disc.mini.twins import twin


class Batch(NamedTuple):
    """Samples of one replica."""

    x: Tensor
    target: Tensor
    digits: Tensor | None
    """Of pairs alone."""

    def at(self, positions: Tensor) -> Batch:
        digits = None if self.digits is None else self.digits[positions]
        return Batch(self.x[positions], self.target[positions], digits)


class Reading(NamedTuple):
    """What a network makes of a batch."""

    loss: Tensor
    predictions: dict[str, Tensor]
    """The `answer`, with the `digits` (N, 2) of a network that is trained to read them; or the `value`."""


@dataclass(kw_only=True)
class PlainResult:
    """Curves by epoch, and the end."""

    curves: dict[str, list[float]] = field(default_factory=dict)
    """As an `Outcome` has them."""
    train_at_E: list[dict[str, float]] = field(default_factory=list)
    """The metrics on all training samples after every epoch."""
    status: str = "complete"
    reason: str = ""
    mean: Tensor
    std: Tensor
    weights: dict[str, Tensor]
    predictions: dict[str, Tensor] = field(default_factory=dict)

    def record(self, **values: float) -> None:
        """Another epoch."""
        for name, value in values.items():
            self.curves.setdefault(name, []).append(value)

    def assert_equals(self, outcome: Outcome, tolerance: float = 1e-9) -> None:
        """Everything that the engine reports of a training is the same within `tolerance`."""
        assert (outcome.status, outcome.reason) == (self.status, self.reason)
        assert_curves_close(outcome.curves, self.curves, tolerance)
        for found, expected in ((outcome.mean, self.mean), (outcome.std, self.std)):
            assert found is not None
            np.testing.assert_allclose(found, expected.expand(found.shape), tolerance, tolerance)
        epochs = len(self.train_at_E)
        assert outcome.epochs == epochs
        for epoch, measured in outcome.train_at.items():
            assert measured == pytest.approx(self.train_at_E[epoch - 1], rel=tolerance, abs=tolerance)
        assert {name: outcome.train(name) for name in outcome.train_at[epochs]} == outcome.train_at[epochs]
        if outcome.weights is not None:
            assert list(outcome.weights) == list(self.weights)
            for name, weight in self.weights.items():
                kept = weight.float() if weight.is_floating_point() else weight
                torch.testing.assert_close(torch.from_numpy(outcome.weights[name]), kept, rtol=1e-6, atol=1e-7)
            assert outcome.predictions.keys() == self.predictions.keys()
            for name, part in self.predictions.items():
                torch.testing.assert_close(torch.from_numpy(outcome.predictions[name]), part, rtol=1e-9, atol=1e-9)


def assert_curves_close(
    some: Mapping[str, Sequence[float]], others: Mapping[str, Sequence[float]], tolerance: float = 1e-9
) -> None:
    """The same values were measured, and they are the same within `tolerance`."""
    assert some.keys() == others.keys()
    for name, values in some.items():
        np.testing.assert_allclose(values, others[name], tolerance, tolerance, err_msg=name)


def scale_of(outcome: Outcome) -> tuple[float, float]:
    """By which the inputs of all samples were scaled."""
    assert outcome.mean is not None
    assert outcome.std is not None
    return outcome.mean.item(), outcome.std.item()


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


def train_plain(variant: Variant, replica: Replica, train: Dataset, held_out: Dataset) -> PlainResult:
    """Train one replica in float64."""
    hyper = replica.hyper
    network, objective = plain_network(variant, replica), type(variant.objective)
    alpha = hyper.alpha if "alpha" in variant.objective.hyperparameters else None
    order, dropout, augmentation = (
        torch.Generator().manual_seed(derive(replica.seed, purpose, *replica.name))
        for purpose in ("order", "dropout", "augmentation")
    )
    use_own_dropout(network, dropout)
    optimiser = torch_optimiser(network.parameters(), hyper)
    schedule = torch_schedule(optimiser, hyper)
    samples, held_out_samples = gather(train, replica.train), gather(held_out, replica.held_out)
    read = of_values(samples.target) if objective is SquaredError else READINGS[objective]
    by_feature = objective in (CrossEntropy, SquaredError)
    mean, std = {
        "standardised": standardised_features(samples.x) if by_feature else (samples.x.mean(), samples.x.std()),
        "unit": (torch.tensor(0.0), torch.tensor(255.0)),
        "grey": (torch.tensor(0.0), torch.tensor(1.0)),
    }[hyper.inputs]
    samples, held_out_samples = (part._replace(x=(part.x - mean) / std) for part in (samples, held_out_samples))

    first = variant.metric
    result = PlainResult(mean=mean, std=std, weights={})
    for epoch in range(1, hyper.epochs + 1):
        loss_sum, readings = 0.0, []
        network.train()
        order_N = torch.randperm(len(samples.target), generator=order)
        shuffled = samples.at(order_N)
        if hyper.augmentation != "none":
            augment = variant.transforms.augmentations[hyper.augmentation]
            shuffled = shuffled._replace(x=augment(shuffled.x, (-mean / std).item(), augmentation))
        for positions in batches(len(order_N), hyper.batch_size, network):
            batch = shuffled.at(positions)
            reading = read(network(batch.x), batch, alpha)
            optimiser.zero_grad()
            reading.loss.backward()
            optimiser.step()
            loss_sum += reading.loss.item() * len(positions)
            readings.append(reading.predictions)
        schedule.step()
        network.eval()
        with torch.no_grad():
            of_train = read(network(samples.x), samples, alpha)
            found = read(network(held_out_samples.x), held_out_samples, alpha)
        learning = {name: torch.cat([part[name] for part in readings]) for name in found.predictions}
        result.record(
            train_loss=loss_sum / len(order_N),
            held_out_loss=found.loss.item(),
            **{f"train_{first.name}": measured(variant, learning, shuffled)[first.name]},
            **{
                f"held_out_{name}": value
                for name, value in measured(variant, found.predictions, held_out_samples).items()
            },
        )
        result.train_at_E.append(measured(variant, of_train.predictions, samples))
        result.predictions = found.predictions
        since_best = epoch - 1 - int(np.argmin(result.curves[f"held_out_{first.name}"]))
        if 0 < replica.patience <= since_best and epoch < hyper.epochs:
            result.status = "stopped"
            result.reason = f"stopped after epoch {epoch}: no lower {first.title} for {replica.patience} epochs"
            break
    result.weights = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
    return result


def standardised_features(x_ND: Tensor) -> tuple[Tensor, Tensor]:
    """What is taken from each feature, and what it is divided by; one that is constant is only shifted."""
    std_D = x_ND.std(0)
    std_D[std_D == 0] = 1
    return x_ND.mean(0), std_D


def gather(data: Dataset, indices: np.ndarray) -> Batch:
    """Samples as they are in the data set."""
    samples = {name: torch.from_numpy(part) for name, part in data.gather(indices).items()}
    return Batch(samples["x"].double(), samples["target"], samples.get("digits"))


def measured(variant: Variant, predictions: Mapping[str, Tensor], batch: Batch) -> dict[str, float]:
    """The metrics of a variant by name."""
    return {metric.name: MEASURES[metric.name](predictions, batch) for metric in variant.metrics}


def share_that_differs(found: Tensor, expected: Tensor | None) -> float:
    assert expected is not None
    return float((found != expected).double().mean())


def mean_share_that_differs(found: Tensor, expected: Tensor) -> float:
    """The mean over the classes that there are."""
    return float(np.mean([share_that_differs(found[expected == true], true) for true in expected.unique()]))


MEASURES: dict[str, Callable[[Mapping[str, Tensor], Batch], float]] = {
    "error": lambda found, batch: share_that_differs(found["answer"], batch.target),
    "digit_error": lambda found, batch: share_that_differs(found["digits"], batch.digits),
    "balanced_error": lambda found, batch: mean_share_that_differs(found["answer"], batch.target),
    "log_loss": lambda found, batch: functional.nll_loss(found["log_probabilities"], batch.target).item(),
    "rmse": lambda found, batch: sklearn.root_mean_squared_error(batch.target, found["value"].detach()),
    "mae": lambda found, batch: sklearn.mean_absolute_error(batch.target, found["value"].detach()),
    "r2": lambda found, batch: sklearn.r2_score(batch.target, found["value"].detach()),
}
"""What each metric means."""


def batches(count: int, size: int, network: nn.Module) -> Sequence[Tensor]:
    """Indices of each batch; batch normalisation cannot learn from one sample, which joins those before it."""
    parts = [*torch.arange(count).split(size)]
    normalised = any("BatchNorm" in type(layer).__name__ for layer in network.modules())
    if normalised and len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [torch.cat(parts[-2:])]
    return parts


def plain_network(variant: Variant, replica: Replica) -> nn.Module:
    """An ordinary network with the replica's initial weights."""
    structure = replica.hyper.structure
    if variant.make_step is MiniStep:
        network = network_of(**dict(structure))  # type: ignore[arg-type]
        network.initialise([weights_generator(replica.seed, *replica.name)], torch.float64)
        return twin(network, 0)
    return build_network(variant, replica.seed, *replica.name, structure=structure, dtype=torch.float64)


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
            return Reading(total, {"answer": answer(comparison)})
        assert batch.digits is not None
        for digit in (0, 1):
            total = total + alpha * functional.cross_entropy(scores[:, digit], batch.digits[:, digit])
        return Reading(total, {"answer": answer(comparison), "digits": scores.argmax(-1)})

    return read


def on_two_sigmoids(comparison: Tensor, target: Tensor) -> Tensor:
    return functional.binary_cross_entropy(comparison.sigmoid(), functional.one_hot(target, 2).double())


def on_one_logit(comparison: Tensor, target: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(comparison[:, 0], target.double())


def of_digits(output: Any, batch: Batch, alpha: float | None) -> Reading:
    """Both digits of all pairs count alike, for the auxiliary classifier too; what was read is compared."""
    scores, auxiliary = output
    assert batch.digits is not None
    loss = functional.cross_entropy(scores.reshape(-1, 10), batch.digits.reshape(-1))
    if auxiliary is not None:
        assert alpha is not None
        loss = loss + alpha * functional.cross_entropy(auxiliary.reshape(-1, 10), batch.digits.reshape(-1))
    digits = scores.argmax(-1)
    return Reading(loss, {"answer": digits[:, 0] <= digits[:, 1], "digits": digits})


def of_points(output: Tensor, batch: Batch, _alpha: float | None) -> Reading:
    wanted = torch.where(batch.target == 1, 1.0, -1.0).double()
    return Reading(functional.mse_loss(output[:, 0], wanted), {"answer": output[:, 0] > 0})


def of_classes(output: Tensor, batch: Batch, _alpha: float | None) -> Reading:
    found = {"answer": output.argmax(1), "log_probabilities": output.log_softmax(1)}
    return Reading(functional.cross_entropy(output, batch.target), found)


def of_values(train_N: Tensor) -> Callable[[Any, Batch, float | None], Reading]:
    """How values are read where these are learned from."""
    centre, scale = train_N.double().mean(), train_N.double().std()

    def read(output: Tensor, batch: Batch, _alpha: float | None) -> Reading:
        wanted = (batch.target.double() - centre) / scale
        return Reading(functional.mse_loss(output[:, 0], wanted), {"value": centre + scale * output[:, 0]})

    return read


READINGS: dict[type[Objective], Callable[[Any, Batch, float | None], Reading]] = {
    CrossEntropy: of_classes,
    TwoLogits: of_comparison(functional.cross_entropy, lambda comparison: comparison.argmax(1) == 1),
    TwoSigmoids: of_comparison(on_two_sigmoids, lambda comparison: comparison.argmax(1) == 1),
    OneLogit: of_comparison(on_one_logit, lambda comparison: comparison[:, 0] > 0),
    Digits: of_digits,
    Square: of_points,
}
"""What each objective means that takes nothing from its samples, written out."""
