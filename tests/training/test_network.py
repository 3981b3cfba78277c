"""R networks whose parameters lie in one vector: each is itself in it, with its gradient, and can leave."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pipeline.training.network import Layout
from pipeline.training.stacked import StackedNetworks
from tests.training.models import NOISY
from tests.training.networks import (
    assert_equal,
    assert_gradients_equal_alone,
    generators,
    gradients,
    images,
    make_networks,
    networks_of,
    noise,
    parts,
    squares,
)
from tests.training.plans import OF_DIGITS


@pytest.mark.parametrize("variant", OF_DIGITS)
def test_replicas_are_read_back_exactly_as_ordinary_modules_have_them(variant: str) -> None:
    networks = networks_of(variant, 3)
    together = StackedNetworks(networks)
    assert len(together) == 3
    assert together.values.numel() == 3 * sum(parameter.numel() for parameter in networks[0].parameters())
    for row, network in enumerate(networks):
        state, expected = together.state(row), network.state_dict()
        assert list(state) == list(expected)
        assert all(torch.equal(state[name], expected[name]) for name in expected)
        network.load_state_dict(state)


def test_a_state_is_a_copy() -> None:
    together = StackedNetworks(networks_of("mlp_ws", 2))
    before, kept = together.state(1), together.state(1)
    together.values.zero_()
    assert all(torch.equal(before[name], kept[name]) for name in before)
    assert not any(tensor.any() for tensor in together.state(1).values())


def test_numbers_of_replicas_are_spread_over_their_parameters_and_follow_a_selection() -> None:
    layout = Layout(3, [torch.Size([2]), torch.Size([1, 2]), torch.Size([])])
    spread = layout.spread([1.0, 2.0, 3.0], torch.empty(15))
    for block, shape in zip(layout.split(spread), layout.shapes, strict=True):
        assert block.shape == (3, *shape)
        assert [set(row.flatten().tolist()) for row in block] == [{1.0}, {2.0}, {3.0}]
    selected = layout.select(spread, torch.tensor([2, 0]))
    assert torch.equal(selected, Layout(2, layout.shapes).spread([3.0, 1.0], torch.empty(10)))
    assert layout.spread([4.0, 4.0, 4.0], torch.empty(())) == 4


@pytest.mark.parametrize("variant", OF_DIGITS)
def test_every_block_of_the_values_holds_a_row_of_each_replica(variant: str) -> None:
    networks, x = networks_of(variant, 3), images(3)
    together = StackedNetworks(networks)
    before = parts(together.model(x))[0]
    for block in together.layout.split(together.values):
        block[1] *= 2
    after = parts(together.model(x))[0]
    for row in (0, 2):
        assert torch.equal(before[row], after[row])
    assert not torch.isclose(before[1], after[1]).any()
    with torch.no_grad():
        for parameter in networks[1].parameters():
            parameter.mul_(2)
    assert_equal(after[1], parts(networks[1](x[1]))[0])


@pytest.mark.parametrize("training", [True, False], ids=["learning", "evaluating"])
@pytest.mark.parametrize("variant", OF_DIGITS)
def test_the_gradient_is_autograds_of_each_network_alone(variant: str, training: bool) -> None:
    networks, x = networks_of(variant, 3), images(3)
    together = StackedNetworks(networks)
    squares(together.model.train(training)(x)).backward()
    for network, x_row in zip(networks, x, strict=True):
        squares(network.train(training)(x_row)).backward()
    assert_gradients_equal_alone(together, networks)


class Mixed(nn.Module):
    """Layers inside and outside of sequentials, one of them in both, and some that may stand idle."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Linear(6, 6)
        self.outside = nn.Linear(6, 20, bias=False)
        self.inside = nn.Sequential(nn.Linear(20, 20), nn.ReLU(), nn.Linear(20, 6), self.shared)
        self.idle = nn.ModuleList([nn.Sequential(nn.Linear(6, 20), nn.Tanh()), nn.Linear(6, 20), nn.BatchNorm1d(20)])
        self.all_work = False

    def forward(self, x: Tensor) -> Tensor:
        wide = self.outside(torch.tanh(self.shared(x)))
        if self.all_work:
            wide = wide + self.idle[2](self.idle[0](x) * self.idle[1](x))
        output: Tensor = self.shared(self.inside(wide))
        return output


def backward(together: StackedNetworks, networks: list[nn.Module], x: Tensor, *, all_work: bool) -> None:
    """One backward pass of both, from scratch."""
    for model in (together.model, *networks):
        assert isinstance(model, Mixed)
        model.all_work = all_work
    together.model(x).square().sum().backward()
    for network, x_row in zip(networks, x, strict=True):
        network.zero_grad()
        network(x_row).square().sum().backward()


@pytest.mark.parametrize("all_work", [True, False], ids=["all", "some idle"])
def test_layers_inside_and_outside_of_sequentials_have_their_gradients(all_work: bool) -> None:
    networks = make_networks(Mixed)
    together = StackedNetworks(networks)
    backward(together, networks, noise(3, 7, 6), all_work=all_work)
    assert_gradients_equal_alone(together, networks)


def test_backward_passes_one_after_another_do_not_add_up() -> None:
    networks = make_networks(Mixed)
    together = StackedNetworks(networks)
    for all_work in (True, False, False, True):
        backward(together, networks, noise(3, 7, 6), all_work=all_work)
        assert_gradients_equal_alone(together, networks)


