"""Optimisers over the parameters of many replicas, each with its own hyperparameters.

Every update is that of torch's optimiser of the same name with its other settings at their defaults; weight decay is
L2, added to the gradient. Parameters, gradients and moments are vectors (R * P,) in the same `Layout`; a hyperparameter
is a scalar, or such a vector where replicas differ.

    p  parameters      g  gradient + decay * p      lr  learning rate      t  number of the step, from 1
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import groupby

import torch
from torch import Tensor

from pipeline.models.hyperparameters import Hyperparameters
from pipeline.training.network import Layout
from pipeline.training.schedules import learning_rate

BETA1, BETA2 = 0.9, 0.999
SMOOTHING = 0.99
EPSILON = 1e-8


class ReplicaOptimiser(ABC):
    """What all have in common: hyperparameters by replica, and a state that follows the replicas which stay."""

    moments: int
    """How many vectors (R * P,) are remembered from step to step."""

    def __init__(self, values: Tensor, layout: Layout, hypers: Sequence[Hyperparameters]) -> None:
        self.state = [torch.zeros_like(values) for _ in range(self.moments)]
        self.steps = self.epoch = 0
        self._use(values, layout, list(hypers))

    def _use(self, values: Tensor, layout: Layout, hypers: list[Hyperparameters]) -> None:
        self.values, self.layout, self.hypers = values, layout, hypers
        self.decay = self._numbers([hyper.weight_decay for hyper in hypers])
        self.decays = any(hyper.weight_decay for hyper in hypers)
        programmes = len(
            {(hyper.lr, hyper.schedule, hyper.lr_min, hyper.restart_epochs, hyper.epochs) for hyper in hypers}
        )
        self.lr = torch.empty_like(values) if programmes > 1 else values.new_empty(())
        layout.spread(self._rates(), self.lr)

    def _rates(self) -> list[float]:
        return [learning_rate(hyper, self.epoch) for hyper in self.hypers]

    def _numbers(self, numbers_R: Sequence[float]) -> Tensor:
        target = torch.empty_like(self.values) if len(set(numbers_R)) > 1 else self.values.new_empty(())
        return self.layout.spread(numbers_R, target)

    def begin_epoch(self, epoch: int) -> None:
        """Set the learning rates of an epoch, counted from 0."""
        self.epoch = epoch
        self.layout.spread(self._rates(), self.lr)

    def begin_step(self) -> None:
        """Count a step, and set the numbers that depend on the count."""
        self.steps += 1

    def step(self, gradient: Tensor) -> None:
        """Update the values from their gradient, which may be written over: tensors alone, nothing is counted."""
        if self.decays:
            gradient.addcmul_(self.values, self.decay)
        self.update(gradient)

    @abstractmethod
    def update(self, gradient: Tensor) -> None:
        """Update the values from their decayed gradient."""

    def select(self, values: Tensor, keep: Tensor) -> None:
        """Go on with the replicas at positions `keep`, whose parameters are `values`."""
        self.state = [self.layout.select(vector, keep) for vector in self.state]
        hypers = [self.hypers[position] for position in keep.tolist()]
        self._use(values, Layout(len(keep), self.layout.shapes), hypers)


class SGD(ReplicaOptimiser):
    """p -= lr * b with the momentum buffer b = momentum * b + g."""

    moments = 1

    def _use(self, values: Tensor, layout: Layout, hypers: list[Hyperparameters]) -> None:
        super()._use(values, layout, hypers)
        self.momentum = self._numbers([hyper.momentum for hyper in hypers])

    def update(self, gradient: Tensor) -> None:
        """One step."""
        [buffer] = self.state
        buffer.mul_(self.momentum).add_(gradient)
        self.values.addcmul_(buffer, self.lr, value=-1)


class RMSProp(ReplicaOptimiser):
    """p -= lr * g / (sqrt(s) + eps) with the mean square s = 0.99 * s + 0.01 * g^2 (Tieleman and Hinton, 2012)."""

    moments = 1

    def update(self, gradient: Tensor) -> None:
        """One step."""
        [square] = self.state
        square.mul_(SMOOTHING).addcmul_(gradient, gradient, value=1 - SMOOTHING)
        self.values.addcdiv_(gradient.mul_(self.lr), square.sqrt().add_(EPSILON), value=-1)


class Adam(ReplicaOptimiser):
    """p -= lr * m' / (sqrt(v') + eps) with the bias-corrected moments m', v' of the gradient (Kingma and Ba, 2015)."""

    moments = 2

    def __init__(self, values: Tensor, layout: Layout, hypers: Sequence[Hyperparameters]) -> None:
        super().__init__(values, layout, hypers)
        self.corrections = values.new_ones(2)
        """What the two moments are multiplied by in this step, the second under its root."""

    def begin_step(self) -> None:
        """Count a step and correct the bias of the moments."""
        super().begin_step()
        first, second = 1 - BETA1**self.steps, 1 - BETA2**self.steps
        self.corrections.copy_(torch.tensor([1 / first, second**-0.5], dtype=self.corrections.dtype))

    def update(self, gradient: Tensor) -> None:
        """One step, by elementwise operations."""
        first, second = self.state
        first.lerp_(gradient, 1 - BETA1)
        second.mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
        root = second.sqrt().mul_(self.corrections[1]).add_(EPSILON)
        self.values.addcdiv_(first * (self.lr * self.corrections[0]), root, value=-1)


class FusedAdam(Adam):
    """Adam by torch's fused kernel: one call for all where learning rates are equal, else one for each run of equals.

    On a CPU that takes a quarter of the time. The kernel is called by itself because `torch.optim.Adam` needs longer
    to prepare a call than the kernel needs for a replica.
    """

    def __init__(self, values: Tensor, layout: Layout, hypers: Sequence[Hyperparameters]) -> None:
        self._step_count = torch.zeros(())
        super().__init__(values, layout, hypers)

    def _use(self, values: Tensor, layout: Layout, hypers: list[Hyperparameters]) -> None:
        super()._use(values, layout, hypers)
        self._find_runs()

    def begin_epoch(self, epoch: int) -> None:
        """Set the learning rates of an epoch."""
        super().begin_epoch(epoch)
        self._find_runs()

    def _find_runs(self) -> None:
        rates = self._rates()
        positions = [list(run) for _, run in groupby(range(len(rates)), key=rates.__getitem__)]
        self._runs = [
            (rates[run[0]], rows, [self._parts(vector, rows) for vector in (self.values, *self.state)])
            for run in positions
            for rows in [slice(run[0], run[-1] + 1)]
        ]

    def _parts(self, vector: Tensor, rows: slice) -> list[Tensor]:
        """Some replicas' share of a vector, as views."""
        if rows == slice(0, self.layout.replicas):
            return [vector]
        return [block[rows] for block in self.layout.split(vector)]

    def begin_step(self) -> None:
        """Count a step; the kernel corrects the bias by itself."""
        self.steps += 1
        self._step_count.fill_(self.steps)

    def update(self, gradient: Tensor) -> None:
        """One step."""
        for lr, rows, (values, first, second) in self._runs:
            torch._fused_adam_(
                values,
                self._parts(gradient, rows),
                first,
                second,
                [],
                [self._step_count] * len(values),
                lr=lr,
                beta1=BETA1,
                beta2=BETA2,
                weight_decay=0.0,
                eps=EPSILON,
                amsgrad=False,
                maximize=False,
            )


def make_optimiser(
    values: Tensor, layout: Layout, hypers: Sequence[Hyperparameters], *, fused: bool = True
) -> ReplicaOptimiser:
    """The optimiser that all replicas share by name, each with its own numbers; `fused` where that is faster."""
    fused_adam = FusedAdam if values.device.type == "cpu" and fused else Adam
    by_name: dict[str, type[ReplicaOptimiser]] = {"adam": fused_adam, "sgd": SGD, "rmsprop": RMSProp}
    [name] = {hyper.optimiser for hyper in hypers}
    return by_name[name](values, layout, hypers)
