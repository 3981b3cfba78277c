"""The loss of every replica is that of torch."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from pipeline.base.errors import InputError
from pipeline.tasks.disc.mini import MSE
from tests.tasks.disc.mini.twins import assert_equal, noise


@pytest.mark.parametrize("replicas", [1, 2, 7])
@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("outputs", [1, 3])
def test_loss_and_gradient_equal_torch(replicas: int, batch: int, outputs: int) -> None:
    output, target = noise(replicas, batch, outputs), noise(replicas, batch, outputs, seed=7)
    loss = MSE()
    loss_R = loss.forward(output, target)
    gradient = loss.backward()
    assert loss_R.shape == (replicas,)
    for row in range(replicas):
        own = output[row].clone().requires_grad_()
        expected = nn.MSELoss()(own, target[row])
        expected.backward()
        assert own.grad is not None
        assert_equal(loss_R[row], expected.detach())
        assert_equal(gradient[row], own.grad)


def test_backward_is_of_the_last_forward_and_leaves_it() -> None:
    loss, target = MSE(), torch.zeros(2, 4, 1, dtype=torch.float64)
    loss.forward(noise(2, 3, 1), noise(2, 3, 1, seed=7))
    loss.forward(noise(2, 4, 1), target)
    assert_equal(loss.backward(), noise(2, 4, 1) / 2)
    assert_equal(loss.backward(), noise(2, 4, 1) / 2)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_stays_in_its_replica(value: float) -> None:
    loss, output = MSE(), noise(2, 3, 1)
    output[0, 1] = value
    assert loss.forward(output, torch.zeros_like(output)).isfinite().tolist() == [False, True]
    assert loss.backward().isfinite().flatten(1).tolist() == [[True, False, True], [True, True, True]]


def test_other_shapes_are_refused() -> None:
    with pytest.raises(InputError, match=r"one shape \(R, B, K\), but got \(2, 2, 1\) and \(2, 2\)"):
        MSE().forward(noise(2, 2, 1), noise(2, 2))


def test_a_backward_without_a_forward_is_refused() -> None:
    with pytest.raises(RuntimeError, match="last forward, but MSE has none; call forward first"):
        MSE().backward()
