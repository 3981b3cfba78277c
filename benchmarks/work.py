"""The work that every contestant does: one training, its data, its loss and its FLOPs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from pipeline.base.seeds import derive
from pipeline.data.config import DataConfig
from pipeline.data.dataset import Dataset, Indices
from pipeline.data.rounds import draw_samples
from pipeline.models.hyperparameters import Hyperparameters
from pipeline.models.initial import build_network
from pipeline.models.objectives import Objective
from pipeline.models.variant import Variant
from pipeline.tasks.digit_pairs.objectives import (
    DigitOutput,
    OneLogit,
    PairObjective,
    PairOutput,
    TwoLogits,
    TwoSigmoids,
)
from pipeline.tasks.registry import get_variant
from pipeline.tasks.subjects import load_splits

SEED = 0
LEARNING_RATE = 1e-3
"""Of Adam, for all contestants and models, whatever their presets."""
HEAVY_FLOPS = 20e9
"""An epoch of one replica from which a network counts as heavy: it is measured at fewer batch sizes."""
GEMM_SIZE = 2048
"""Rows and columns of the square float32 matrices whose product gives the peak."""
GEMM_FLOPS = 2 * GEMM_SIZE**3


class Samples(NamedTuple):
    """The pairs of one replica, standardised."""

    x: Tensor
    """(N, 2, 14, 14)"""
    target: Tensor
    """(N,) 1 if the first digit is lesser than or equal to the second."""
    digits: Tensor
    """(N, 2)"""


@dataclass(frozen=True, kw_only=True)
class Curves:
    """What a training returns, means over its replicas: the proof that it trained."""

    loss_E: list[float]
    """Running training loss of each epoch."""
    held_out_error_E: list[float]
    """On the held-out pairs after each epoch."""


Output = PairOutput | DigitOutput
"""Of a network; the answer is read from its first part."""
Training = Callable[[int], Curves]
"""Trains for a number of epochs, each time anew from the initial weights."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is trained. Replica r has the same pairs and initial weights in every contestant."""

    model: str
    batch_size: int
    train: Dataset
    held_out: Dataset
    pairs: int = 1000
    """Training pairs a replica."""
    held_out_pairs: int = 100
    threads: int = 1
    """Of torch, for the contestants that train one replica in one process."""

    @cached_property
    def variant(self) -> Variant:
        """The model's row in the registry."""
        return get_variant(self.model)

    @property
    def auxiliary(self) -> bool:
        """Whether there is an auxiliary loss."""
        return "alpha" in self.variant.objective.hyperparameters

    @property
    def alpha(self) -> float:
        """Weight of the auxiliary loss, 0 where there is none."""
        return self.variant.preset.alpha

    def hyper(self, epochs: int) -> Hyperparameters:
        """The configuration of a training of so many epochs: Adam without schedule and decay, whatever the preset."""
        preset = self.variant.preset
        return Hyperparameters(
            lr=LEARNING_RATE,
            batch_size=self.batch_size,
            epochs=epochs,
            alpha=preset.alpha,
            structure=preset.structure,
        )

    def pairs_of(self, replica: int) -> tuple[Indices, Indices]:
        """The training and the held-out pairs of a replica."""
        train = draw_samples("train", self.train, self.pairs, seed=SEED, round_=replica)
        return train, draw_samples("held out", self.held_out, self.held_out_pairs, seed=SEED, round_=replica)

    def samples(self, replica: int) -> tuple[Samples, Samples]:
        """The training and the held-out samples of a replica, standardised by the former."""
        grey = []
        for data, pairs in zip((self.train, self.held_out), self.pairs_of(replica), strict=True):
            part = data.gather(pairs)
            grey.append(Samples(*(torch.from_numpy(part[name]) for name in Samples._fields)))
        mean, std = grey[0].x.mean(), grey[0].x.std()
        train, held_out = (part._replace(x=(part.x - mean) / std) for part in grey)
        return train, held_out

    def network(self, replica: int) -> nn.Module:
        """A replica's network with its initial weights."""
        return build_network(self.variant, SEED, *replica_name(replica))

    def generator(self, replica: int) -> torch.Generator:
        """What a replica's order of samples is drawn from."""
        return torch.Generator().manual_seed(derive(SEED, "order", *replica_name(replica)))

    def loss(self, output: Output, target: Tensor, digits: Tensor) -> Tensor:
        """What the variant's objective says of one replica's batch, as anybody would write it."""
        if isinstance(output, DigitOutput):
            loss = _digit_loss(output.digits, digits)
            return loss if output.auxiliary is None else loss + self.alpha * _digit_loss(output.auxiliary, digits)
        loss = COMPARISON_LOSSES[type(self.variant.objective)](output.comparison, target)
        if self.auxiliary and output.digits is not None:
            first, second = (functional.cross_entropy(output.digits[:, digit], digits[:, digit]) for digit in (0, 1))
            loss = loss + self.alpha * (first + second)
        return loss

    def error(self, scores: Tensor, target: Tensor) -> Tensor:
        """Share of wrong answers, given the first part of the output of all held-out pairs."""
        objective = self.variant.objective
        if isinstance(objective, PairObjective):
            answers = objective.answers(scores)
        else:
            answers = objective.predict(DigitOutput(scores, None))["answer"]
        return (answers != target).float().mean()


def _digit_loss(scores: Tensor, digits: Tensor) -> Tensor:
    """Over both digits of all pairs."""
    return functional.cross_entropy(scores.flatten(0, 1), digits.flatten())


def _two_sigmoids(comparison: Tensor, target: Tensor) -> Tensor:
    wanted = functional.one_hot(target, 2).to(comparison.dtype)
    return functional.binary_cross_entropy_with_logits(comparison, wanted)


def _one_logit(comparison: Tensor, target: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(comparison.squeeze(-1), target.to(comparison.dtype))


COMPARISON_LOSSES: dict[type[Objective], Callable[[Tensor, Tensor], Tensor]] = {
    TwoLogits: functional.cross_entropy,
    TwoSigmoids: _two_sigmoids,
    OneLogit: _one_logit,
}
"""By objective, from the comparison and the target."""


def replica_name(replica: int) -> tuple[str, int]:
    """What a replica's generators are named after."""
    return "benchmark", replica


def load_digits(cache_dir: Path) -> tuple[Dataset, Dataset]:
    """The training and the test digits of `mnist5k`, which needs no network."""
    splits = load_splits(DataConfig(cache_dir=cache_dir))
    return splits.train, splits.test


def flops_per_epoch(task: Task) -> float:
    """Of one replica: forward and backward of the ordinary network, no gradient for the input."""
    network = task.network(0)
    network.train()
    x = torch.zeros(2, 2, 14, 14)  # two samples, because batch normalisation refuses one
    with FlopCounterMode(display=False) as counter:
        output = network(x)
        task.loss(output, torch.zeros(2, dtype=torch.int64), torch.zeros(2, 2, dtype=torch.int64)).backward()
    return float(counter.get_total_flops() / len(x) * task.pairs)


def has_convolutions(task: Task) -> bool:
    """Whether any layer is a convolution."""
    with torch.device("meta"):
        return any(isinstance(layer, nn.Conv2d) for layer in task.variant.build().modules())
