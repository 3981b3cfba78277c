from __future__ import annotations

import pytest
import torch
from torch import nn

from pipeline.training.optimiser import ReplicaAdam

LR = [1e-2, 1e-2, 3e-2, 1e-3, 1e-3, 1e-2]
SHAPES = [(3,), (2, 4)]


class Pair:
    """The same replicas under `ReplicaAdam` and each under an ordinary Adam of its own."""

    def __init__(self) -> None:
        self.generator = torch.Generator().manual_seed(0)
        self.stacked = [nn.Parameter(self.draw(len(LR), *shape)) for shape in SHAPES]
        self.alone = [[nn.Parameter(parameter.detach()[row].clone()) for parameter in self.stacked] for row in range(6)]
        self.together = ReplicaAdam(self.stacked, LR)
        self.adams = [
            torch.optim.Adam(parameters, lr=lr, fused=False, foreach=False)
            for parameters, lr in zip(self.alone, LR, strict=True)
        ]

    def draw(self, *shape: int) -> torch.Tensor:
        return torch.randn(shape, dtype=torch.float64, generator=self.generator)

    def step(self) -> None:
        for index, parameter in enumerate(self.stacked):
            parameter.grad = self.draw(*parameter.shape)
            for row, parameters in enumerate(self.alone):
                parameters[index].grad = parameter.grad[row].clone()
        self.together.step()
        for adam in self.adams:
            adam.step()

    def select(self, keep: list[int]) -> None:
        rows = torch.tensor(keep)
        for parameter in self.stacked:
            parameter.data = parameter.data[rows]
        self.together.select(rows)
        self.alone = [self.alone[row] for row in keep]
        self.adams = [self.adams[row] for row in keep]

    def assert_equal(self) -> None:
        for row, parameters in enumerate(self.alone):
            for stacked, alone in zip(self.stacked, parameters, strict=True):
                torch.testing.assert_close(stacked.detach()[row], alone.detach(), rtol=0, atol=1e-12)


def test_steps_equal_an_adam_for_each_replica() -> None:
    pair = Pair()
    for _ in range(5):
        pair.step()
    pair.assert_equal()


@pytest.mark.parametrize(
    "selections",
    [[[0, 1, 2, 3, 4]], [[2]], [[0, 1]], [[0, 2, 5]], [[5, 0, 3]], [[0, 2, 3, 5], [1, 2, 3], [0, 2], [1]]],
    ids=str,
)
def test_moments_and_step_counts_survive_selections(selections: list[list[int]]) -> None:
    pair = Pair()
    for keep in selections:
        for _ in range(3):
            pair.step()
        pair.select(keep)
    for _ in range(3):
        pair.step()
        pair.assert_equal()


def test_gradients_are_cleared_by_a_step() -> None:
    pair = Pair()
    pair.step()
    assert all(parameter.grad is None for parameter in pair.stacked)
