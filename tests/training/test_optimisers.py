"""Every optimiser does to each replica what torch's optimiser of the same name does to it alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from pipeline.models.hyperparameters import OPTIMISERS, SCHEDULES, Hyperparameters
from pipeline.training.network import Layout
from pipeline.training.optimisers import SGD, Adam, FusedAdam, ReplicaOptimiser, RMSProp, make_optimiser
from pipeline.training.schedules import learning_rate
from tests.training.plain import torch_optimiser, torch_schedule

SHAPES = [torch.Size([3]), torch.Size([2, 4])]
"""Parameters of a replica."""
LR = (1e-2, 1e-2, 3e-2, 1e-3, 1e-3, 1e-2)
DECAY = (0.0, 0.1, 0.1, 0.0, 1e-3, 1.0)
MOMENTUM = (0.9, 0.0, 0.5, 0.9, 0.9, 1.0)
SELECTIONS = ([[0, 1, 2, 3, 4]], [[2]], [[0, 1]], [[0, 2, 5]], [[5, 0, 3]], [[0, 2, 3, 5], [1, 2, 3], [0, 2], [1]])


def make_hypers(optimiser: str, schedule: str = "constant", *, decay: bool = True) -> list[Hyperparameters]:
    """Six replicas; some neighbours share a learning rate."""
    return [
        Hyperparameters(
            lr=lr,
            batch_size=1,
            epochs=12,
            optimiser=optimiser,
            momentum=momentum if optimiser == "sgd" else 0.0,
            weight_decay=weight_decay if decay else 0.0,
            schedule=schedule,
            lr_min=5e-4,
            restart_epochs=3 + index // 2,
        )
        for index, (lr, weight_decay, momentum) in enumerate(zip(LR, DECAY, MOMENTUM, strict=True))
    ]


class Pair:
    """The same replicas under one of our optimisers, and each under torch's of its own."""

    def __init__(self, hypers: list[Hyperparameters], kind: type[ReplicaOptimiser] | None = None) -> None:
        self.generator = torch.Generator().manual_seed(0)
        layout = Layout(len(hypers), SHAPES)
        blocks = self.draw(len(hypers))
        self.alone = [[block[row].clone() for block in blocks] for row in range(len(hypers))]
        self.together = (kind or make_optimiser)(flat(blocks), layout, hypers)
        self.optimisers = [torch_optimiser(values, hyper) for values, hyper in zip(self.alone, hypers, strict=True)]
        self.schedules = [torch_schedule(*pair) for pair in zip(self.optimisers, hypers, strict=True)]
        self.epochs = 0

    def draw(self, count: int) -> list[Tensor]:
        return [torch.randn(count, *shape, dtype=torch.float64, generator=self.generator) for shape in SHAPES]

    def train_epoch(self, steps: int = 3) -> None:
        """Take some steps, with new gradients in each."""
        self.together.begin_epoch(self.epochs)
        for _ in range(steps):
            blocks = self.draw(len(self.alone))
            for row, (values, optimiser) in enumerate(zip(self.alone, self.optimisers, strict=True)):
                for value, block in zip(values, blocks, strict=True):
                    value.grad = block[row].clone()
                optimiser.step()
            self.together.begin_step()
            self.together.step(flat(blocks))
        for schedule in self.schedules:
            schedule.step()
        self.epochs += 1

    def select(self, keep: list[int]) -> None:
        rows = torch.tensor(keep)
        self.together.select(self.together.layout.select(self.together.values, rows), rows)
        self.alone = [self.alone[row] for row in keep]
        self.optimisers = [self.optimisers[row] for row in keep]
        self.schedules = [self.schedules[row] for row in keep]

    def assert_equal(self) -> None:
        for block, alone in zip(self.blocks(), zip(*self.alone, strict=True), strict=True):
            torch.testing.assert_close(block, torch.stack(alone), rtol=1e-12, atol=1e-12)

    def blocks(self) -> list[Tensor]:
        return self.together.layout.split(self.together.values)


def flat(blocks: Sequence[Tensor]) -> Tensor:
    return torch.cat([block.flatten() for block in blocks])