def test_parameters_without_a_part_in_the_loss_have_a_gradient_of_zero() -> None:
    networks = make_networks(Mixed)
    together = StackedNetworks(networks)
    for all_work in (True, False):
        backward(together, networks, noise(3, 7, 6), all_work=all_work)
        for found in gradients(together):
            idle = [tensor for name, tensor in found.items() if name.startswith("idle") and "running" not in name]
            assert len(idle) == 7
            assert any(tensor.any() for tensor in idle) == all_work


class TestBfloat16:
    def networks(self) -> StackedNetworks:
        return StackedNetworks([network.float() for network in networks_of("mlp_ws", 2)], bfloat16=True)

    def test_keeps_the_values_as_they_are_and_computes_on_rounded_ones(self) -> None:
        networks, together = [network.float() for network in networks_of("mlp_ws", 2)], self.networks()
        assert (together.values.dtype, together.dtype) == (torch.float32, torch.bfloat16)
        x = images(2).bfloat16()
        output = together.model(x).comparison
        assert output.dtype == torch.bfloat16
        for row, network in enumerate(networks):
            state = together.state(row)
            assert all(torch.equal(state[name], tensor) for name, tensor in network.state_dict().items())
            alone = network.bfloat16()(x[row]).comparison
            torch.testing.assert_close(output[row], alone, rtol=0.05, atol=0.01)

    def test_gives_gradients_in_full_precision(self) -> None:
        together = self.networks()
        together.model(images(2).bfloat16()).comparison.float().square().sum().backward()
        gradient = together.gradient()
        assert gradient.dtype == torch.float32
        assert all(block.flatten(1).any(1).all() for block in together.layout.split(gradient))

    def test_sees_changed_values_once_it_is_refreshed(self) -> None:
        together, x = self.networks(), images(2).bfloat16()
        before = together.model(x).comparison
        together.values *= 2
        assert torch.equal(together.model(x).comparison, before)
        together.refresh()
        changed = together.model(x).comparison
        assert not torch.equal(changed, before)
        again = StackedNetworks([network.float() for network in networks_of("mlp_ws", 2)], bfloat16=True)
        again.values *= 2
        again.refresh()
        assert torch.equal(again.model(x).comparison, changed)

    def test_goes_on_after_a_selection(self) -> None:
        together, x = self.networks(), images(2).bfloat16()
        before = together.model(x).comparison
        together.select(torch.tensor([1]))
        torch.testing.assert_close(together.model(x[1:]).comparison, before[1:], rtol=0.02, atol=0.01)


@pytest.mark.parametrize("keep", [[1, 3], [2], [3, 0, 1]], ids=str)
@pytest.mark.parametrize("variant", ["mlp_al", "convnet_ws"])
def test_selected_replicas_go_on_as_they_were(variant: str, keep: list[int]) -> None:
    networks, x = networks_of(variant, 4), images(4)
    together = StackedNetworks(networks)
    states = [together.state(row) for row in keep]
    together.select(torch.tensor(keep))
    assert len(together) == len(keep)
    for row, state in enumerate(states):
        assert all(torch.equal(tensor, state[name]) for name, tensor in together.state(row).items())
    output = together.model(x[keep])
    output.comparison.square().sum().backward()
    for row, replica in enumerate(keep):
        alone = networks[replica](x[replica]).comparison
        assert_equal(output.comparison[row], alone)
        alone.square().sum().backward()
    assert_gradients_equal_alone(together, [networks[replica] for replica in keep])


@pytest.mark.parametrize("variant", NOISY)
def test_statistics_and_what_is_dropped_stay_with_the_selected_replicas(variant: str) -> None:
    networks = make_networks(NOISY[variant].build, 4)
    x, keep = images(4), [3, 1]
    own = generators(4)
    together = StackedNetworks(networks)
    together.use_generators(own)
    together.model(x)
    states = [together.state(row) for row in keep]
    alone = [StackedNetworks([loaded(variant, state)]) for state in states]
    for network, replica in zip(alone, keep, strict=True):
        network.use_generators([own[replica].clone_state()])
    together.select(torch.tensor(keep))
    for row, state in enumerate(states):
        assert all(torch.equal(tensor, state[name]) for name, tensor in together.state(row).items())
    for _ in range(2):
        output = together.model(x[keep])
        for row, (network, replica) in enumerate(zip(alone, keep, strict=True)):
            assert_equal(output.comparison[row], network.model(x[replica : replica + 1]).comparison[0])
    for row, network in enumerate(alone):
        for name, tensor in network.state(0).items():
            torch.testing.assert_close(together.state(row)[name], tensor, rtol=1e-12, atol=1e-12)


def loaded(variant: str, state: dict[str, Tensor]) -> nn.Module:
    """An ordinary network in a replica's state."""
    network: nn.Module = NOISY[variant].build().double()
    network.load_state_dict(state)
    return network


def test_an_evaluation_of_a_normalised_network_uses_each_replicas_own_statistics() -> None:
    networks = make_networks(NOISY["noisy_ws"].build)
    together = StackedNetworks(networks)
    for module in (together.model, *networks):
        module.eval()
    for row, network in enumerate(networks):
        assert_equal(together.model(images(3)).comparison[row], network(images(3)[row]).comparison)
