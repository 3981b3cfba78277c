"""Modules give the values and gradients that torch finds by itself, for every replica."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pipeline.base.errors import InputError
from pipeline.tasks.disc.mini import Linear, Module, ReLU, Sequential, Tanh
from tests.tasks.disc.mini.twins import (
    NETWORKS,
    assert_equal,
    assert_replica_equals,
    begun,
    generator,
    generators,
    noise,
    twins,
)

shapes = pytest.mark.parametrize(("replicas", "batch"), [(R, B) for R in (1, 2, 7) for B in (1, 5)])
networks = pytest.mark.parametrize("build", NETWORKS.values(), ids=NETWORKS)
activations = pytest.mark.parametrize("activation", [ReLU, Tanh])

ACTIVATIONS: dict[str, Callable[[], Module]] = {"relu": ReLU, "tanh": Tanh}


def assert_passes_equal_those_of_torch(network: Sequential, x_RBD: Tensor) -> None:
    """One forward and backward pass of a network whose gradients are zero."""
    alone = twins(network)
    output = network.forward(x_RBD)
    gradient = noise(*output.shape, seed=7)
    x_gradient = network.backward(gradient)
    for row, model in enumerate(alone):
        x_BD = x_RBD[row].clone().requires_grad_()
        expected = model(x_BD)
        assert_equal(output[row], expected.detach())
        expected.backward(gradient[row])
        assert x_BD.grad is not None
        assert_equal(x_gradient[row], x_BD.grad)
        assert_replica_equals(network, row, model)


@shapes
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("inputs", "outputs"), [(1, 1), (2, 25), (25, 3)])
def test_linear_equals_torch(inputs: int, outputs: int, bias: bool, replicas: int, batch: int) -> None:
    network = begun(Sequential(Linear(inputs, outputs, bias=bias)), replicas)
    assert_passes_equal_those_of_torch(network, noise(replicas, batch, inputs))


@shapes
@activations
def test_an_activation_equals_torch(activation: type[Module], replicas: int, batch: int) -> None:
    x, gradient = noise(replicas, batch, 4), noise(replicas, batch, 4, seed=7)
    x[..., 0] = 0  # where the derivative of ReLU is a matter of choice
    x_torch = x.clone().requires_grad_()
    expected = {ReLU: torch.relu, Tanh: torch.tanh}[activation](x_torch)
    expected.backward(gradient)
    module = activation()
    assert_equal(module.forward(x), expected.detach())
    assert x_torch.grad is not None
    assert_equal(module.backward(gradient), x_torch.grad)


@shapes
@networks
def test_a_network_equals_torch(build: Callable[[], Sequential], replicas: int, batch: int) -> None:
    assert_passes_equal_those_of_torch(begun(build(), replicas), noise(replicas, batch, 3))


layers = st.lists(st.tuples(st.integers(1, 6), st.booleans(), st.sampled_from(["none", *ACTIVATIONS])), min_size=1)


@given(layers=layers, replicas=st.integers(1, 4), batch=st.integers(1, 6), inputs=st.integers(1, 5))
def test_any_network_equals_torch(layers: list[tuple[int, bool, str]], replicas: int, batch: int, inputs: int) -> None:
    modules: list[Module] = []
    width = inputs
    for outputs, bias, activation in layers:
        modules.append(Linear(width, outputs, bias=bias))
        if activation != "none":
            modules.append(ACTIVATIONS[activation]())
        width = outputs
    assert_passes_equal_those_of_torch(begun(Sequential(*modules), replicas), noise(replicas, batch, inputs))


def test_inputs_and_gradients_are_left_as_they_are() -> None:
    network, x, gradient = begun(NETWORKS["mixed"]()), noise(3, 5, 3), noise(3, 5, 2, seed=7)
    network.forward(x)
    network.backward(gradient)
    assert torch.equal(x, noise(3, 5, 3))
    assert torch.equal(gradient, noise(3, 5, 2, seed=7))


def test_an_empty_sequential_changes_nothing() -> None:
    x = noise(2, 5, 3)
    assert torch.equal(Sequential().forward(x), x)
    assert torch.equal(Sequential().backward(x), x)


@networks
def test_gradients_add_up_until_they_are_cleared(build: Callable[[], Sequential]) -> None:
    network = begun(build())
    alone = twins(network)

    def go(seed: int) -> None:
        x = noise(3, 4, 3, seed=seed)
        output = network.forward(x)
        gradient = noise(*output.shape, seed=seed + 1)
        network.backward(gradient)
        for row, model in enumerate(alone):
            model(x[row]).backward(gradient[row])
            assert_replica_equals(network, row, model)

    go(1)
    go(3)
    network.zero_gradients()
    for model in alone:
        model.zero_grad()
    assert not any(parameter.gradient.any() for parameter in network.parameters())
    go(5)


def test_a_forward_may_be_gone_back_twice() -> None:
    network, x = begun(NETWORKS["mixed"]()), noise(3, 5, 3)
    gradient = noise(*network.forward(x).shape)
    once = network.backward(gradient)
    before = [parameter.gradient.clone() for parameter in network.parameters()]
    assert torch.equal(network.backward(gradient), once)
    for parameter, single in zip(network.parameters(), before, strict=True):
        assert_equal(parameter.gradient, 2 * single)


def test_backward_is_of_the_last_forward() -> None:
    together, fresh = begun(NETWORKS["mixed"]()), begun(NETWORKS["mixed"]())
    together.forward(noise(3, 9, 3, seed=1))
    for network in (together, fresh):
        network.backward(noise(*network.forward(noise(3, 5, 3)).shape, seed=7))
    for one, other in zip(together.parameters(), fresh.parameters(), strict=True):
        assert torch.equal(one.gradient, other.gradient)


@networks
def test_equal_generators_give_equal_weights_whatever_the_neighbours(build: Callable[[], Sequential]) -> None:
    network = build()
    network.initialise([generator(seed) for seed in (5, 3, 5)], torch.float64)
    alone = build()
    alone.initialise([generator(3)], torch.float64)
    for name, value in network.state(1).items():
        assert torch.equal(value, alone.state(0)[name])
        assert torch.equal(network.state(0)[name], network.state(2)[name])
        assert not torch.equal(network.state(0)[name], value)


def test_one_generator_draws_the_whole_network_in_order() -> None:
    network = Sequential(Linear(2, 3), ReLU(), Linear(3, 4, bias=False), Linear(4, 1))
    network.initialise([generator(1), generator(2)], torch.float64)
    own = generator(2)
    for layer in network.layers:
        if isinstance(layer, Linear):
            bound = 1 / math.sqrt(layer.inputs)
            for parameter in layer.parameters():
                expected = torch.empty(parameter.value.shape[1:], dtype=torch.float64)
                assert torch.equal(parameter.value[1], expected.uniform_(-bound, bound, generator=own))


@pytest.mark.parametrize("inputs", [1, 2, 30])
def test_initial_weights_and_biases_fill_their_bounds(inputs: int) -> None:
    layer, bound = Linear(inputs, 1000), 1 / math.sqrt(inputs)
    layer.initialise(generators(2), torch.float64)
    assert layer.bias is not None
    for numbers in (*layer.weight.value, *layer.bias.value):
        assert -bound <= numbers.min() < -0.95 * bound
        assert 0.95 * bound < numbers.max() <= bound
        assert abs(numbers.mean()) < 0.1 * bound
        assert abs(numbers.std() - bound / math.sqrt(3)) < 0.05 * bound


def test_initialise_begins_anew() -> None:
    network = begun(NETWORKS["mixed"](), 2)
    network.backward(noise(*network.forward(noise(2, 5, 3)).shape))
    network.initialise(generators(4), torch.float32)
    for parameter in network.parameters():
        assert len(parameter.value) == 4
        assert parameter.value.dtype == parameter.gradient.dtype == torch.float32
        assert not parameter.gradient.any()
    for module in network.layers:
        with pytest.raises(RuntimeError, match="call forward first"):
            module.backward(noise(4, 5, 3))


def test_initialise_puts_the_replicas_on_the_device() -> None:
    network = NETWORKS["mixed"]()
    network.initialise(generators(3), torch.float64, "meta")
    for parameter in network.parameters():
        assert parameter.value.device.type == parameter.gradient.device.type == "meta"
    output = network.forward(torch.empty(3, 5, 3, dtype=torch.float64, device="meta"))
    assert network.backward(output).shape == (3, 5, 3)


@networks
@pytest.mark.parametrize("keep", [[0, 1, 2, 3], [2], [3, 0], [1, 1, 2]], ids=str)
def test_select_keeps_the_replicas_in_order(build: Callable[[], Sequential], keep: list[int]) -> None:
    network, x = begun(build(), 4), noise(4, 5, 3)
    network.backward(noise(*network.forward(x).shape))
    before = [network.state(row) for row in range(4)]
    gradients = [parameter.gradient.clone() for parameter in network.parameters()]
    network.select(torch.tensor(keep))
    for row, position in enumerate(keep):
        for name, value in network.state(row).items():
            assert torch.equal(value, before[position][name])
    for parameter, gradient in zip(network.parameters(), gradients, strict=True):
        assert torch.equal(parameter.gradient, gradient[keep])
    network.zero_gradients()
    assert_passes_equal_those_of_torch(network, x[keep])


def test_the_state_of_a_replica_is_a_copy_by_name() -> None:
    network = begun(NETWORKS["nested"]())
    state = network.state(1)
    assert {name: tuple(value.shape) for name, value in state.items()} == {
        "0.0.weight": (3, 5),
        "0.0.bias": (5,),
        "1.1.0.weight": (5, 2),
        "1.1.0.bias": (2,),
    }
    for value in state.values():
        value.zero_()
    assert all(value.all() for value in network.state(1).values())


def test_parameters_are_the_ones_that_are_used() -> None:
    network = begun(Sequential(Linear(3, 2)))
    for parameter in network.parameters():
        parameter.value.fill_(2)
    x = noise(3, 5, 3)
    assert_equal(network.forward(x), (2 * x.sum(2, keepdim=True) + 2).expand(3, 5, 2))


@networks
def test_the_count_is_known_before_there_are_replicas(build: Callable[[], Sequential]) -> None:
    network = build()
    count = network.count
    assert count == sum(value.numel() for value in begun(network, 2).state(0).values())
    assert network.count == count


def test_the_count_of_the_parts() -> None:
    assert Linear(2, 25).count == 75
    assert Linear(2, 25, bias=False).count == 50
    assert ReLU().count == Tanh().count == Sequential().count == 0


@pytest.mark.parametrize("activation", ACTIVATIONS.values(), ids=ACTIVATIONS)
def test_nan_flows_through_and_stays_in_its_replica(activation: Callable[[], Module]) -> None:
    network = begun(Sequential(Linear(3, 4), activation(), Linear(4, 2), activation()), 2)
    x = noise(2, 5, 3)
    network.forward(x)
    finite_gradient = network.backward(noise(2, 5, 2, seed=7))
    finite = [parameter.gradient.clone() for parameter in network.parameters()]
    network.zero_gradients()
    x[0, 0] = math.nan
    output = network.forward(x)
    assert output[0, 0].isnan().all()
    gradient = noise(2, 5, 2, seed=7)
    gradient[0, 0] = math.nan  # as a loss gives it for such an output
    x_gradient = network.backward(gradient)
    assert x_gradient[0, 0].isnan().all()
    assert_equal(x_gradient[1], finite_gradient[1])
    assert_equal(x_gradient[0, 1:], finite_gradient[0, 1:])
    for parameter, before in zip(network.parameters(), finite, strict=True):
        assert parameter.gradient[0].isnan().all()
        assert_equal(parameter.gradient[1], before[1])


@pytest.mark.parametrize(("value", "relu", "tanh"), [(math.inf, math.inf, 1), (-math.inf, 0, -1)])
def test_activations_of_what_is_infinite(value: float, relu: float, tanh: float) -> None:
    x, ones = torch.full((1, 1, 1), value), torch.ones(1, 1, 1)
    for module, output, derivative in ((ReLU(), relu, float(relu > 0)), (Tanh(), tanh, 0)):
        assert module.forward(x).item() == output
        assert module.backward(ones).item() == derivative


@pytest.mark.parametrize("network", [Linear(2, 1), Linear(2, 1, bias=False), Sequential(Tanh(), Linear(2, 1))], ids=str)
def test_a_forward_without_replicas_is_refused(network: Module) -> None:
    for replicas in (0, 1):
        with pytest.raises(RuntimeError, match=r"at least one replica, but Linear\(2, 1.*has none; call initialise"):
            network.forward(noise(replicas, 5, 2))
    assert all(len(parameter.value) == 0 for parameter in network.parameters())


def test_a_backward_without_a_forward_is_refused() -> None:
    network, gradient = begun(Sequential(Linear(2, 2), ReLU(), Tanh())), noise(3, 5, 2)
    for module in (network, *network.layers):
        with pytest.raises(RuntimeError, match=r"last forward, but .+\) has none; call forward first"):
            module.backward(gradient)
    network.forward(gradient)
    network.select(torch.tensor([2, 1, 0]))  # the last forward was of other replicas
    for module in (network, *network.layers):
        with pytest.raises(RuntimeError, match="call forward first"):
            module.backward(gradient)
    assert not any(parameter.gradient.any() for parameter in network.parameters())


def test_a_module_that_stands_twice_is_refused() -> None:
    relu = ReLU()
    with pytest.raises(InputError, match=r"may stand in a Sequential once, but got \(ReLU\(\), Linear"):
        Sequential(relu, Linear(2, 2), relu)


def test_modules_are_shown_as_they_are_made() -> None:
    network = Sequential(Linear(2, 25), ReLU(), Linear(25, 1, bias=False), Tanh())
    assert repr(network) == "Sequential(Linear(2, 25), ReLU(), Linear(25, 1, bias=False), Tanh())"
    assert repr(begun(network)) == repr(network)