@pytest.mark.parametrize("decay", [False, True], ids=["without decay", "with decay"])
@pytest.mark.parametrize(
    ("kind", "name"), [(FusedAdam, "adam"), (Adam, "adam"), (SGD, "sgd"), (RMSProp, "rmsprop")], ids=str
)
class TestEveryOptimiser:
    def test_steps_as_torchs_of_each_replica(self, kind: type[ReplicaOptimiser], name: str, decay: bool) -> None:
        pair = Pair(make_hypers(name, decay=decay), kind)
        for _ in range(4):
            pair.train_epoch()
            pair.assert_equal()

    @pytest.mark.parametrize("selections", SELECTIONS, ids=str)
    def test_keeps_its_state_through_selections(
        self, kind: type[ReplicaOptimiser], name: str, decay: bool, selections: list[list[int]]
    ) -> None:
        pair = Pair(make_hypers(name, decay=decay), kind)
        for keep in selections:
            pair.train_epoch()
            pair.select(keep)
        for _ in range(2):
            pair.train_epoch()
            pair.assert_equal()

    def test_does_not_let_a_replica_that_is_no_number_touch_the_others(
        self, kind: type[ReplicaOptimiser], name: str, decay: bool
    ) -> None:
        pair = Pair(make_hypers(name, decay=decay), kind)
        for block in pair.blocks():
            block[2] = torch.nan
        for _ in range(3):
            pair.train_epoch()
        pair.select([0, 1, 3, 4, 5])
        pair.assert_equal()


@pytest.mark.parametrize("name", OPTIMISERS)
def test_replicas_that_share_their_numbers_step_as_those_that_do_not(name: str) -> None:
    hypers = make_hypers(name)
    pair = Pair([hypers[1]] * 3)
    for _ in range(3):
        pair.train_epoch()
        pair.assert_equal()
    pair.select([2, 0])
    pair.train_epoch()
    pair.assert_equal()


@pytest.mark.parametrize("name", OPTIMISERS)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_learning_rates_change_as_under_torchs_scheduler(name: str, schedule: str) -> None:
    pair = Pair(make_hypers(name, schedule))
    for _ in range(12):
        pair.train_epoch(steps=2)
        pair.assert_equal()


@pytest.mark.parametrize(
    ("name", "kind"), [("adam", FusedAdam), ("sgd", SGD), ("rmsprop", RMSProp)], ids=["adam", "sgd", "rmsprop"]
)
def test_an_optimiser_is_made_by_its_name(name: str, kind: type[ReplicaOptimiser]) -> None:
    assert type(Pair(make_hypers(name)).together) is kind


def test_the_fused_kernel_can_be_declined() -> None:
    layout = Layout(6, SHAPES)
    assert type(make_optimiser(torch.zeros(6 * 11), layout, make_hypers("adam"), fused=False)) is Adam


def torch_rates(hyper: Hyperparameters, epochs: int) -> list[float]:
    """The learning rate of each epoch, by torch's scheduler."""
    optimiser = torch_optimiser([torch.zeros(1)], hyper)
    schedule = torch_schedule(optimiser, hyper)
    rates = []
    for _ in range(epochs):
        rates.append(float(optimiser.param_groups[0]["lr"]))
        optimiser.step()
        schedule.step()
    return rates


@pytest.mark.parametrize("lr_min", [0.0, 1e-4, 1e-2])
@pytest.mark.parametrize("restart_epochs", [1, 4, 5, 40])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_schedule_is_torchs_stepped_once_an_epoch(schedule: str, restart_epochs: int, lr_min: float) -> None:
    hyper = Hyperparameters(
        lr=1e-2, batch_size=1, epochs=17, schedule=schedule, lr_min=lr_min, restart_epochs=restart_epochs
    )
    rates = [learning_rate(hyper, epoch) for epoch in range(17)]
    assert rates == pytest.approx(torch_rates(hyper, 17), rel=1e-12, abs=1e-15)
    assert rates[0] == hyper.lr


def test_schedules_differ_where_they_should() -> None:
    hyper = Hyperparameters(lr=1.0, batch_size=1, epochs=4, schedule="cosine", restart_epochs=2)
    assert [learning_rate(hyper, epoch) for epoch in range(4)] == pytest.approx([1, 0.853553, 0.5, 0.146447], rel=1e-5)
    restarting = replace(hyper, schedule="cosine_restarts")
    assert [learning_rate(restarting, epoch) for epoch in range(4)] == pytest.approx([1, 0.5, 1, 0.5])
    constant = replace(hyper, schedule="constant")
    assert [learning_rate(constant, epoch) for epoch in range(4)] == [1.0] * 4
