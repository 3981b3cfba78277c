"""One step of networks of the mini framework, with its own loss and its own gradient descent."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pipeline.data.dataset import Batch
from pipeline.models.hyperparameters import Hyperparameters, Structure
from pipeline.models.objectives import Objective
from pipeline.tasks.disc.mini import MSE, SGD, Linear, ReLU, Sequential, Tanh
from pipeline.tasks.disc.objective import signs
from pipeline.training.schedules import learning_rate
from pipeline.training.step import Step


def network_of(*, nodes: int, layers: int) -> Sequential:
    """(R, B, 2) -> (R, B, 1): as `pipeline.tasks.disc.family.network`, without autograd."""
    widths = [2, *[nodes] * layers]
    hidden = [part for index in range(layers) for part in (Linear(widths[index], widths[index + 1]), ReLU())]
    return Sequential(*hidden, Linear(nodes, 1), Tanh())


class MiniStep(Step):
    """Networks of one structure, each with its own learning rate."""

    def __init__(
        self,
        structure: Structure,
        hypers: Sequence[Hyperparameters],
        weights: Sequence[torch.Generator],
        *,
        objective: Objective,
        dtype: torch.dtype,
        device: str,
    ) -> None:
        self.objective, self.dtype = objective, dtype
        self.network, self.hypers = network_of(**dict(structure)), list(hypers)  # type: ignore[arg-type]
        self.network.initialise(weights, dtype, device)
        self.loss = MSE()
        self.optimiser = SGD(self.network, [hyper.lr for hyper in hypers])

    def begin_epoch(self, epoch: int) -> None:
        """Set the learning rates."""
        self.optimiser.set_rates([learning_rate(hyper, epoch) for hyper in self.hypers])

    def __call__(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Forward, backward and update."""
        loss_R, output = self.evaluate(batch)
        self.network.zero_gradients()
        self.network.backward(self.loss.backward())
        self.optimiser.step()
        return loss_R, output

    def begin_evaluation(self) -> None:
        """Nothing is to be done."""

    def evaluate(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Loss (R,) and output (R, B, 1)."""
        output = self.network.forward(batch["x"])
        return self.loss.forward(output, signs(batch["target"], self.dtype).unsqueeze(-1)), output

    def select(self, keep: Tensor) -> None:
        """Go on with some replicas."""
        self.network.select(keep)
        self.optimiser.select(keep)
        self.hypers = [self.hypers[position] for position in keep.tolist()]

    def state(self, row: int) -> dict[str, Tensor]:
        """Weights (outputs, inputs), as torch has them, and biases of one replica."""
        state = self.network.state(row)
        return {name: tensor.T.contiguous() if name.endswith("weight") else tensor for name, tensor in state.items()}
