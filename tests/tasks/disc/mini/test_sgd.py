"""Replicas that train together end where torch brings each one alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import nn

from pipeline.base.errors import InputError
from pipeline.tasks.disc.mini import MSE, SGD, Linear, ReLU, Sequential, Tanh
from tests.tasks.disc.mini.twins import NETWORKS, assert_replica_equals, begun, generator, generators, noise, twins

RATES = (0.1, 0.02, 0.5, 0.1, 0.0)
networks = pytest.mark.parametrize("build", NETWORKS.values(), ids=NETWORKS)


class Pair:
    """Replicas trained together by the framework, and each alone by torch."""

    def __init__(self, network: Sequential, rates: Sequence[float] = RATES) -> None:
        self.network, self.loss, self.steps = begun(network, len(rates)), MSE(), 0
        self.sgd = SGD(network, rates)
        self.alone = twins(network)
        self.optimisers = [
            torch.optim.SGD(model.parameters(), lr=lr) for model, lr in zip(self.alone, rates, strict=True)
        ]

    def train(self, steps: int = 5, batch: int = 4) -> None:
        """Go on; after each step both are equal."""
        for _ in range(steps):
            self.steps += 1
            x = noise(len(self.alone), batch, 3, seed=self.steps)
            output = self.network.forward(x)
            target = noise(*output.shape, seed=1000 + self.steps)
            self.network.zero_gradients()
            self.loss.forward(output, target)
            self.network.backward(self.loss.backward())
            self.sgd.step()
            for row, (model, optimiser) in enumerate(zip(self.alone, self.optimisers, strict=True)):
                optimiser.zero_grad()
                nn.MSELoss()(model(x[row]), target[row]).backward()
                optimiser.step()
                assert_replica_equals(self.network, row, model)

    def set_rates(self, rates: Sequence[float]) -> None:
        self.sgd.set_rates(rates)
        for optimiser, lr in zip(self.optimisers, rates, strict=True):
            optimiser.param_groups[0]["lr"] = lr

    def select(self, keep: Sequence[int]) -> None:
        self.network.select(torch.tensor(keep))
        self.sgd.select(torch.tensor(keep))
        self.alone = [self.alone[position] for position in keep]
        self.optimisers = [self.optimisers[position] for position in keep]


@networks
@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("replicas", [1, 2, 5])
def test_training_equals_torch(build: Callable[[], Sequential], replicas: int, batch: int) -> None:
    Pair(build(), RATES[:replicas]).train(batch=batch)


@networks
def test_training_goes_on_as_if_alone_after_others_leave(build: Callable[[], Sequential]) -> None:
    pair = Pair(build())
    for keep in ([0, 1, 2, 3, 4], [4, 1, 2], [2, 0], [1]):
        pair.train(steps=2)
        pair.select(keep)
    pair.train(steps=2)


def test_rates_can_change_between_steps() -> None:
    pair = Pair(NETWORKS["mixed"]())
    pair.train(steps=2)
    pair.set_rates([0.3, 0.0, 0.1, 1e-3, 0.2])
    pair.train(steps=2)
    pair.select([3, 1])
    pair.set_rates([0.0, 0.5])
    pair.train(steps=2)


def test_the_rates_are_shown_by_replica() -> None:
    sgd = Pair(NETWORKS["mixed"]()).sgd
    assert sgd.lr_R.tolist() == list(RATES)
    sgd.set_rates(RATES[::-1])
    assert sgd.lr_R.tolist() == list(RATES[::-1])


def test_a_step_leaves_the_gradients() -> None:
    pair = Pair(NETWORKS["mixed"]())
    pair.train(steps=1)
    before = [parameter.gradient.clone() for parameter in pair.network.parameters()]
    pair.sgd.step()
    for parameter, gradient in zip(pair.network.parameters(), before, strict=True):
        assert torch.equal(parameter.gradient, gradient)


def test_replicas_that_diverge_leave_the_others_as_they_are() -> None:
    together, alone = (begun(NETWORKS["one layer"](), 2) for _ in range(2))
    for network, rates in ((together, (0.1, 1e200)), (alone, (0.1, 0.1))):
        sgd, loss = SGD(network, rates), MSE()
        for step in range(5):
            network.zero_gradients()
            loss.forward(network.forward(noise(2, 4, 3, seed=step)), noise(2, 4, 2, seed=9))
            network.backward(loss.backward())
            sgd.step()
    for name, value in together.state(0).items():
        assert torch.equal(value, alone.state(0)[name])
    assert not any(value.isfinite().any() for value in together.state(1).values())


def test_the_disc_is_learnt() -> None:
    """The task of the report: is a point inside a disc of half the area?"""
    network, loss = Sequential(Linear(2, 25), ReLU(), Linear(25, 25), ReLU(), Linear(25, 1), Tanh()), MSE()
    network.initialise(generators(3))
    x_RND = torch.rand(3, 1000, 2, generator=generator(7))
    inside = (x_RND - 0.5).square().sum(2, keepdim=True) < 1 / (2 * torch.pi)
    target_RNK = torch.where(inside, 1.0, -1.0)

    def errors_R() -> list[float]:
        wrong: list[float] = ((network.forward(x_RND) > 0) != inside).float().mean((1, 2)).tolist()
        return wrong

    assert min(errors_R()) > 0.3
    sgd = SGD(network, [0.2, 0.2, 0.0])
    for _ in range(30):
        for x_RBD, target_RBK in zip(x_RND.split(10, 1), target_RNK.split(10, 1), strict=True):
            network.zero_gradients()
            loss.forward(network.forward(x_RBD), target_RBK)
            network.backward(loss.backward())
            sgd.step()
    learnt, also, untrained = errors_R()
    assert max(learnt, also) < 0.2
    assert untrained > 0.3


@pytest.mark.parametrize("rates", [[], [0.1], [0.1] * 4])
def test_there_is_one_rate_for_each_replica(rates: list[float]) -> None:
    network = begun(NETWORKS["mixed"]())
    with pytest.raises(InputError, match=f"one learning rate for each replica, but got {len(rates)} for 3"):
        SGD(network, rates)
    sgd = SGD(network, [0.1] * 3)
    with pytest.raises(InputError, match="one learning rate for each replica"):
        sgd.set_rates(rates)
    assert sgd.lr_R.tolist() == [0.1] * 3


def test_a_network_without_replicas_is_refused() -> None:
    with pytest.raises(InputError, match="but got 1 for 0; initialise"):
        SGD(NETWORKS["mixed"](), [0.1])


def test_the_network_is_selected_first() -> None:
    sgd = SGD(begun(NETWORKS["mixed"]()), [0.1] * 3)
    with pytest.raises(InputError, match="but got 2 for 3; initialise or select the network first"):
        sgd.select(torch.tensor([0, 2]))


def test_a_network_without_parameters_is_refused() -> None:
    with pytest.raises(InputError, match=r"Sequential\(ReLU\(\)\) has none"):
        SGD(Sequential(ReLU()), [])
