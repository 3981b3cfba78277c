"""skorch: a `NeuralNet` with a criterion for both losses, a predefined validation split, and no printing."""

from __future__ import annotations

from typing import Any

import torch
from skorch import NeuralNet
from skorch.callbacks import EpochScoring
from skorch.dataset import Dataset
from skorch.helper import predefined_split
from torch import Tensor, nn

from benchmarks.work import LEARNING_RATE, Curves, Samples, Task, Training
from pipeline.tasks.digit_pairs.objectives import DigitOutput, PairOutput


class AsTuple(nn.Module):
    """A network whose output is a bare tuple of tensors: skorch copes with neither named ones nor gaps."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """The parts of the output."""
        return tuple(part for part in self.network(x) if part is not None)


class TaskLoss(nn.Module):
    """The task's loss; a label is the target and both digits."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.task = task

    def forward(self, output: tuple[Tensor, ...], label_BC: Tensor) -> Tensor:
        """Mean over the batch."""
        kind = DigitOutput if self.task.variant.task == "digits" else PairOutput
        first, second = output if len(output) == 2 else (output[0], None)
        return self.task.loss(kind(first, second), label_BC[:, 0], label_BC[:, 1:])


def build(task: Task, replicas: range) -> Training:
    """The training of one replica."""
    torch.set_num_threads(task.threads)
    train, held_out = (_dataset(part) for part in task.samples(replicas.start))

    def error(net: Any, held_out: Any, label_NC: Any) -> float:
        scores, target = (torch.from_numpy(array) for array in (net.predict_proba(held_out), label_NC[:, 0]))
        return float(task.error(scores, target))

    def run(epochs: int) -> Curves:
        net = NeuralNet(
            AsTuple(task.network(replicas.start)),
            criterion=TaskLoss,
            criterion__task=task,
            optimizer=torch.optim.Adam,
            lr=LEARNING_RATE,
            max_epochs=epochs,
            batch_size=task.batch_size,
            iterator_train__shuffle=True,
            iterator_train__generator=task.generator(replicas.start),
            iterator_valid__batch_size=len(held_out),
            train_split=predefined_split(held_out),
            callbacks=[EpochScoring(error, name="held_out_error", lower_is_better=True)],
            callbacks__print_log=None,
            verbose=0,
        ).fit(train, y=None)
        return Curves(loss_E=net.history[:, "train_loss"], held_out_error_E=net.history[:, "held_out_error"])

    return run


def _dataset(part: Samples) -> Any:
    return Dataset(part.x, torch.cat((part.target.unsqueeze(1), part.digits), 1))
